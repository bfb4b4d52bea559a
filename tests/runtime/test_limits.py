"""Queue bounds, deadlines, clients that leave, memory limits, and joining gone wrong."""

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from truss.model.integrity import record
from truss.testing.server import running_server

# Writes down each request it begins, then waits until the file it was told of exists.
WAITING = """
    import os, time

    class Model:
        def predict(self, request):
            with open(request["log"], "a") as log:
                log.write(str(request["n"]) + "\\n")
            while not os.path.exists(request["until"]):
                time.sleep(0.005)
            return [request["n"], os.getpid()]
"""

WAITING_ASYNC = """
    import asyncio, os

    class Model:
        def __init__(self):
            self.most = self.now = 0
        async def predict(self, request):
            self.now += 1
            self.most = max(self.most, self.now)
            with open(request["log"], "a") as log:
                log.write("begun\\n")
            try:
                while not os.path.exists(request["until"]):
                    await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                with open(request["log"], "a") as log:
                    log.write("cancelled\\n")
                raise
            finally:
                self.now -= 1
            return [request["n"], self.most]
"""


@pytest.fixture
def asking(tmp_path):
    """Send numbered requests in the background, and let the model go on."""

    class Asking:
        log = tmp_path / "log"
        until = tmp_path / "until"

        def __init__(self):
            self.pool = ThreadPoolExecutor(64)

        def content(self, number):
            return {"n": number, "log": str(self.log), "until": str(self.until)}

        def ask(self, server, number, **headers):
            return self.pool.submit(server.predict, self.content(number), **headers)

        def begun(self):
            return self.log.read_text().split() if self.log.exists() else []

    asking = Asking()
    yield asking
    asking.until.touch()
    asking.pool.shutdown()


def gauge(server, name):
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name + " ")))


def wait_for(server, name, value):
    server.wait_until(lambda: gauge(server, name) == value, f"never has {name} at {value}")


def wait_for_queue(server, depth):
    wait_for(server, "truss_queue_depth", depth)


def wait_for_workers(server, count):
    for worker in range(count):
        wait_for(server, f'truss_workers{{worker="{worker}",state="ready"}}', 1)


