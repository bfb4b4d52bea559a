"""Answers in chunks: each leaves when the model yields it, and none is made for a client that has left."""

import http.client
import http.server
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import textwrap
import threading
import time
import urllib.parse

import openai
import pytest

from truss.testing.server import running_server

PREDICT = "/v1/models/model:predict"

# Every way to yield is asked by name; the files that it waits for, and writes, are named in the request.
MODEL = """
    import os
    import time
    from pathlib import Path


    class Model:
        def predict(self, request):
            return getattr(self, request["kind"])(request)

        def letters(self, request):
            yield from request["inputs"]

        def plain(self, request):
            return {"predictions": request["inputs"]}

        def waiting(self, request):
            folder = Path(request["folder"])
            try:
                yield "first"
                while not (folder / "go").exists():
                    time.sleep(0.005)
                yield "second"
            finally:
                (folder / "closed").touch()

        def endless(self, request):
            folder = Path(request["folder"])
            (folder / "pid").write_text(str(os.getpid()))
            try:
                with open(folder / "made", "ab", buffering=0) as made:
                    while True:
                        made.write(b".")
                        yield "x" * 65536
            finally:
                (folder / "closed").touch()

        def early(self, request):
            raise ValueError("before the first chunk")
            yield

        def late(self, request):
            yield "first"
            raise ValueError("after the first chunk")

        def nothing(self, request):
            yield from ()

        def chat_completions(self, request):
            choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "model",
                     "choices": [choice]}
            folder = Path(request["messages"][0]["content"])
            yield chunk
            while not (folder / "go").exists():
                time.sleep(0.005)
            if request["model"] == "failing":
                raise ValueError("after the first chunk")
            yield chunk
"""

ASYNC_MODEL = """
    import asyncio
    import os
    from pathlib import Path


    class Model:
        async def predict(self, request):
            return getattr(self, request["kind"])(request)

        async def letters(self, request):
            for letter in request["inputs"]:
                yield letter

        async def plain(self, request):
            yield 1

        async def waiting(self, request):
            folder = Path(request["folder"])
            try:
                yield "first"
                while not (folder / "go").exists():
                    await asyncio.sleep(0.005)
                yield "second"
            finally:
                (folder / "closed").touch()

        async def endless(self, request):
            folder = Path(request["folder"])
            (folder / "pid").write_text(str(os.getpid()))
            try:
                with open(folder / "made", "ab", buffering=0) as made:
                    while True:
                        made.write(b".")
                        yield "x" * 65536
            finally:
                (folder / "closed").touch()

        async def early(self, request):
            raise ValueError("before the first chunk")
            yield

        async def late(self, request):
            yield "first"
            raise ValueError("after the first chunk")

        async def nothing(self, request):
            for _ in ():
                yield

        async def chat_completions(self, request):
            choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "model",
                     "choices": [choice]}
            folder = Path(request["messages"][0]["content"])
            yield chunk
            while not (folder / "go").exists():
                await asyncio.sleep(0.005)
            if request["model"] == "failing":
                raise ValueError("after the first chunk")
            yield chunk

        def in_thread(self, request):
            import time

            folder = Path(request["folder"])
            yield "first"
            while not (folder / "go").exists():
                time.sleep(0.005)
            yield "second"
"""


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    def write(code, config=""):
        folder = tmp_path_factory.mktemp("streaming")
        (folder / "model").mkdir()
        (folder / "model" / "model.py").write_text(textwrap.dedent(code))
        (folder / "config.yaml").write_text(config)
        return folder

    return write


@pytest.fixture(scope="module")
def sync_server(write):
    with running_server(write(MODEL)) as server:
        yield server


@pytest.fixture(scope="module")
def async_server(write):
    with running_server(write(ASYNC_MODEL, "runtime: {predict_concurrency: 8}\n")) as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def server(request):
    """Both kinds of model answer alike."""
    return request.getfixturevalue(f"{request.param}_server")


class Stream:
    """A request whose answer is read piece by piece.

    Args:
        way: `short` or `general`: which way through the front it takes.
    """

    def __init__(self, server, content, way="short", **headers):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.url).netloc, timeout=60)
        path = PREDICT if way == "short" else f"{PREDICT}?general=1"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("POST", path, json.dumps(content), named)
        self.answer = self.connection.getresponse()

    def chunk(self):
        """The next piece."""
        return self.answer.read1(1 << 20)

    def rest(self):
        return self.answer.read()

    def leave(self):
        self.answer.close()
        self.connection.close()


@pytest.fixture(params=["short", "general"])
def way(request):
    return request.param


def comes(path):
    """Wait for a file; False when it does not come."""
    end = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def settled(path):
    """The size of a file that grows, when it does so no more."""
    comes(path)
    size = -1
    while size != (size := path.stat().st_size):
        time.sleep(0.3)
    return size


def test_a_chunk_leaves_before_the_next_is_made(server, tmp_path, way):
    stream = Stream(server, {"kind": "waiting", "folder": str(tmp_path)}, way)
    assert (stream.answer.status, stream.answer.headers["content-type"]) == (200, "application/octet-stream")
    assert stream.chunk() == b"first"
    (tmp_path / "go").touch()
    assert stream.rest() == b"second"
    assert (tmp_path / "closed").exists()


