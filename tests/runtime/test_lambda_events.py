"""The program of a container on AWS Lambda: a Runtime API as documented, and the real server behind."""

import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lambda_runtime_api import RuntimeApi

import truss
from truss.runtime import codecs
from truss.runtime.lambda_events import VARIABLE, Answered, answer_of, api_of, asked_by

MODEL = """
import time


class Model:
    def predict(self, request):
        if request.get("fail"):
            raise ValueError("no such flower")
        while request.get("forever"):
            time.sleep(0.01)
        if request.get("large"):
            return {"predictions": ["x" * request["large"]]}
        return {"predictions": request["inputs"]}
"""


def write(folder, code):
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "model" / "model.py").write_text(code)
    return folder


@contextlib.contextmanager
def running(folder, **variables):
    """A Runtime API, and the program of a container that is told where it is."""
    server = RuntimeApi()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(truss.__file__).parents[1]),  # the sources under test, wherever they are
        "TRUSS_DIR": str(folder),
        "PORT": str(port),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
        **variables,
    }
    process = subprocess.Popen([sys.executable, "-m", "truss.runtime.container"], env=environment)
    try:
        yield server, process, port
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A Runtime API, asked by a running program of a container."""
    with running(write(tmp_path_factory.mktemp("lambda") / "a_truss", MODEL)) as (server, process, _):
        assert server.asked.wait(60), "no event is asked for"
        yield server
        process.terminate()
        assert process.wait(30) == 0


def http_event(method, path, body="", **more):
    """As a function's URL sends it."""
    about = {"http": {"method": method, "path": path}}
    return {"version": "2.0", "rawPath": path, "requestContext": about, "headers": {}, "body": body, **more}


def asked(event):
    return asked_by(json.dumps(event).encode())


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


GATEWAY = {"requestContext": {"stage": "prod", "resourcePath": "/{proxy+}"}}
BALANCER = {
    "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a"}}
}
PREDICT = "/v1/models/model:predict"


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize(("about", "lists"), [(GATEWAY, True), (BALANCER, False), (BALANCER, True)])
def test_api_gateways_of_format_1_and_load_balancers_are_answered_in_their_own_form(
    api, about, lists, encoded
):
    headers = {"Content-Type": "application/json", "X-Request-Id": "their-own", "Host": "a.example"}
    body = b'{"inputs": ["\xc3\xbc"]}'
    event = {
        "httpMethod": "POST",
        "path": PREDICT,
        "body": base64.b64encode(body).decode() if encoded else body.decode(),
        "isBase64Encoded": encoded,
        **about,
    }
    if lists:
        event |= {"multiValueHeaders": {name: [value] for name, value in headers.items()}}
        event |= {"headers": headers} if about is GATEWAY else {}
    else:
        event["headers"] = headers
    kind, answer = api.answer(event)
    assert (kind, answer["statusCode"], answer["isBase64Encoded"]) == ("response", 200, False)
    assert json.loads(answer["body"]) == {"predictions": ["ü"]}
    assert answer.get("statusDescription") == (None if about is GATEWAY else "200 OK")
    told = answer["multiValueHeaders" if lists else "headers"]
    assert told["x-request-id"] == (["their-own"] if lists else "their-own")
    assert ("headers" in answer) != lists


def test_what_is_no_text_comes_in_base64(api):
    packed = codecs.encode_msgpack({"inputs": [1]})
    event = {
        "httpMethod": "POST",
        "path": PREDICT,
        "headers": {"Content-Type": "application/msgpack"},
        "body": base64.b64encode(packed).decode(),
        "isBase64Encoded": True,
        **GATEWAY,
    }
    answer = api.answer(event)[1]
    assert answer["isBase64Encoded"] is True
    assert codecs.decode_msgpack(base64.b64decode(answer["body"])) == {"predictions": [1]}
    event["body"] = "no base64"
    kind, said = api.answer(event)
    assert kind == "error"
    assert said["errorType"] == "Error"  # of binascii
    assert api.answer({"inputs": [4]}) == ("response", {"predictions": [4]})