def leave_after_sending(server, content):
    """Send a request on a connection and return the connection, to be closed."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("POST", "/v1/models/model:predict", json.dumps(content))
    return connection


def test_a_full_queue_is_said_with_when_to_come_back(make_truss, asking):
    with running_server(make_truss(WAITING, "runtime: {queue: {max_requests: 2}}")) as server:
        running = asking.ask(server, 0)
        server.wait_until(lambda: asking.begun() == ["0"], "does not run")
        waiting = [asking.ask(server, number) for number in (1, 2)]
        wait_for_queue(server, 2)
        refused = server.predict(asking.content(3))
        assert (refused.status, refused.json()["error"]["type"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        asking.until.touch()
        assert [answer.result().status for answer in (running, *waiting)] == [200, 200, 200]


@pytest.mark.parametrize("step", ["def", "async def"])
def test_when_to_come_back_is_computed(step, make_truss):
    """Four wait for a model that takes 0.5 s for each: room is there in about two seconds."""
    pause = "await asyncio.sleep(0.5)" if step == "async def" else "time.sleep(0.5)"
    code = f"""
    import asyncio, time

    class Model:
        {step} predict(self, request):
            {pause}
            return 1
    """
    with running_server(make_truss(code, "runtime: {queue: {max_requests: 4}}")) as server:
        for _ in range(3):
            assert server.predict({}).status == 200
        with ThreadPoolExecutor(5) as pool:
            asked = [pool.submit(server.predict, {}) for _ in range(5)]
            wait_for_queue(server, 4)
            refused = server.predict({})
            assert refused.status == 429
            # Never less than the pauses take; more where the machine is slow.
            assert 2 <= int(refused.headers["retry-after"]) <= 20
            assert {one.result().status for one in asked} == {200}


def test_a_request_whose_time_is_up_while_waiting_is_never_run(make_truss, asking):
    with running_server(make_truss(WAITING)) as server:
        running = asking.ask(server, 0)
        server.wait_until(lambda: asking.begun() == ["0"], "does not run")
        late = server.predict(asking.content(1), X_Request_Timeout="0.05")
        assert (late.status, late.json()["error"]["type"]) == (504, "deadline_exceeded")
        asking.until.touch()
        assert running.result().status == 200
        assert asking.ask(server, 2).result().status == 200
        assert asking.begun() == ["0", "2"]


def test_a_clients_own_deadline_does_not_cost_the_worker(make_truss, asking):
    with running_server(make_truss(WAITING)) as server:
        late = server.predict(asking.content(0), X_Request_Timeout="0.2")
        assert late.status == 504
        asking.until.touch()
        pids = {server.predict(asking.content(number)).json()[1] for number in (1, 2)}
        assert len(pids) == 1
        assert gauge(server, "truss_worker_restarts_total") == 0


def test_a_stuck_worker_is_replaced_and_its_client_gets_504(make_truss, asking):
    with running_server(make_truss(WAITING, "runtime: {timeouts: {request: 0.5}}")) as server:
        stuck = server.predict(asking.content(0))
        assert (stuck.status, stuck.json()["error"]["type"]) == (504, "deadline_exceeded")
        server.wait_until(lambda: gauge(server, "truss_worker_restarts_total") == 1, "replaced nothing")
        asking.until.touch()
        server.wait_until(lambda: server.predict(asking.content(1)).status == 200, "does not answer again")


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf"])
def test_a_deadline_that_is_no_number_is_refused(make_truss, value):
    with running_server(make_truss("class Model:\n        def predict(self, r): return r")) as server:
        refused = server.predict({}, X_Request_Timeout=value)
        assert (refused.status, refused.json()["error"]["type"]) == (400, "invalid_input")


def test_clients_that_leave_the_queue_cost_no_worker_time(make_truss, asking):
    with running_server(make_truss(WAITING)) as server:
        running = asking.ask(server, 0)
        server.wait_until(lambda: asking.begun() == ["0"], "does not run")
        leaving = [leave_after_sending(server, asking.content(number)) for number in range(1, 9)]
        wait_for_queue(server, 8)
        for connection in leaving[::2]:
            connection.close()
        wait_for_queue(server, 4)
        asking.until.touch()
        assert running.result().status == 200
        for connection in leaving[1::2]:
            assert connection.getresponse().status == 200
            connection.close()
        assert asking.begun() == ["0", "2", "4", "6", "8"]


def test_a_client_that_leaves_cancels_its_running_coroutine(make_truss, asking):
    config = "runtime: {predict_concurrency: 2}"
    with running_server(make_truss(WAITING_ASYNC, config)) as server:
        connection = leave_after_sending(server, asking.content(0))
        server.wait_until(lambda: asking.begun() == ["begun"], "does not run")
        connection.close()
        server.wait_until(lambda: asking.begun() == ["begun", "cancelled"], "was not cancelled")
        server.wait_until(lambda: gauge(server, "truss_requests_running") == 0, "still counts it")
        asking.until.touch()
        assert server.predict(asking.content(1)).status == 200


def test_requests_cancelled_before_they_begin_count_no_more(make_truss, asking):
    with running_server(make_truss(WAITING_ASYNC, "runtime: {predict_concurrency: 2}")) as server:
        for number in range(20):  # some are read by the worker together with their cancellation
            leave_after_sending(server, asking.content(number)).close()
        server.wait_until(lambda: gauge(server, "truss_requests_running") == 0, "still counts them")
        asking.until.touch()
        assert server.predict(asking.content(1)).status == 200


def test_an_async_model_works_on_as_many_requests_as_it_was_given_leave_for(make_truss, asking):
    with running_server(make_truss(WAITING_ASYNC, "runtime: {predict_concurrency: 5}")) as server:
        answers = [asking.ask(server, number) for number in range(12)]
        wait_for_queue(server, 7)
        asking.until.touch()
        results = [answer.result().json() for answer in answers]
        assert sorted(number for number, _ in results) == list(range(12))
        assert max(most for _, most in results) == 5


def test_several_workers_run_side_by_side(make_truss, asking):
    with running_server(make_truss(WAITING), "--workers", "3") as server:
        answers = [asking.ask(server, number) for number in range(3)]
        server.wait_until(lambda: len(asking.begun()) == 3, "does not run three at a time")
        asking.until.touch()
        assert len({answer.result().json()[1] for answer in answers}) == 3


HOLDING = """
    import mmap, os, time

    IMPORTED = b"1" * (300 << 20)

    class Model:
        def load(self):
            self.kept = []
        def predict(self, request):
            if "own" in request:
                self.kept.append(b"1" * (request["own"] << 20))
            if "file" in request:
                with open(request["file"], "rb") as file:
                    self.kept.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
                sum(self.kept[-1][::4096])
            if "shared" in request:
                self.kept.append(mmap.mmap(-1, request["shared"] << 20))
                for start in range(0, len(self.kept[-1]), 4096):
                    self.kept[-1][start] = 1
            while "until" in request and not os.path.exists(request["until"]):
                time.sleep(0.005)
            return [os.getpid(), len(self.kept)]