def test_an_event_leaves_before_the_next_is_made(server, tmp_path, way):
    content = {"kind": "waiting", "folder": str(tmp_path)}
    stream = Stream(server, content, way, Accept="text/event-stream")
    assert stream.chunk() == b"data: first\n\n"
    (tmp_path / "go").touch()
    assert stream.rest().startswith(b"data: second\n\n")


def test_a_plain_generator_of_an_async_model_streams_beside_others(async_server, tmp_path):
    stream = Stream(async_server, {"kind": "in_thread", "folder": str(tmp_path)})
    assert stream.chunk() == b"first"
    other = Stream(async_server, {"kind": "letters", "inputs": ["a", "b"]})
    assert other.rest() == b"ab"  # while the first one's generator computes
    (tmp_path / "go").touch()
    assert stream.rest() == b"second"


def test_texts_and_bytes_are_sent_as_they_are_and_other_values_as_lines(server, way):
    values = ["text ", 1, {"a": [1.5]}, "ü"]
    assert (
        Stream(server, {"kind": "letters", "inputs": values}, way).rest() == b'text 1\n{"a":[1.5]}\n\xc3\xbc'
    )


@pytest.mark.parametrize(
    ("values", "whole"), [(["a", "b"], "ab"), ([1, {"b": 2}], [1, {"b": 2}]), (["a", 1], ["a", 1])]
)
def test_a_client_that_accepts_json_gets_one_answer(server, way, values, whole):
    stream = Stream(server, {"kind": "letters", "inputs": values}, way, Accept="application/json")
    assert stream.answer.headers["content-type"] == "application/json"
    assert json.loads(stream.rest()) == whole


def test_a_client_that_accepts_events_gets_events(server, way):
    values = ["two\nlines", {"a": 1}, "event: mine\ndata: 1\n\n"]
    stream = Stream(server, {"kind": "letters", "inputs": values}, way, Accept="text/event-stream")
    assert stream.answer.headers["content-type"] == "text/event-stream"
    assert stream.rest().decode() == (
        'data: two\ndata: lines\n\ndata: {"a":1}\n\nevent: mine\ndata: 1\n\nevent: done\ndata:\n\n'
    )


def test_an_answer_that_is_no_stream_is_one_event(sync_server):
    stream = Stream(sync_server, {"kind": "plain", "inputs": [1]}, Accept="text/event-stream")
    assert stream.rest() == b'data: {"predictions":[1]}\n\nevent: done\ndata:\n\n'


def test_a_stream_of_nothing_is_an_empty_answer(server, way):
    stream = Stream(server, {"kind": "nothing"}, way)
    assert (stream.answer.status, stream.rest()) == (200, b"")


def test_the_connection_is_kept_after_a_stream(server):
    stream = Stream(server, {"kind": "letters", "inputs": ["a"]})
    assert stream.rest() == b"a"
    stream.connection.request("POST", PREDICT, json.dumps({"kind": "letters", "inputs": ["b"]}))
    assert stream.connection.getresponse().read() == b"b"


def test_an_error_before_the_first_chunk_is_an_answer(server, way):
    stream = Stream(server, {"kind": "early"}, way)
    assert stream.answer.status == 500
    assert "before the first chunk" in json.loads(stream.rest())["error"]["message"]


def test_an_error_after_the_first_chunk_breaks_the_answer_off(server, way):
    stream = Stream(server, {"kind": "late"}, way)
    with pytest.raises(http.client.IncompleteRead) as caught:
        stream.rest()
    assert caught.value.partial == b"first"
    server.wait_until(
        lambda: any("after the first chunk" in line for line in server.log), "does not say what failed"
    )


def test_an_error_after_the_first_chunk_is_an_event(server, way):
    stream = Stream(server, {"kind": "late"}, way, Accept="text/event-stream")
    first, failure = stream.rest().decode().split("\n\n", 1)
    assert first == "data: first"
    assert failure.startswith("event: failure\ndata: {")
    error = json.loads(failure.partition("data: ")[2])["error"]
    assert error["type"] == "prediction_failed"
    assert "after the first chunk" in error["message"]


def test_a_client_that_leaves_stops_the_generator(server, tmp_path, way):
    stream = Stream(server, {"kind": "endless", "folder": str(tmp_path)}, way)
    assert stream.chunk()
    stream.leave()
    assert comes(tmp_path / "closed")
    assert Stream(server, {"kind": "letters", "inputs": ["a"]}).rest() == b"a"


def test_the_model_is_not_far_ahead_of_a_client_that_does_not_read(server, tmp_path, way):
    stream = Stream(server, {"kind": "endless", "folder": str(tmp_path)}, way)
    made = settled(tmp_path / "made")
    assert made < 400  # 25 MiB: the sockets' buffers, the front's, and the window
    read = 0
    while read < (made + 10) * 65536:
        read += len(stream.chunk())
    assert (tmp_path / "made").stat().st_size > made
    stream.leave()
    assert comes(tmp_path / "closed")


