"""The server over real sockets: routes, errors, life and death of workers, signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import msgpack
import numpy as np
import psutil
import pytest

from truss.model.integrity import CHECKSUMS, checksum, record
from truss.runtime.codecs import decode_msgpack, encode_msgpack
from truss.testing.server import running_server

DOUBLE = """
    import os, numpy as np

    class Model:
        def predict(self, request):
            return {"predictions": np.asarray(request["inputs"]) * 2}
"""

TRICKS = """
    import os, signal, time

    class Model:
        def predict(self, request):
            if "raise" in request:
                raise KeyError("no such thing")
            if "object" in request:
                return {"predictions": [object()]}
            if "die" in request:
                os.kill(os.getpid(), signal.SIGKILL)
            if "wait_for" in request:
                while not os.path.exists(request["wait_for"]):
                    time.sleep(0.01)
            time.sleep(request.get("seconds", 0))
            return {"pid": os.getpid(), "names": sorted(request), "inputs": request.get("inputs")}
"""


MODEL = {"id": "model", "object": "model", "created": 0, "owned_by": "truss"}


@pytest.fixture
def double(make_truss):
    with running_server(make_truss(DOUBLE)) as server:
        yield server


@pytest.fixture
def tricks(make_truss):
    with running_server(make_truss(TRICKS)) as server:
        yield server


def error_of(response):
    error = response.json()["error"]
    assert set(error) <= {"type", "message", "hint", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    return error


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"]
)
def test_predict_reads_json_whatever_the_content_type(double, content_type):
    body = b'{"inputs": [[1, 2], [3, 4]]}'
    for path in ("/v1/models/model:predict", "/invocations"):
        response = double.request("POST", path, body, {"Content-Type": content_type})
        assert (response.status, response.json()) == (200, {"predictions": [[2, 4], [6, 8]]})
        assert response.headers["content-type"] == "application/json"


def test_predict_binary_speaks_msgpack_with_arrays(double):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    response = double.request("POST", "/v1/models/model:predict_binary", encode_msgpack({"inputs": array}))
    answer = decode_msgpack(response.body)["predictions"]
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, array * 2)
    assert msgpack.unpackb(response.body)["predictions"][b"shape"] == [2, 3]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", {"status": "alive", "ready": True}),
        ("/livez", {"status": "alive", "ready": True}),
        ("/healthz", {"status": "alive", "ready": True}),
        ("/readyz", {"name": "model", "ready": True}),
        ("/ping", {"name": "model", "ready": True}),
        ("/v1/models", {"models": ["model"], "object": "list", "data": [MODEL]}),
        ("/v1/models/model", {"name": "model", "ready": True, **MODEL}),
        ("/v1/models/model/loaded", {"name": "model", "ready": True}),
    ],
)
def test_health_and_information(double, path, content):
    response = double.request("GET", path)
    assert (response.status, response.json()) == (200, content)


def test_inputs_and_instances_name_the_same_thing(tricks):
    assert tricks.predict({"instances": [1]}).json()["names"] == ["inputs", "instances"]
    assert tricks.predict({"inputs": [1]}).json()["names"] == ["inputs", "instances"]
    assert tricks.predict({"inputs": [1], "instances": [2]}).json()["inputs"] == [1]


def test_the_clients_request_id_comes_back(double):
    response = double.predict({"inputs": "no"}, X_Request_Id="mine-1")
    assert error_of(response)["request_id"] == "mine-1"


@pytest.mark.parametrize(
    ("body", "status", "kind", "text"),
    [
        (b"{'inputs': [1]}", 400, "malformed_body", "-d '{\"inputs\": [1]}'"),
        (b"", 400, "malformed_body", "empty"),
        (b'{"inputs": 3}', 400, "invalid_input", "must be a list"),
        (b'{"raise": 1}', 500, "prediction_failed", "KeyError: 'no such thing'"),
        (b'{"object": 1}', 500, "answer_encoding", "predictions[0]"),
    ],
)
def test_bad_requests_are_told_what_and_how(tricks, body, status, kind, text):
    response = tricks.request("POST", "/v1/models/model:predict", body)
    error = error_of(response)
    assert (response.status, error["type"]) == (status, kind)
    assert text in error["message"] + error.get("hint", "")
    assert "Traceback" not in response.body.decode()


def test_a_failing_predict_names_the_line_and_is_logged_with_its_traceback(tricks):
    response = tricks.predict({"raise": 1}, X_Request_Id="the-bad-one")
    assert "model/model.py:7, in predict" in error_of(response)["message"]
    tricks.wait_until(lambda: "Traceback" in "".join(tricks.log), "logged no traceback")
    assert "the-bad-one" in "".join(tricks.log)


def test_debug_shows_the_traceback(make_truss):
    with running_server(make_truss(TRICKS, "runtime: {debug: true}")) as server:
        assert "Traceback" in server.predict({"raise": 1}).json()["error"]["traceback"]


def test_unknown_routes_and_wrong_methods(double):
    missing = double.request("GET", "/v1/models/other")
    assert (missing.status, error_of(missing)["type"]) == (404, "not_found")
    assert "/v1/models/model:predict" in error_of(missing)["hint"]
    wrong = double.request("GET", "/v1/models/model:predict")
    assert (wrong.status, error_of(wrong)["type"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"]
    for method, path, allowed in (("PUT", "/readyz", "HEAD, GET"), ("GET", "/v1/completions", "POST")):
        assert double.request(method, path).headers["allow"] == allowed


def test_bodies_over_the_limit_are_refused(make_truss):
    with running_server(make_truss(DOUBLE, "runtime: {max_body: 1Ki}")) as server:
        assert server.predict({"inputs": [1] * 100}).status == 200
        too_large = server.predict({"inputs": [1] * 1000})
        assert (too_large.status, error_of(too_large)["type"]) == (413, "body_too_large")
        chunked = send_chunked(server, b"[" + b"1," * 2000 + b"1]")
        assert chunked.startswith(b"HTTP/1.1 413")


def send_chunked(server, body):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /invocations HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        connection.sendall(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        return connection.recv(65536)


def test_a_worker_killed_while_idle_is_replaced(tricks):
    first = tricks.predict({}).json()["pid"]
    os.kill(first, signal.SIGKILL)
    second = tricks.predict({})  # waits for the new worker
    assert second.status == 200
    assert second.json()["pid"] != first
    assert tricks.request("GET", "/livez").status == 200


def test_a_request_that_kills_its_worker_gets_503_and_the_server_lives(tricks):
    response = tricks.predict({"die": 1})
    assert (response.status, error_of(response)["type"]) == (503, "worker_lost")
    assert tricks.predict({}).status == 200


def test_an_idempotent_request_is_tried_once_more_then_refused(make_truss):
    with running_server(make_truss(TRICKS, "runtime: {idempotent: true}")) as server:
        response = server.predict({"die": 1})
        assert (response.status, error_of(response)["type"]) == (503, "worker_lost")
        assert "2 workers died" in error_of(response)["message"]
        assert server.predict({}).status == 200


def test_health_answers_while_the_model_computes(tricks, tmp_path):
    signal_file = tmp_path / "go on"
    answers = []
    caller = threading.Thread(target=lambda: answers.append(tricks.predict({"wait_for": str(signal_file)})))
    caller.start()
    for _ in range(20):
        assert tricks.request("GET", "/readyz").status == 200
    assert not answers
    signal_file.touch()
    caller.join()
    assert answers[0].status == 200


def test_sigterm_answers_what_was_accepted_and_exits_0(tricks, tmp_path):
    signal_file = tmp_path / "go on"
    answers = []
    caller = threading.Thread(target=lambda: answers.append(tricks.predict({"wait_for": str(signal_file)})))
    caller.start()
    tricks.wait_until(
        lambda: depth(tricks, 'truss_stage_duration_seconds_count{stage="queue"}') == 1, "is not busy"
    )
    tricks.process.send_signal(signal.SIGTERM)
    tricks.wait_until(lambda: tricks.request("GET", "/readyz").status == 503, "still says it is ready")
    signal_file.touch()
    caller.join()
    assert answers[0].status == 200
    assert tricks.process.wait(30) == 0


def test_connections_are_taken_after_sigterm_for_as_long_as_the_config_says(make_truss):
    with running_server(make_truss(TRICKS, "runtime: {timeouts: {notice: 600, grace: 1200}}")) as server:
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.request("GET", "/readyz").status == 503, "still says it is ready")
        assert server.predict({"seconds": 1.2}).status == 200  # of computing
        assert server.predict({}).status == 200  # on a connection of its own
        server.process.send_signal(signal.SIGTERM)  # again
        assert server.process.wait(30) == 0


def depth(server, sample):
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample)), None)


def test_sigint_exits_0_too(double):
    double.process.send_signal(signal.SIGINT)
    assert double.process.wait(30) == 0


def test_no_worker_outlives_a_killed_front(tricks):
    worker = tricks.predict({}).json()["pid"]
    tricks.process.kill()
    tricks.process.wait()
    psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=10)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


CANNOT_LOAD = """
    import os

    class Model:
        def load(self):
            if os.path.exists(os.environ["MISSING"]):
                raise FileNotFoundError("weights.bin")
        def predict(self, request):
            return os.getpid()
