"""The program of a container on AWS Lambda: a Runtime API as documented, and the real server behind.

The Runtime API here is ours, written after https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
That Lambda's own does the same, and how it freezes a sandbox between events, is not shown.
"""

import base64
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

MODEL = """
class Model:
    def predict(self, request):
        if request.get("fail"):
            raise ValueError("no such flower")
        if request.get("large"):
            return {"predictions": ["x" * request["large"]]}
        return {"predictions": request["inputs"]}
"""


class RuntimeApi(ThreadingHTTPServer):
    """Gives events and takes what becomes of them."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events, self.answers, self.asked = queue.Queue(), queue.Queue(), threading.Event()

    def answer(self, event):
        """What becomes of an event: `response` or `error`, and what is said."""
        self.events.put(event)
        path, body = self.answers.get(timeout=60)
        kind = path.rpartition("/")[2]
        assert path == f"/2018-06-01/runtime/invocation/id-1/{kind}"
        return kind, json.loads(body)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.set()
        event = self.server.events.get()
        body = json.dumps(event).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "id-1")
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-2-3")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.answers.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A Runtime API, asked by a running program of a container."""
    folder = tmp_path_factory.mktemp("lambda") / "a_truss"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "model" / "model.py").write_text(MODEL)
    server = RuntimeApi()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "TRUSS_DIR": str(folder),
        "PORT": str(port),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
    }
    process = subprocess.Popen([sys.executable, "-m", "truss.runtime.container"], env=environment)
    try:
        assert server.asked.wait(60), "no event is asked for"
        yield server
    finally:
        process.terminate()
        assert process.wait(30) == 0
        server.shutdown()
        server.server_close()


def http_event(method, path, body="", **more):
    """As a function's URL sends it."""
    about = {"http": {"method": method, "path": path}}
    return {"version": "2.0", "rawPath": path, "requestContext": about, "headers": {}, "body": body, **more}


def test_an_event_that_is_no_request_is_asked_of_the_model(api):
    assert api.answer({"inputs": [1, 2]}) == ("response", {"predictions": [1, 2]})
    kind, said = api.answer({"fail": True})
    assert kind == "error"
    assert "no such flower" in said["errorMessage"]
    assert api.answer([1])[0] == "error"


def test_a_request_of_http_is_answered_as_one(api):
    event = http_event(
        "POST",
        "/v1/models/model:predict",
        base64.b64encode(b'{"inputs": [3]}').decode(),
        isBase64Encoded=True,
        headers={"Content-Type": "application/json", "Host": "abc.lambda-url.eu-west-1.on.aws"},
    )
    kind, answer = api.answer(event)
    assert (kind, answer["statusCode"], answer["isBase64Encoded"]) == ("response", 200, True)
    assert json.loads(base64.b64decode(answer["body"])) == {"predictions": [3]}
    assert answer["headers"]["content-type"] == "application/json"
    assert answer["headers"]["x-request-id"] == "id-1"


def test_any_route_can_be_asked(api):
    kind, answer = api.answer(http_event("GET", "/readyz", rawQueryString="verbose=1"))
    assert (kind, answer["statusCode"]) == ("response", 200)
    kind, answer = api.answer(http_event("GET", "/nowhere"))
    assert (kind, answer["statusCode"]) == ("response", 404)
    wrong = http_event("POST", "/v1/models/model:predict", '{"fail": true}')
    assert api.answer(wrong)[1]["statusCode"] == 500


def test_an_answer_that_is_too_large_is_an_error_that_says_so(api):
    kind, said = api.answer({"large": 7_000_000})
    assert kind == "error"
    assert "6291456" in said["errorMessage"]
    assert api.answer({"inputs": [4]}) == ("response", {"predictions": [4]})
