"""`truss serve --watch`: what is saved answers, nothing fails meanwhile, what is broken changes nothing."""

import threading

import pytest

from truss.testing.server import running_server

MODEL = """\
import os

class Model:
    def load(self):
        self.loads = [object()]

    def predict(self, request):
        return [STEP, os.getpid(), id(self.loads)]
"""


def write(folder, text):
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "model.py").write_text(text)
    return folder


def ask(server):
    answer = server.predict({"inputs": []})
    assert answer.status == 200, answer.body
    return answer.json()


def wait_for(server, step):
    """The answer of the edited code, once it is there."""
    server.wait_until(lambda: ask(server)[0] == step, f"does not answer {step}")
    return ask(server)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("watched"), MODEL.replace("STEP", "1"))
    (folder / "config.yaml").write_text("{}")
    return folder


def test_edits_are_live_in_the_same_process_and_broken_ones_are_not(folder):
    with running_server(folder, "--watch") as server:
        first = ask(server)
        answers, done = [], threading.Event()

        def keep_asking():
            while not done.is_set():
                answers.append(server.predict({"inputs": []}))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            write(folder, MODEL.replace("STEP", "2"))
            assert wait_for(server, 2) == [2, *first[1:]]  # the same process, and what it had loaded
            write(folder, MODEL.replace("STEP", "3").replace("object()", "object(), 1"))
            loaded = wait_for(server, 3)
            assert loaded[1] == first[1]
            write(folder, MODEL.replace("STEP", "(("))
            server.wait_until(
                lambda: "not taken up" in "".join(server.log), "says nothing of the syntax error"
            )
            assert "model.py:8" in "".join(server.log)
            assert ask(server) == loaded
            write(folder, MODEL.replace("STEP", "4").replace("object()", "1 / 0"))
            server.wait_until(lambda: "ZeroDivisionError" in "".join(server.log), "says nothing of `load`")
            assert ask(server) == loaded
            write(folder, MODEL.replace("STEP", "5"))
            wait_for(server, 5)
        finally:
            done.set()
            asking.join()
        assert {answer.status for answer in answers} == {200}
        said = "".join(server.log)
        assert "model/model.py: the loaded model is kept" in said
        assert "model/model.py: the model was loaded anew" in said
        assert server.stop() == 0


def test_all_workers_take_up_an_edit(folder):
    write(folder, MODEL.replace("STEP", "1"))
    with running_server(folder, "--watch", "--workers", "2") as server:
        server.wait_until(lambda: "".join(server.log).count("is ready") == 2, "has not two workers")
        write(folder, MODEL.replace("STEP", "2"))
        server.wait_until(lambda: "".join(server.log).count("runs the edited") == 2, "takes up one edit only")
        assert {ask(server)[0] for _ in range(20)} == {2}


def test_an_async_model_goes_on_answering_while_it_takes_up_an_edit(folder):
    text = (
        "import asyncio\n"
        "class Model:\n"
        "    async def load(self):\n"
        "        self.loop = asyncio.get_running_loop()\n"
        "    async def predict(self, request):\n"
        "        return [STEP, self.loop is asyncio.get_running_loop()]\n"
    )
    write(folder, text.replace("STEP", "1"))
    with running_server(folder, "--watch") as server:
        assert ask(server) == [1, True]
        write(folder, text.replace("STEP", "2"))
        assert wait_for(server, 2) == [2, True]
        write(
            folder,
            text.replace("STEP", "3").replace("async def load(self):", "async def load(self, again=1):"),
        )
        assert wait_for(server, 3) == [3, True]
        write(folder, text.replace("STEP", "4").replace("async def predict", "def predict"))
        server.wait_until(lambda: "coroutines" in "".join(server.log), "says nothing of the sync step")
        assert ask(server) == [3, True]