"""


@pytest.fixture
def missing(tmp_path):
    """While this file is there, the model cannot be loaded."""
    file = tmp_path / "missing"
    file.touch()
    return file


def says_why(server):
    """Readiness and the log name what the model lacks."""
    readiness = server.request("GET", "/readyz")
    log = "".join(server.log)
    said = b"weights.bin" in readiness.body and "worker 0 cannot load the model" in log
    return readiness.status == 503 and said and "FileNotFoundError: weights.bin" in log


def test_a_model_that_cannot_load_says_why_on_readiness_and_in_the_log(make_truss, missing):
    environment = {**os.environ, "MISSING": str(missing)}
    with running_server(make_truss(CANNOT_LOAD), ready=False, environment=environment) as server:
        server.wait_until(lambda: says_why(server), "does not say why")
        assert server.request("GET", "/livez").status == 200
        refused = server.predict({})
        assert (refused.status, error_of(refused)["type"]) == (503, "not_ready")
        assert "weights.bin" in error_of(refused)["message"]
        assert "model.py" not in refused.body.decode()  # where that is concerns the log's readers
        missing.unlink()
        server.wait_ready()
        assert server.predict({}).status == 200


def test_a_replacement_that_cannot_load_says_why_too(make_truss, missing):
    missing.unlink()
    environment = {**os.environ, "MISSING": str(missing)}
    with running_server(make_truss(CANNOT_LOAD), environment=environment) as server:
        worker = server.predict({}).json()
        missing.touch()
        os.kill(worker, signal.SIGKILL)
        server.wait_until(lambda: says_why(server), "does not say why")
        assert server.predict({}).status == 503


DIES_OVER_DATA = """
    import os, signal

    class Model:
        def __init__(self, data_dir):
            self.weights = data_dir / "weights.bin"
        def load(self):
            if self.weights.read_bytes() != b"whole":
                os.kill(os.getpid(), signal.SIGSEGV)
        def predict(self, request):
            return 1
