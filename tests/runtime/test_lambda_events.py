"""The program of a container on AWS Lambda: a Runtime API as documented, and the real server behind."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from lambda_runtime_api import RuntimeApi

MODEL = """
class Model:
    def predict(self, request):
        if request.get("fail"):
            raise ValueError("no such flower")
        if request.get("large"):
            return {"predictions": ["x" * request["large"]]}
        return {"predictions": request["inputs"]}
"""


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
