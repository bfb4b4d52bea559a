"""Several workers that share what they import: forked from a template, or not where that is not safe."""

import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from truss.testing.server import running_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")

WHO = """
    import os, time
    {imports}

    IMPORTED_BY = os.getpid()

    class Model:
        def __init__(self):
            self.constructed_by = os.getpid()
        def load(self):
            {load}
        def predict(self, request):
            if "meet" in request:  # wait until as many workers are in their predict
                open(os.path.join(request["meet"], str(os.getpid())), "w").close()
                while len(os.listdir(request["meet"])) < request["count"]:
                    time.sleep(0.002)
            return {{"pid": os.getpid(), "imported_by": IMPORTED_BY, "constructed_by": self.constructed_by,
                    "parent": os.getppid(), "value": {value}}}
"""


@pytest.fixture
def serve_who(make_truss):
    """Serve a model that tells which processes did what."""

    def serve(*arguments, imports="", load="pass", value="None", config="", **options):
        code = WHO.format(imports=imports, load=load, value=value)
        return running_server(make_truss(code, config), *arguments, **options)

    return serve


def ask_every_worker(server, count):
    """One answer of each worker, by process id."""
    wait_ready_workers(server, count)
    with tempfile.TemporaryDirectory() as meet, ThreadPoolExecutor(count) as pool:
        content = {"meet": meet, "count": count}
        answers = [answer.json() for answer in pool.map(server.predict, [content] * count)]
    return {answer["pid"]: answer for answer in answers}


def wait_ready_workers(server, count):
    def ready():
        lines = server.request("GET", "/metrics").body.decode().splitlines()
        ready = [line for line in lines if line.startswith("truss_workers{") and 'state="ready"' in line]
        return sum(line.endswith(" 1") for line in ready) == count

    server.wait_until(ready, f"has no {count} workers")


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_workers_are_forked_after_the_import_and_before_the_construction(serve_who):
    with serve_who("--workers", "3") as server:
        answers = ask_every_worker(server, 3)
        assert len({answer["imported_by"] for answer in answers.values()}) == 1
        assert not {answer["imported_by"] for answer in answers.values()} & set(answers)
        assert all(answer["constructed_by"] == pid for pid, answer in answers.items())
        assert {answer["parent"] for answer in answers.values()} == {server.process.pid}


def test_a_single_worker_does_everything_by_itself(serve_who):
    with serve_who() as server:
        answer = server.predict({}).json()
        assert answer["imported_by"] == answer["pid"]
        assert [child.pid for child in psutil.Process(server.process.pid).children()] == [answer["pid"]]


def test_a_worker_that_dies_is_reported_as_it_died_and_replaced_by_the_template(serve_who):
    with serve_who("--workers", "2") as server:
        before = ask_every_worker(server, 2)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        server.wait_until(lambda: gone(killed), "still has the worker")
        after = ask_every_worker(server, 2)
        assert killed not in after
        assert {answer["imported_by"] for answer in after.values()} == {before[killed]["imported_by"]}
        assert any("died" in line for line in server.log)
        assert psutil.STATUS_ZOMBIE not in {
            child.status() for child in psutil.Process(server.process.pid).children()
        }


def test_a_template_that_dies_takes_no_worker_with_it_and_is_replaced(serve_who):
    with serve_who("--workers", "2") as server:
        before = ask_every_worker(server, 2)
        template = before[min(before)]["imported_by"]
        os.kill(template, signal.SIGKILL)
        server.wait_until(lambda: gone(template), "still has the template")
        assert set(ask_every_worker(server, 2)) == set(before)
        os.kill(min(before), signal.SIGKILL)
        server.wait_until(lambda: gone(min(before)), "still has the worker")
        after = ask_every_worker(server, 2)
        (new,) = set(after) - set(before)
        assert after[new]["imported_by"] not in {template, new}


@pytest.mark.parametrize(
    ("imports", "said"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "threads"),
        ("import socket; PAIR = socket.socketpair()", "opened socket:"),
        ("LOG = open(__file__)", "opened /"),
    ],
    ids=["thread", "socket", "file"],
)
def test_an_import_that_a_fork_would_break_is_done_by_each_worker(serve_who, imports, said):
    with serve_who("--workers", "2", imports=imports) as server:
        answers = ask_every_worker(server, 2)
        assert all(answer["imported_by"] == pid for pid, answer in answers.items())
        assert {answer["parent"] for answer in answers.values()} == {server.process.pid}
        assert any(said in line for line in server.log)
        killed = min(answers)
        os.kill(killed, signal.SIGKILL)
        server.wait_until(lambda: gone(killed), "still has the worker")
        assert killed not in ask_every_worker(server, 2)


