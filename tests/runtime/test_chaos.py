"""Workers that die under load: no request is lost, none is answered with another's answer."""

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import threading
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

    serve.computed = lambda: set(map(int, (tmp_path / "pid.begun").read_text().split()))
    return serve


def hammer(server, enough):
    """Ask from many clients at once until it is enough; returns (number, response) of every request."""

    def client(seed):
        numbers = random.Random(seed)
        answered = []
        while not enough():
            number = numbers.randrange(10**6)
            answered.append((number, server.predict({"inputs": [number]})))
        return answered

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [answer for client_ in pool.map(client, range(CLIENTS)) for answer in client_]


def killing(server, newest_worker, every, times, done):
    """Kill the newest worker again and again, so many workers in all."""
    killed = set()
    try:
        while len(killed) < times:
            done.wait(every)
            server.wait_until(lambda: newest_worker() not in killed, "has not replaced a worker")
            pid = newest_worker()
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
    finally:
        done.set()


def under_fire(server, newest_worker, every, times):
    """The answers while so many workers are killed, however long their replacement takes."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(killing, server, newest_worker, every, times, done)
        answers = hammer(server, done.is_set)
        killer.result()
    return answers


@pytest.mark.slow
def test_with_idempotent_on_no_request_fails(square):
    with square("idempotent: true") as (server, newest_worker):
        answers = under_fire(server, newest_worker, every=2, times=15)
    assert len(answers) > 100
    wrong = [(number, answer.status, answer.body) for number, answer in answers if answer.status != 200]
    assert wrong == []
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in answers)


@pytest.mark.slow
def test_with_idempotent_off_only_what_was_running_fails_and_says_so(square):
    with square("idempotent: false") as (server, newest_worker):
        answers = under_fire(server, newest_worker, every=2, times=15)
    assert len(answers) > 100
    failed = [answer for _, answer in answers if answer.status != 200]
    assert failed
    assert {answer.status for answer in failed} == {503}
    # What a worker had not begun when it died was given to the next. A worker that dies just before the model
    # notes its batch leaves no trace of it; were the queue lost with each worker, that were half of all.
    unnoted = {number for number, answer in answers if answer.status != 200} - square.computed()
    assert len(unnoted) <= len(failed) / 3
    assert all(answer.json()["error"]["type"] == "worker_lost" for answer in failed)
    # At most what one batch held, per death.
    assert len(failed) <= 15 * CLIENTS
    good = [(number, answer) for number, answer in answers if answer.status == 200]
    assert all(answer.json() == {"predictions": [number * number]} for number, answer in good)


class Client:
    """One connection that is kept, and opened anew when the server says that it closes."""

    def __init__(self, server):
        host, port = server.url.removeprefix("http://").split(":")
        self.address = host, int(port)
        self.connection = None

    def connect(self):
        """Whether the server takes a connection: the one that is there, or another."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=60)
            try:
                self.connection.connect()
            except (ConnectionRefusedError, TimeoutError):
                return False
        return True

    def ask(self, number):
        """The status and the answer. From here on every error is the server's fault."""
        self.connection.request("POST", "/predict", json.dumps({"inputs": [number]}))
        response = self.connection.getresponse()
        body = response.read()
        if response.will_close:
            self.connection.close()
            self.connection = None
        return response.status, json.loads(body)


def test_sigterm_under_load_answers_every_accepted_request(square):
    """What has been sent on a connection that the server took is computed, and answered as itself."""
    with square("idempotent: false, timeouts: {notice: 0.5}") as (server, _):
        outcomes = {}

        def ask_until_refused(seed):
            client = Client(server)
            for number in itertools.count(seed, CLIENTS):
                if not client.connect():
                    return
                outcomes[number] = "no answer"
                try:
                    outcomes[number] = client.ask(number)
                except (OSError, http.client.HTTPException) as error:
                    outcomes[number] = repr(error)
                    return

        clients = [threading.Thread(target=ask_until_refused, args=(seed,)) for seed in range(CLIENTS)]
        for thread in clients:
            thread.start()
        server.wait_until(lambda: len(outcomes) > 100, "answers nothing")
        server.process.send_signal(signal.SIGTERM)
        told = len(outcomes)
        for thread in clients:
            thread.join(60)
        assert server.process.wait(30) == 0
    assert len(outcomes) > told
    right = {number: (200, {"predictions": [number * number]}) for number in outcomes}
    assert {number: found for number, found in outcomes.items() if found != right[number]} == {}
    assert square.computed() == outcomes.keys()