def test_queries_and_headers_of_several_values_arrive():
    queries = {"multiValueQueryStringParameters": {"a": ["1 &", "2"], "b": ["ü"]}}
    event = {"httpMethod": "GET", "path": "/a", **GATEWAY, **queries, "headers": None, "body": None}
    assert asked(event).path == "/a?a=1+%26&a=2&b=%C3%BC"
    event |= {"queryStringParameters": {"a": "2"}, "multiValueQueryStringParameters": None}
    assert asked(event).path == "/a?a=2"
    event |= {"queryStringParameters": {"a": "1%20%26"}, **BALANCER}
    assert asked(event).path == "/a?a=1%20%26"  # a load balancer leaves it as it came
    event |= {"multiValueHeaders": {"Accept": ["text/csv", "*/*"]}}
    assert asked(event).headers == {"accept": "text/csv,*/*"}
    newer = http_event("GET", "/a", cookies=["a=1", "b=2"], headers={"Accept": "text/csv,*/*"})
    assert asked(newer).headers == {"accept": "text/csv,*/*", "cookie": "a=1; b=2"}


def test_headers_that_come_twice_are_told_twice():
    """As wrapped servers send them, cookies above all."""
    answered = Answered(
        200, [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("vary", "a"), ("vary", "b")], b""
    )
    newer = json.loads(answer_of(asked(http_event("GET", "/")), answered))
    assert (newer["cookies"], newer["headers"]) == (["a=1", "b=2"], {"vary": "a,b"})
    older = json.loads(answer_of(asked({"httpMethod": "GET", "path": "/", **GATEWAY}), answered))
    assert older["multiValueHeaders"] == {"set-cookie": ["a=1", "b=2"], "vary": ["a", "b"]}


@pytest.mark.parametrize(
    "event", [{"requestContext": {"http": {}}}, {"requestContext": {}}, {"requestContext": 1}]
)
def test_what_looks_like_a_request_of_http_and_is_none_is_asked_of_the_model(api, event):
    """It ended the thread that takes events, and with that the function's use."""
    assert api.answer({**event, "inputs": [5]}) == ("response", {"predictions": [5]})


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


def test_an_event_ends_with_its_time(api):
    api.seconds = 1.0
    try:
        kind, said = api.answer({"forever": True})
        assert kind == "error"
        assert "deadline_exceeded" in said["errorMessage"]
        event = http_event("POST", "/v1/models/model:predict", '{"forever": true}', headers={})
        event["headers"]["X-Request-Timeout"] = "3600"  # more than there is
        assert api.answer(event)[1]["statusCode"] == 504
        event["headers"]["X-Request-Timeout"] = "soon"
        assert api.answer(event)[1]["statusCode"] == 400
    finally:
        api.seconds = 600.0
    event["headers"]["X-Request-Timeout"] = "0.5"  # less than there is
    assert api.answer(event)[1]["statusCode"] == 504


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"{MODEL}\n    def load(self):\n        raise OSError('no weights')\n", "no weights"),
        (f"{MODEL}\n    def __init__(self, wrong):\n        pass\n", "wrong"),
        ("class Model:\n    pass\n", "no method `predict`"),
    ],
    ids=["load", "constructor", "definition"],
)
def test_a_model_that_cannot_be_loaded_is_an_error_of_the_start(tmp_path, code, words):
    with running(write(tmp_path / "a_truss", code)) as (server, process, _):
        path, body = server.answers.get(timeout=60)
        assert path == "/2018-06-01/runtime/init/error"
        said = json.loads(body)
        assert words in said["errorMessage"]
        assert said["errorType"] == server.error_type
        assert said["errorType"].startswith("Runtime.")
        assert process.wait(60) != 0
        assert not server.asked.is_set()
        assert server.answers.empty()


def test_a_truss_that_cannot_be_read_is_one_too(tmp_path):
    with running(tmp_path) as (server, process, _):
        path, body = server.answers.get(timeout=60)
        assert path == "/2018-06-01/runtime/init/error"
        assert "config.yaml" in json.loads(body)["errorMessage"]
        assert process.wait(60) != 0


def test_the_web_adapter_is_known_by_its_variables_and_by_its_file(tmp_path):
    on_lambda = {VARIABLE: "127.0.0.1:9001"}
    assert api_of({}, tmp_path) is None
    assert api_of(on_lambda, tmp_path) == "127.0.0.1:9001"
    assert api_of({**on_lambda, "AWS_LWA_PORT": "8080"}, tmp_path) is None
    (tmp_path / "lambda-adapter").touch()
    assert api_of(on_lambda, tmp_path) is None


def test_beside_the_web_adapter_events_are_its_own(tmp_path):
    folder = write(tmp_path / "a_truss", MODEL)
    with running(folder, AWS_LWA_READINESS_CHECK_PATH="/readyz") as (server, process, port):

        def ready():
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200

        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if ready():
                    break
            time.sleep(0.02)
        assert all(ready() for _ in range(200))  # who waits for this has seen it
        process.terminate()
        assert process.wait(30) == 0
        assert not server.asked.is_set()