def test_a_module_that_cannot_be_imported_is_told_as_by_a_single_worker(serve_who):
    with serve_who("--workers", "2", imports="raise ValueError('not today')", ready=False) as server:
        assert server.process.wait(60) == 2
        assert any("not today" in line for line in server.log)


def test_a_worker_that_cannot_load_says_so(serve_who):
    with serve_who("--workers", "2", load="raise ValueError('no weights')", ready=False) as server:
        server.wait_until(
            lambda: "no weights" in server.request("GET", "/readyz").body.decode(), "does not tell"
        )


def test_an_import_that_takes_too_long_is_given_up_and_tried_again(serve_who, tmp_path):
    imports = f"""import pathlib, time
    tries = pathlib.Path({str(tmp_path / "tries")!r})
    tries.write_text(tries.read_text() + "." if tries.exists() else ".")
    while len(tries.read_text()) == 1: time.sleep(0.01)"""
    config = "runtime: {timeouts: {load: 2}}"
    with serve_who("--workers", "2", imports=imports, config=config) as server:
        ask_every_worker(server, 2)
        assert any("did not load the model in time" in line for line in server.log)


def test_workers_draw_different_random_numbers(serve_who):
    imports = "import random; import numpy as np"
    value = "[np.random.random(), random.random()]"
    with serve_who("--workers", "2", imports=imports, value=value) as server:
        one, two = (answer["value"] for answer in ask_every_worker(server, 2).values())
        assert one[0] != two[0]
        assert one[1] != two[1]


def test_a_seed_that_the_module_sets_holds_in_every_worker(serve_who):
    imports = "import numpy as np; np.random.seed(7)"
    load = "self.drawn = np.random.random()"
    with serve_who("--workers", "2", imports=imports, load=load, value="self.drawn") as server:
        one, two = (answer["value"] for answer in ask_every_worker(server, 2).values())
        assert one == two


def test_libraries_that_restart_their_threads_are_forked_and_compute(serve_who):
    imports = "import numpy as np"
    value = "float((np.ones((1500, 1500)) @ np.ones((1500, 1500))).sum())"
    threads = {**os.environ, "OMP_NUM_THREADS": "2"}
    with serve_who("--workers", "2", imports=imports, value=value, environment=threads) as server:
        answers = ask_every_worker(server, 2)
        assert len({answer["imported_by"] for answer in answers.values()}) == 1
        assert {answer["value"] for answer in answers.values()} == {1500.0**3}


def test_pyarrow_is_forked_for_all_its_allocators_thread_and_computes_in_threads_of_its_own(serve_who):
    imports = """import pyarrow as pa, pyarrow.csv
    pa.array(range(1_000_000))
    started = {open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")}
    assert "jemalloc_bg_thd" in started, started"""
    value = """pyarrow.csv.read_csv(
                        pa.BufferReader(b"a" + b"".join(b"\\n%d" % row for row in range(1_000_000))),
                        pyarrow.csv.ReadOptions(use_threads=True, block_size=65536)
                    ).group_by([]).aggregate([("a", "sum")])["a_sum"][0].as_py()"""
    threads = {**os.environ, "OMP_NUM_THREADS": "2"}
    with serve_who("--workers", "2", imports=imports, value=value, environment=threads) as server:
        for _ in range(3):
            answers = ask_every_worker(server, 2)
            assert len({answer["imported_by"] for answer in answers.values()}) == 1
            assert {answer["value"] for answer in answers.values()} == {499_999_500_000}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_front(serve_who, end):
    with serve_who("--workers", "2") as server:
        answers = ask_every_worker(server, 2)
        processes = {*answers, *(answer["imported_by"] for answer in answers.values())}
        server.process.send_signal(end)
        server.process.wait(60)
        deadline = time.monotonic() + 60
        while not all(gone(pid) for pid in processes):
            assert time.monotonic() < deadline
            time.sleep(0.02)
