"""Workers that die under load: no request is lost, none is answered with another's answer."""

import contextlib
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from truss.testing.server import running_server

SQUARE = """
    import os, time

    class Model:
        def load(self):
            pid_file = os.environ["PID_FILE"]
            with open(pid_file + ".new", "w") as file:
                file.write(str(os.getpid()))
            os.replace(pid_file + ".new", pid_file)
        def predict(self, request):
            rows = request["inputs"]
            with open(os.environ["PID_FILE"] + ".begun", "a") as begun:
                begun.write("".join(f"{row}\\n" for row in rows))
            time.sleep(0.005)
            return {"predictions": [row * row for row in rows]}
"""

POISON = """
    import os

    class Model:
        def predict(self, request):
            if -1 in request["inputs"]:
                os._exit(1)
            return {"predictions": [row * row for row in request["inputs"]]}
"""

# Asks for the request itself, so the requests of a batch run one after the other.
IN_TURN = """
    import os, time

    class Model:
        def predict(self, inputs, request):
            with open(inputs["log"], "a") as log:
                log.write(f"{inputs['n']}\\n")
            while inputs["n"] == 0 and not os.path.exists(inputs["until"]):
                time.sleep(0.005)
            if inputs["n"] == 1:
                os._exit(1)
            return inputs["n"]
"""

CLIENTS = 16


@pytest.fixture
def square(make_truss, tmp_path):
    """A served model of which the newest worker's process id is known."""

    @contextlib.contextmanager
    def serve(runtime, *arguments):
        pid_file = tmp_path / "pid"
        environment = {**os.environ, "PID_FILE": str(pid_file)}
        folder = make_truss(SQUARE, f"runtime: {{batching: {{mode: rows}}, {runtime}}}")
        with running_server(folder, *arguments, environment=environment) as server:
            yield server, lambda: int(pid_file.read_text())

    serve.begun = lambda: set(map(int, (tmp_path / "pid.begun").read_text().split()))
    return serve


def hammer(server, seconds):
    """Ask from many clients at once until the time is up; returns (number, response) of every request."""
    end = time.monotonic() + seconds

    def client(seed):
        numbers = random.Random(seed)
        answered = []
        while time.monotonic() < end:
            number = numbers.randrange(10**6)
            answered.append((number, server.predict({"inputs": [number]})))
        return answered

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [answer for client_ in pool.map(client, range(CLIENTS)) for answer in client_]


def killing(newest_worker, every, stop):
    """Kill the newest worker again and again until told to stop; returns how many died."""
    killed = []
    while not stop.wait(every):
        with contextlib.suppress(ProcessLookupError):
            os.kill(newest_worker(), signal.SIGKILL)
            killed.append(1)
    return len(killed)


def under_fire(server, newest_worker, seconds, every):
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(killing, newest_worker, every, stop)
        answers = hammer(server, seconds)
        stop.set()
        return answers, killer.result()


@pytest.mark.slow
def test_with_idempotent_on_no_request_fails(square):
    with square("idempotent: true") as (server, newest_worker):
        answers, killed = under_fire(server, newest_worker, seconds=30, every=2)
    assert killed >= 10
    assert len(answers) > 100
    wrong = [(number, answer.status, answer.body) for number, answer in answers if answer.status != 200]
    assert wrong == []
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in answers)


@pytest.mark.slow
def test_with_idempotent_off_only_what_was_running_fails_and_says_so(square):
    with square("idempotent: false") as (server, newest_worker):
        answers, killed = under_fire(server, newest_worker, seconds=30, every=2)
    assert killed >= 10
    assert len(answers) > 100
    failed = [answer for _, answer in answers if answer.status != 200]
    assert failed
    assert {answer.status for answer in failed} == {503}
    assert all(answer.json()["error"]["type"] == "worker_lost" for answer in failed)
    # What a worker had not begun when it died was given to the next.
    assert {number for number, answer in answers if answer.status != 200} <= square.begun()
    # At most what one batch held, per death.
    assert len(failed) <= killed * CLIENTS
    good = [(number, answer) for number, answer in answers if answer.status == 200]
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in good)


@pytest.mark.slow
def test_sigterm_under_load_answers_every_accepted_request(square):
    with square("idempotent: false") as (server, _):
        outcomes = []

        def client(seed):
            number = seed
            while True:
                number += CLIENTS
                try:
                    outcomes.append((number, server.predict({"inputs": [number]})))
                except ConnectionRefusedError:
                    return  # the server takes no more connections: nothing was accepted
                except OSError as error:
                    if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                        return
                    outcomes.append((number, error))
                    return

        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
        for thread in clients:
            thread.start()
        server.wait_until(lambda: len(outcomes) > 100, "answers nothing")
        server.process.send_signal(signal.SIGTERM)
        for thread in clients:
            thread.join(60)
        assert server.process.wait(30) == 0
    broken = [
        outcome for outcome in outcomes if isinstance(outcome[1], Exception) or outcome[1].status != 200
    ]
    assert broken == []
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in outcomes)


def test_neighbours_of_a_request_that_kills_workers_are_answered(make_truss):
    config = "runtime: {batching: {mode: rows}, idempotent: true}"
    with running_server(make_truss(POISON, config)) as server, ThreadPoolExecutor(CLIENTS) as pool:
        numbers = [-1 if place == 5 else place for place in range(CLIENTS)]
        answers = list(pool.map(lambda number: server.predict({"inputs": [number]}), numbers))
    refused = [number for number, answer in zip(numbers, answers, strict=True) if answer.status != 200]
    assert refused == [-1]
    assert "2 workers died" in answers[5].json()["error"]["message"]
    others = [(number, answer) for number, answer in zip(numbers, answers, strict=True) if number >= 0]
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in others)


def test_several_workers_share_the_load_while_one_dies(square):
    with square("idempotent: true", "--workers", "2") as (server, newest_worker):
        answers, killed = under_fire(server, newest_worker, seconds=3, every=0.7)
    assert killed >= 2
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in answers)


def test_what_a_dead_worker_had_not_begun_is_answered_in_the_order_it_came(make_truss, tmp_path):
    """Eleven wait while one runs; the first of them kills the worker, which had been given eight."""
    log, until = tmp_path / "log", tmp_path / "until"
    config = "runtime: {batching: {mode: rows, max_requests: 8}}"
    with running_server(make_truss(IN_TURN, config)) as server, ThreadPoolExecutor(12) as pool:
        asked = []
        for number in range(12):
            content = {"n": number, "log": str(log), "until": str(until)}
            asked.append(pool.submit(server.predict, content))
            if number == 0:
                server.wait_until(log.exists, "does not run")
            waiting = f"\ntruss_queue_depth {number}\n".encode()
            server.wait_until(lambda: waiting in server.request("GET", "/metrics").body, "does not queue")  # noqa: B023
        until.touch()
        answers = [one.result() for one in asked]
    assert [answer.status for answer in answers] == [200, 503, *[200] * 10]
    assert [answer.json() for answer in answers[2:]] == list(range(2, 12))
    assert log.read_text().split() == [str(number) for number in range(12)]