"""
EXITS = "runtime: {exit_on_load_failure: true}"


def cut_weights(folder):
    """Pack the file that a model of `DIES_OVER_DATA` reads, then cut it off; returns what names it."""
    weights = folder / "data" / "weights.bin"
    weights.parent.mkdir()
    weights.write_bytes(b"whole")
    record(folder, [weights])
    said = f"data/weights.bin is not the file that was packaged: .* expected {checksum(weights)} "
    weights.write_bytes(b"who")
    return said + ".*died: signal 11"


def test_a_file_over_which_the_process_that_loads_it_dies_is_named(make_truss):
    folder = make_truss(DIES_OVER_DATA)
    said = cut_weights(folder)
    with running_server(folder, ready=False) as server:
        server.wait_until(
            lambda: re.search(said, server.request("GET", "/readyz").body.decode()), "does not name the file"
        )
        (folder / "data" / "weights.bin").write_bytes(b"whole")
        server.wait_ready()


def test_a_process_that_dies_while_it_loads_the_model_is_told_of(make_truss):
    folder = make_truss(DIES_OVER_DATA)
    cut_weights(folder)
    (folder / CHECKSUMS).unlink()
    with running_server(folder, ready=False) as server:
        server.wait_until(
            lambda: "the process that loaded it died: signal 11"
            in server.request("GET", "/readyz").body.decode(),
            "does not say why",
        )
        assert error_of(server.predict({}))["type"] == "not_ready"
        (folder / "data" / "weights.bin").write_bytes(b"whole")
        server.wait_ready()
        assert server.predict({}).json() == 1


def test_a_process_that_dies_over_a_file_ends_the_server_when_told_so(make_truss):
    folder = make_truss(DIES_OVER_DATA, EXITS)
    said = cut_weights(folder)
    ended = run_serve(folder)
    assert ended.returncode == 1
    assert re.search(said, ended.stderr)


def test_a_model_that_cannot_load_ends_the_server_when_told_so(make_truss, missing):
    ended = run_serve(make_truss(CANNOT_LOAD, EXITS), environment={**os.environ, "MISSING": str(missing)})
    assert ended.returncode == 1
    assert "FileNotFoundError: weights.bin" in ended.stderr


def test_a_replacement_that_cannot_load_ends_it_too(make_truss, missing):
    missing.unlink()
    environment = {**os.environ, "MISSING": str(missing)}
    with running_server(make_truss(CANNOT_LOAD, EXITS), environment=environment) as server:
        worker = server.predict({}).json()
        missing.touch()
        os.kill(worker, signal.SIGKILL)
        assert server.process.wait(60) == 1
    assert "FileNotFoundError: weights.bin" in "".join(server.log)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("class Model:\n    pass\n", "no method `predict`"),
        ("class Model\n    pass\n", "model.py:1: syntax error"),
        ("import not_there_at_all\n", "'not_there_at_all', which is not installed"),
        ("x = 1\n", "no class named 'Model'"),
    ],
)
def test_a_wrong_model_class_ends_the_server_with_its_place(make_truss, code, text):
    ended = run_serve(make_truss(code))
    assert ended.returncode == 2
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def run_serve(folder, *arguments, environment=None):
    command = [sys.executable, "-m", "truss.cli", "serve", str(folder), "--port", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def test_a_taken_port_is_said_at_once(make_truss):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_serve(make_truss(DOUBLE), "--port", port)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_async_models_answer(make_truss):
    code = """
        import asyncio

        class Model:
            async def load(self):
                self.lock = asyncio.Lock()
            async def preprocess(self, request):
                return request["inputs"]
            async def predict(self, rows):
                async with self.lock:
                    await asyncio.sleep(0)
                for row in rows:
                    yield row + 1
    """
    with running_server(make_truss(code)) as server:
        response = server.predict({"inputs": [1, 2]}, Accept="application/json")
        assert (response.status, response.json()) == (200, [2, 3])


def test_rows_of_concurrent_requests_are_joined_and_come_back_to_their_own(make_truss):
    code = """
        import time
        class Model:
            def predict(self, request):
                time.sleep(0.02)
                rows = request["inputs"]
                return {"predictions": [row[0] + 1 for row in rows], "together": [len(rows)] * len(rows)}
    """
    with running_server(make_truss(code, "runtime: {batching: {mode: rows}}")) as server:
        answers = {}

        def call(number):
            answers[number] = server.predict({"inputs": [[number], [number + 1000]]}).json()

        callers = [threading.Thread(target=call, args=(number,)) for number in range(24)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert all(answers[n]["predictions"] == [n + 1, n + 1001] for n in range(24))
    assert max(answer["together"][0] for answer in answers.values()) > 2


def test_secrets_and_environment_reach_the_model(make_truss):
    code = """
        import os
        class Model:
            def __init__(self, secrets, config):
                self.secrets, self.config = secrets, config
            def predict(self, request):
                return [self.secrets["key"], os.environ["COLOUR"], self.config["model_metadata"]["a"]]
    """
    config = """
        secrets: {key: default}
        environment_variables: {COLOUR: blue}
        model_metadata: {a: 1}
    """
    environment = {**os.environ, "TRUSS_SECRET_key": "from environment"}
    with running_server(make_truss(code, config), environment=environment) as server:
        assert server.predict({}).json() == ["from environment", "blue", 1]


def test_metrics_are_prometheus_text(double):
    double.predict({"inputs": [1]})
    double.predict({"inputs": "no"})
    text = double.request("GET", "/metrics").body.decode()
    assert 'truss_requests_total{route="/v1/models/model:predict",status="200"} 1' in text
    assert 'truss_requests_total{route="/v1/models/model:predict",status="400"} 1' in text
    assert 'truss_stage_duration_seconds_count{stage="predict"} 2' in text
    assert 'truss_workers{worker="0",state="ready"} 1' in text


def test_nan_and_infinity_become_null(make_truss):
    code = """
        import numpy as np
        class Model:
            def predict(self, request):
                return {"predictions": np.array([1.5, np.nan, np.inf]), "one": float("-inf")}
    """
    with running_server(make_truss(code)) as server:
        response = server.predict({})
        assert json.loads(response.body) == {"predictions": [1.5, None, None], "one": None}