GATED = """
    import os, time

    class Model:
        def predict(self, request):
            with open(os.environ["COMPUTED"], "a") as log:
                log.write("".join(f"{row}\\n" for row in request["inputs"]))
            while not os.path.exists(os.environ["GATE"]):
                time.sleep(0.005)
            return {"predictions": [row * row for row in request["inputs"]]}
"""


@pytest.mark.parametrize("mode", ["none", "rows"])
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_computed_for_clients_that_left_the_queue(make_truss, tmp_path, mode, workers):
    """They leave at random, some in the middle of their body; those who stay are answered."""
    computed, gate = tmp_path / "computed", tmp_path / "gate"
    environment = {**os.environ, "COMPUTED": str(computed), "GATE": str(gate)}
    config = f"runtime: {{workers: {workers}, batching: {{mode: {mode}, max_requests: 8}}}}"
    dice = random.Random(f"{mode}{workers}")
    with running_server(make_truss(GATED, config), environment=environment) as server:
        text = ',state="ready"} 1'
        server.wait_until(lambda: metrics(server).count(text) == workers, "has not its workers")
        for round_ in range(6):
            gate.unlink(missing_ok=True)
            computed.unlink(missing_ok=True)
            numbers = list(range(100 * round_, 100 * round_ + 40))
            running = []
            for number in numbers[:workers]:  # one after the other: together they might be one batch
                running.append(sending(server, number))
                wait_for_line(server, computed, number)
            clients = {number: dice.choice(["stays", "leaves", "breaks off"]) for number in numbers[workers:]}
            whole = [number for number, how in clients.items() if how != "breaks off"]
            sent = {number: sending(server, number, whole=number in whole) for number in clients}
            wait_for_queue(server, len(whole))
            staying = [number for number, how in clients.items() if how == "stays"]
            for number in dice.sample(sorted(clients), len(clients)):
                if clients[number] != "stays":
                    sent[number].close()
            wait_for_queue(server, len(staying))
            gate.touch()
            for number, connection in zip(numbers, running, strict=False):
                assert answer_on(connection) == (200, {"predictions": [number * number]})
            for number in staying:
                assert answer_on(sent[number]) == (200, {"predictions": [number * number]})
            found = set(map(int, computed.read_text().split()))
            assert found == {*numbers[:workers], *staying}


def metrics(server):
    return server.request("GET", "/metrics").body.decode()


def wait_for_line(server, file, number):
    server.wait_until(lambda: str(number) in file.read_text().split(), f"does not run {number}")


def wait_for_queue(server, depth):
    server.wait_until(lambda: f"\ntruss_queue_depth {depth}\n" in metrics(server), f"has no queue of {depth}")


def sending(server, number, *, whole=True):
    """A connection on which a request, or the beginning of one, has been sent."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    body = json.dumps({"inputs": [number]}).encode()
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body if whole else body[:4])
    return connection


def answer_on(connection):
    with contextlib.closing(connection):
        response = connection.getresponse()
        return response.status, json.loads(response.read())


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
        answers = under_fire(server, newest_worker, every=0.7, times=3)
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
            wait_for_queue(server, number)
        until.touch()
        answers = [one.result() for one in asked]
    assert [answer.status for answer in answers] == [200, 503, *[200] * 10]
    assert [answer.json() for answer in answers[2:]] == list(range(2, 12))
    assert log.read_text().split() == [str(number) for number in range(12)]
