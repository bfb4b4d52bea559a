"""Every metric that the documentation names, from a real run of two workers, with the value that is right."""

import os
import re
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from truss.testing.server import running_server

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "operations.md"

# Takes 20 ms for each call and 5 ms for each row, or as long as the file it names is not there.
PACED = """
    import os, time

    class Model:
        def predict(self, request):
            while "until" in request and not os.path.exists(request["until"]):
                time.sleep(0.005)
            time.sleep(0.02 + 0.005 * len(request["inputs"]))
            return {"predictions": [os.getpid()] * len(request["inputs"])}
"""

ROUTE = "/v1/models/model:predict"
SEEN_WITH_A_GPU = {"truss_gpu_memory_used_bytes", "truss_gpu_memory_total_bytes"}


@pytest.fixture
def paced(make_truss):
    config = "runtime: {workers: 2, batching: {mode: rows}}"
    with running_server(make_truss(PACED, config)) as server:
        server.wait_until(lambda: states(server) == {"0": "ready", "1": "ready"}, "has no two workers")
        yield server


def samples(server):
    """Name and labels -> value."""
    text = server.request("GET", "/metrics").body.decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def states(server):
    """Worker -> the one state that it is in."""
    found = [dict(key[1:]) for key, value in samples(server).items() if key[0] == "truss_workers" and value]
    states = {labels["worker"]: labels["state"] for labels in found}
    assert len(states) == len(found)
    return states


def buckets(found, name):
    """How many values each bucket of a histogram has to itself, without the empty ones."""
    running, own = 0, {}
    for key, value in found.items():
        if key[0] == f"{name}_bucket":
            own[dict(key[1:])["le"]] = value - running
            running = value
    return {bound: count for bound, count in own.items() if count}


def test_every_metric_that_the_guide_names_is_there_and_no_other(paced):
    table = GUIDE.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    named = set(re.findall(r"`((?:truss|process)_\w+)`", table))
    paced.predict({"inputs": [1]})
    text = paced.request("GET", "/metrics").body.decode()
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert named - SEEN_WITH_A_GPU == typed.keys() - SEEN_WITH_A_GPU
    for name, kind in typed.items():
        row = next(line for line in table.splitlines() if f"`{name}`" in line)
        assert kind in row


def test_batches_and_rows_are_counted_as_the_workers_ran_them(paced, tmp_path):
    """Both are held up, by one row and by two rows; behind them gather four requests of three rows each.

    The worker that is let go first takes all four as one batch of twelve rows. The first of them also runs
    alone, to see that answers of this form can be split: that is no batch, and is not counted.
    """
    gates = [tmp_path / "first", tmp_path / "second"]
    asked = []

    def ask(content):
        asked.append(threading.Thread(target=paced.predict, args=(content,)))
        asked[-1].start()

    def waits(running, queued):
        found = samples(paced)
        return (found[("truss_requests_running",)], found[("truss_queue_depth",)]) == (running, queued)

    for number, gate in enumerate(gates, 1):
        ask({"inputs": [0] * number, "until": str(gate)})
        paced.wait_until(lambda number=number: waits(number, 0), "does not run them")
    for _ in range(4):
        ask({"inputs": [0] * 3})
    paced.wait_until(lambda: waits(2, 4), "does not queue them")
    for gate in gates:
        gate.touch()
    for thread in asked:
        thread.join()
    found = samples(paced)
    assert (found[("truss_requests_running",)], found[("truss_queue_depth",)]) == (0, 0)
    assert found[("truss_requests_total", ("route", ROUTE), ("status", "200"))] == 6
    assert buckets(found, "truss_request_duration_seconds").keys()
    assert found[("truss_request_duration_seconds_count",)] == 6
    assert found[("truss_batch_requests_sum",)] == 6
    assert buckets(found, "truss_batch_requests") == {"1": 2, "4": 1}
    assert found[("truss_batch_rows_sum",)] == 1 + 2 + 12
    assert buckets(found, "truss_batch_rows") == {"1": 1, "2": 1, "16": 1}
    assert found[("truss_stage_duration_seconds_count", ("stage", "queue"))] == 6
    for stage in ("decode", "predict", "encode"):
        assert found[("truss_stage_duration_seconds_count", ("stage", stage))] == 3
    assert found[("truss_stage_duration_seconds_sum", ("stage", "predict"))] >= 3 * 0.02 + 15 * 0.005


