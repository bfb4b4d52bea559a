"""A loaded model takes up edits of its code in a process of its own, as a worker does."""

import subprocess
import sys

import pytest

from truss.config import read_config
from truss.model.live import code_files

MODEL = """\
from ours import words

class Model:
    def load(self):
        self.loads = getattr(self, "loads", 0) + 1
        self.weights = [object()]

    def predict(self, request):
        return {"loads": self.loads, "weights": id(self.weights), "said": "one", "words": words()}
"""

BEGIN = """
import asyncio
from pathlib import Path
from truss.config import read_config
from truss.errors import TrussError
from truss.model.live import LiveModel
truss_dir = Path("TRUSS")
file = truss_dir / "model" / "model.py"
live = LiveModel(truss_dir, read_config(truss_dir), asyncio.new_event_loop)
ask = lambda: live.loaded.predict({"inputs": []})
first = ask()
def edit(old, new, file=file):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return live.take_up()
def refused(old, new, file=file):
    try:
        edit(old, new, file)
    except TrussError as error:
        file.write_text(file.read_text().replace(new, old))
        return f"{error.where} {error.message}"
    raise AssertionError("taken up")
"""


@pytest.fixture
def run(tmp_path):
    """Run statements in a process that has loaded the model."""
    folder = tmp_path / "live"
    (folder / "model").mkdir(parents=True)
    (folder / "packages").mkdir()
    (folder / "config.yaml").write_text("{}")
    (folder / "model" / "model.py").write_text(MODEL)
    (folder / "packages" / "ours.py").write_text("def words():\n    return 'few'\n")

    def run(statements):
        text = BEGIN.replace("TRUSS", str(folder)) + statements
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    run.folder = folder
    return run


def test_the_loaded_model_is_kept_when_only_answering_changed(run):
    run("""
taken = edit('"one"', '"two"')
assert (taken.files, taken.kept) == (("model/model.py",), True)
assert ask() == {**first, "said": "two"}
assert live.take_up().files == ()
""")


def test_it_is_loaded_anew_when_loading_or_another_file_changed(run):
    run("""
assert edit("[object()]", "[object(), 1]").kept is False
second = ask()
assert second["loads"] == 1 and second["weights"] != first["weights"]
taken = edit("few", "many", truss_dir / "packages" / "ours.py")
assert (taken.files, taken.kept) == (("packages/ours.py",), False)
assert ask()["words"] == "many"
new = truss_dir / "packages" / "more.py"
new.write_text("x = 1")
assert live.take_up().files == ("packages/more.py",)
""")


def test_what_is_broken_is_refused_and_the_old_answers_on(run):
    run("""
assert "syntax error" in refused("return {", "return {{(")
assert ask() == first
assert "no method `predict`" in refused("def predict", "def forecast")
assert "`load` raised ZeroDivisionError" in refused("[object()]", "[1 / 0]")
assert "coroutines" in refused("    def predict", "    async def predict")
assert "nothing_there" in refused("from ours import words", "from ours import words, nothing_there")
assert ask() == first
def check(loaded):
    raise TrussError("wrong answer")
file.write_text(file.read_text().replace('"one"', '"two"'))
try:
    live.take_up(check)
except TrussError as error:
    assert error.message == "wrong answer"
assert ask() == first
import ours  # a later import finds the modules of before
assert ours.words() == "few"
assert live.take_up().kept and ask()["said"] == "two"
""")


def test_a_class_with_slots_is_loaded_anew(run):
    file = run.folder / "model" / "model.py"
    file.write_text(
        file.read_text().replace("class Model:", 'class Model:\n    __slots__ = ("loads", "weights")\n')
    )
    run("""
assert edit('"one"', '"two"').kept is False
assert ask()["said"] == "two"
""")


def test_what_async_steps_bound_to_their_loop_stays_usable(run):
    run.folder.joinpath("model", "model.py").write_text(
        "import asyncio\n"
        "class Model:\n"
        "    async def load(self):\n"
        "        self.loop = asyncio.get_running_loop()\n"
        "    async def predict(self, request):\n"
        "        return [1, self.loop is asyncio.get_running_loop()]\n"
    )
    run("""
assert first == [1, True]
assert edit("[1,", "[2,").kept and ask() == [2, True]
assert edit("async def load(self):", "async def load(self):\\n        await asyncio.sleep(0)").kept is False
assert ask() == [2, True]
""")


def test_code_is_what_lies_beside_the_class_and_in_packages(run):
    for name in (
        "model/__pycache__/x.py",
        "model/.#model.py",
        "data/x.py",
        "packages/deep/y.py",
        "packages/z.txt",
    ):
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("")
    found = code_files(run.folder, read_config(run.folder))
    names = [str(file.relative_to(run.folder)) for file in found]
    assert names == ["model/model.py", "packages/deep/y.py", "packages/ours.py"]