"""


def test_a_worker_over_its_memory_limit_is_replaced(make_truss):
    with running_server(make_truss(HOLDING, "runtime: {memory_limit: 600Mi}")) as server:
        first = server.predict({"own": 1}).json()
        with contextlib.suppress(ConnectionError):
            server.predict({"own": 400})
        server.wait_until(lambda: gauge(server, "truss_worker_restarts_total") == 1, "replaced nothing")
        assert any("MiB of its own and is replaced" in line for line in server.log)
        second = server.predict({"own": 1}).json()
        assert first[1] == second[1] == 1
        assert first[0] != second[0]


def test_what_a_worker_shares_does_not_count_for_its_memory_limit(make_truss, asking):
    """One worker has 900 MiB mapped that are not its own, and stays; one with 300 MiB of its own goes."""
    weights = asking.log.with_name("weights")
    with weights.open("wb") as file:
        file.writelines(itertools.repeat(b"1" * (1 << 20), 300))
    with running_server(make_truss(HOLDING, "runtime: {memory_limit: 250Mi, workers: 2}")) as server:
        wait_for_workers(server, 2)
        kept = server.predict({"file": str(weights), "shared": 300}).json()[0]
        busy = asking.pool.submit(server.predict, {"until": str(asking.until)})
        wait_for(server, "truss_requests_running", 1)
        assert psutil.Process(kept).memory_info().rss > 900 << 20
        for replaced in (1, 2):  # between the two, every worker has been looked at
            wait_for_workers(server, 2)
            server.predict({"own": 300})
            wait_for(server, "truss_worker_restarts_total", replaced)
        asking.until.touch()
        assert busy.result().json() == [kept, 2]


@pytest.mark.parametrize(("expected", "ready"), [("[1]", True), ("[2]", False)])
def test_golden_requests_are_replayed_before_it_is_ready(make_truss, expected, ready):
    code = "class Model:\n    def predict(self, request):\n        return request['inputs']\n"
    folder = make_truss(code, "runtime: {replay_examples: true}")
    (folder / "examples.yaml").write_text(f"- {{name: one, input: {{inputs: [1]}}, expected: {expected}}}\n")
    with running_server(folder, ready=ready) as server:
        if not ready:
            said = "does not get its expected answer"
            server.wait_until(lambda: said in server.request("GET", "/readyz").body.decode(), "does not say")
            assert server.request("GET", "/readyz").status == 503


def test_a_changed_file_is_named_when_a_golden_request_is_answered_otherwise(make_truss):
    code = """
        class Model:
            def __init__(self, data_dir):
                self.answer = int((data_dir / "weights").read_text())
            def predict(self, request):
                return self.answer
    """
    folder = make_truss(code, "runtime: {replay_examples: true, exit_on_load_failure: true}")
    (folder / "examples.yaml").write_text("- {name: one, input: {inputs: [1]}, expected: 1}\n")
    weights = folder / "data" / "weights"
    weights.parent.mkdir()
    weights.write_text("1")
    record(folder, [weights])
    weights.write_text("2")
    with running_server(folder, ready=False) as server:
        assert server.process.wait(60) == 1
    log = "".join(server.log)
    assert "data/weights is not the file that was packaged" in log
    assert "example 'one' does not get its expected answer" in log


def test_bad_rows_do_not_fail_their_neighbours(make_truss):
    code = """
        import time
        class Model:
            def predict(self, request):
                time.sleep(0.02)
                return {"predictions": [10 / row for row in request["inputs"]]}
    """
    rows = [0, 1, 2, 5] * 8
    folder = make_truss(code, "runtime: {batching: {mode: rows}}")
    with running_server(folder) as server, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda row: server.predict({"inputs": [row]}), rows))
    for row, answer in zip(rows, answers, strict=True):
        assert answer.status == (200 if row else 500)
        assert not row or answer.json() == {"predictions": [10 / row]}


def test_answers_that_only_look_like_rows_are_not_split(make_truss):
    code = """
        import time
        class Model:
            def predict(self, request):
                time.sleep(0.02)
                return {"predictions": list(request["inputs"]), "classes": ["a", "b", "c"]}
    """
    barrier = threading.Barrier(3)
    with running_server(make_truss(code, "runtime: {batching: {mode: rows}}")) as server:

        def ask(number):
            barrier.wait()
            return server.predict({"inputs": [number]}).json()

        with ThreadPoolExecutor(3) as pool:
            for _ in range(10):
                answers = list(pool.map(ask, range(3)))
                assert answers == [{"predictions": [n], "classes": ["a", "b", "c"]} for n in range(3)]


def test_predict_batch_gets_the_requests_as_a_list(make_truss):
    code = """
        import time
        class Model:
            def preprocess(self, request):
                return request["inputs"][0]
            def predict(self, value):
                return self.predict_batch([value])[0]
            def predict_batch(self, values):
                time.sleep(0.02)
                return [[value, len(values)] for value in values]
            def postprocess(self, answer):
                return {"value": answer[0], "together": answer[1]}
    """
    folder = make_truss(code, "runtime: {batching: {mode: requests}}")
    with running_server(folder) as server, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: server.predict({"inputs": [n]}).json(), range(32)))
    assert [answer["value"] for answer in answers] == list(range(32))
    assert max(answer["together"] for answer in answers) > 2


def test_a_class_without_predict_batch_is_told(make_truss):
    code = "class Model:\n    def predict(self, request): ...\n"
    folder = make_truss(code, "runtime: {batching: {mode: requests}}")
    command = [sys.executable, "-m", "truss.cli", "serve", str(folder), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "has no method `predict_batch`" in ended.stderr