def test_the_cost_is_fitted_in_rows(paced):
    """At the mean number of rows the line has the mean duration, and no sleep is shorter than it says."""
    sizes = (1, 8, 1, 8, 16, 1, 16, 8)
    for rows in sizes:
        assert paced.predict({"inputs": [0] * rows}).status == 200
    found = samples(paced)
    fixed = found[("truss_batch_cost_seconds", ("part", "fixed"))]
    per_row = found[("truss_batch_cost_seconds", ("part", "per_row"))]
    weights = [0.98**age for age in reversed(range(len(sizes)))]
    mean = sum(weight * rows for weight, rows in zip(weights, sizes, strict=True)) / sum(weights)
    assert per_row > 0
    assert fixed + mean * per_row >= 0.02 + mean * 0.005


def test_requests_that_are_not_joined_are_runs_of_their_own(make_truss, tmp_path):
    """Three gather behind one that is held up, and are handed over together or one by one: each is a run."""
    until = tmp_path / "until"
    with running_server(make_truss(PACED)) as server:
        content = {"inputs": [0], "until": str(until)}
        asked = [threading.Thread(target=server.predict, args=(content,)) for _ in range(4)]
        for thread in asked:
            thread.start()
        server.wait_until(lambda: samples(server)[("truss_queue_depth",)] == 3, "does not queue them")
        until.touch()
        for thread in asked:
            thread.join()
        assert server.request("POST", "/predict", b"no JSON").status == 400
        found = samples(server)
    assert buckets(found, "truss_batch_rows") == {"1": 4}
    assert found[("truss_stage_duration_seconds_count", ("stage", "predict"))] == 5
    assert found[("truss_requests_total", ("route", "/predict"), ("status", "400"))] == 1


STATES = """
    import os, time

    class Model:
        def load(self):
            while os.path.exists(os.environ["FOLDER"] + "/wait"):
                time.sleep(0.005)
            if os.path.exists(os.environ["FOLDER"] + "/die"):
                os._exit(1)
            if os.path.exists(os.environ["FOLDER"] + "/fail"):
                raise ValueError("cannot")
        def predict(self, request):
            return len(request)
"""


def test_the_state_of_a_worker_is_the_one_that_it_is_in(make_truss, tmp_path):
    """It loads, cannot load, dies while it loads (and waits for its next try), and is ready."""
    wait, fail, die = (tmp_path / name for name in ("wait", "fail", "die"))
    wait.touch()
    fail.touch()
    environment = {**os.environ, "FOLDER": str(tmp_path)}
    with running_server(make_truss(STATES), environment=environment, ready=False) as server:
        server.wait_until(lambda: states(server) == {"0": "loading"}, "does not load")
        wait.unlink()
        server.wait_until(lambda: states(server) == {"0": "failed"}, "does not fail")
        die.touch()
        server.wait_until(lambda: states(server) == {"0": "lost"}, "is not lost")
        die.unlink()
        fail.unlink()
        server.wait_until(lambda: states(server) == {"0": "ready"}, "is not ready")
        tries = "".join(server.log).count("worker 0 cannot load") + "".join(server.log).count("worker 0 died")
        assert samples(server)[("truss_worker_restarts_total",)] == tries


def test_a_large_body_takes_memory_until_it_is_answered(paced, tmp_path):
    gate = tmp_path / "gate"
    content = {"inputs": [0], "until": str(gate), "large": "x" * (1 << 20)}
    asking = threading.Thread(target=paced.predict, args=(content,))
    asking.start()
    paced.wait_until(lambda: samples(paced)[("truss_shared_body_bytes",)] > 1 << 20, "is nowhere")
    gate.touch()
    asking.join()
    assert samples(paced)[("truss_shared_body_bytes",)] == 0