def test_a_slow_reader_of_an_async_model_holds_up_no_other(async_server, tmp_path):
    slow = Stream(async_server, {"kind": "endless", "folder": str(tmp_path)})
    for _ in range(3):
        other = Stream(async_server, {"kind": "letters", "inputs": ["x" * 100_000] * 20})
        assert len(other.rest()) == 2_000_000
    assert not (tmp_path / "closed").exists()
    slow.leave()
    assert comes(tmp_path / "closed")


def test_openai_s_client_gets_the_first_chunk_before_the_model_makes_the_last(server, tmp_path):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": str(tmp_path)}]
        chunks = iter(client.chat.completions.create(model="model", messages=messages, stream=True))
        assert next(chunks).choices[0].delta.content == "a"
        (tmp_path / "go").touch()
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["a"]


def test_openai_s_client_is_told_of_an_error_in_the_middle(server, tmp_path):
    (tmp_path / "go").touch()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": str(tmp_path)}]
        chunks = iter(client.chat.completions.create(model="failing", messages=messages, stream=True))
        next(chunks)
        with pytest.raises(openai.APIError, match="after the first chunk"):
            next(chunks)


def test_a_worker_that_dies_breaks_its_streams_off_and_is_replaced(server, tmp_path):
    stream = Stream(server, {"kind": "endless", "folder": str(tmp_path)})
    assert stream.chunk()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(http.client.IncompleteRead):
        stream.rest()
    server.wait_ready()
    assert Stream(server, {"kind": "letters", "inputs": ["a"]}).rest() == b"a"


def test_a_stream_has_until_its_deadline(server, tmp_path):
    stream = Stream(
        server,
        {"kind": "waiting", "folder": str(tmp_path)},
        X_Request_Timeout="1",
        Accept="text/event-stream",
    )
    first, failure = stream.rest().decode().split("\n\n", 1)
    assert first == "data: first"
    assert "deadline_exceeded" in failure
    (tmp_path / "go").touch()
    assert comes(tmp_path / "closed")


@pytest.mark.parametrize("code", [MODEL, ASYNC_MODEL], ids=["sync", "async"])
def test_a_running_stream_is_finished_when_the_server_stops(write, tmp_path, code):
    with running_server(write(code)) as server:
        stream = Stream(server, {"kind": "waiting", "folder": str(tmp_path)})
        assert stream.chunk() == b"first"
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.request("GET", "/readyz").status == 503, "still says it is ready")
        (tmp_path / "go").touch()
        assert stream.rest() == b"second"
        assert server.process.wait(60) == 0


def test_an_event_source_asks_with_a_query(server):
    query = urllib.parse.urlencode({"request": json.dumps({"kind": "letters", "inputs": ["ä", 1]})})
    answer = server.request("GET", f"{PREDICT}?{query}", headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.decode() == "data: ä\n\ndata: 1\n\nevent: done\ndata:\n\n"
    assert server.request("GET", f"{PREDICT}?{query}").status == 405
    assert server.request("GET", PREDICT, headers={"Accept": "text/event-stream"}).status == 405


PAGE = """
<script>
  let told = Promise.resolve();  // one after the other, so that they come in their order
  const tell = (what) => { told = told.then(() => fetch("REPORTS" + what, {method: "POST"})); };
  const request = {kind: "waiting", folder: "FOLDER"};
  const source = new EventSource("SERVER?request=" + encodeURIComponent(JSON.stringify(request)));
  source.onmessage = (event) => tell(event.data);
  source.addEventListener("done", () => { source.close(); tell("done"); });
  source.onerror = () => tell("error");
</script>
"""


class Reports(http.server.BaseHTTPRequestHandler):
    """Takes what the page tells, and lets the model go on once its first event has reached the page."""

    def do_POST(self):
        self.server.told.put(self.path)  # before the answer, after which the page tells the next
        if self.path == "/first":
            (self.server.folder / "go").touch()
        self.send_response(204)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_browser_s_event_source_reads_events_as_they_are_made(server, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed (scripts/setup-browser)")
    reports = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reports)
    reports.told, reports.folder = queue.Queue(), tmp_path
    threading.Thread(target=reports.serve_forever, daemon=True).start()
    page = tmp_path / "page.html"
    told_at = f"http://127.0.0.1:{reports.server_port}/"
    names = {"REPORTS": told_at, "FOLDER": str(tmp_path), "SERVER": server.url + PREDICT}
    page.write_text(re.sub("REPORTS|FOLDER|SERVER", lambda name: names[name[0]], PAGE))
    # The page is a file, which may not ask servers unless the browser looks away.
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-web-security"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    process = subprocess.Popen(
        [browser, *flags, profile, "--remote-debugging-port=0", page.as_uri()], stderr=subprocess.DEVNULL
    )
    try:
        assert [reports.told.get(timeout=60) for _ in range(3)] == ["/first", "/second", "/done"]
    finally:
        process.terminate()
        process.wait()
        reports.shutdown()
        reports.server_close()
