"""How requests that come at one moment are divided among workers."""

import contextlib
import json
import os
import signal
import socket
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from truss.testing.server import running_server

# Notes which process begins a request, and holds it up while the file it names is not there.
HELD = """
    import asyncio, os, time

    class Model:
        {step} predict(self, request):
            with open(request["log"], "a") as log:
                log.write(f"{{os.getpid()}}\\n")
            while request["until"] and not os.path.exists(request["until"]):
                {pause}
            return os.getpid()
"""
SYNC = HELD.format(step="def", pause="time.sleep(0.005)")
ASYNC = HELD.format(step="async def", pause="await asyncio.sleep(0.005)")


@pytest.fixture
def files(tmp_path):
    """Files that let requests go on; all of them are there in the end."""
    names = [tmp_path / name for name in ("one", "burst")]
    yield names
    for name in names:
        name.touch()


def gauges(server):
    text = server.request("GET", "/metrics").body.decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


def wait_for(server, running, waiting):
    wanted = {"truss_requests_running": running, "truss_queue_depth": waiting}
    server.wait_until(lambda: wanted.items() <= gauges(server).items(), f"has not {wanted}")


def wait_for_both(server):
    text = ',state="ready"} 1'
    server.wait_until(
        lambda: server.request("GET", "/metrics").body.decode().count(text) == 2, "has no two workers"
    )


@contextlib.contextmanager
def sent_at_once(server, contents):
    """Have a request per connection waiting when the front looks next; gives what reads the answers."""
    host, port = server.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in contents
        ]
        server.process.send_signal(signal.SIGSTOP)
        for connection, content in zip(connections, contents, strict=True):
            body = json.dumps(content).encode()
            head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
        server.process.send_signal(signal.SIGCONT)
        yield lambda: [answer_on(connection) for connection in connections]


def answer_on(connection):
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    return json.loads(answer.rpartition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("warm", [False, True])
def test_a_burst_of_slow_requests_is_spread_over_idle_workers(make_truss, tmp_path, files, warm):
    """Be it the first ever or after quick ones, from which a burst looks like no work at all."""
    log, (_, until) = tmp_path / "log", files
    with running_server(make_truss(SYNC), "--workers", "2") as server:
        wait_for_both(server)
        for _ in range(50 if warm else 0):
            server.predict({"log": os.devnull, "until": ""})
        with sent_at_once(server, [{"log": str(log), "until": str(until)}] * 8) as answers:
            server.wait_until(lambda: log.exists() and len(log.read_text().split()) == 2, "is not busy")
            assert len(set(log.read_text().split())) == 2
            until.touch()
            assert len(answers()) == 8


def test_a_worker_that_comes_back_finds_its_share_of_a_burst(make_truss, tmp_path, files):
    """One worker is busy when the burst comes. The idle one takes half of it, and no more."""
    log, (one, until) = tmp_path / "log", files
    with running_server(make_truss(SYNC), "--workers", "2") as server:
        wait_for_both(server)
        for _ in range(50):
            server.predict({"log": os.devnull, "until": ""})
        with sent_at_once(server, [{"log": os.devnull, "until": str(one)}]) as first:
            wait_for(server, running=1, waiting=0)
            with sent_at_once(server, [{"log": str(log), "until": str(until)}] * 8) as burst:
                server.wait_until(lambda: log.exists() and log.read_text(), "is not busy")
                one.touch()
                (busy,) = first()
                server.wait_until(lambda: str(busy) in log.read_text(), "leaves a worker idle", timeout=20)
                until.touch()
                assert len(set(burst())) == 2


def test_requests_of_an_async_model_are_spread_over_its_workers(make_truss, tmp_path, files):
    log, (one, until) = tmp_path / "log", files
    config = "runtime: {workers: 2, predict_concurrency: 64}"
    with running_server(make_truss(ASYNC, config)) as server:
        wait_for_both(server)
        with sent_at_once(server, [{"log": os.devnull, "until": str(one)}] * 2) as others:
            wait_for(server, running=2, waiting=0)
            with sent_at_once(server, [{"log": str(log), "until": str(until)}] * 8) as burst:
                server.wait_until(lambda: log.exists() and len(log.read_text().split()) == 8, "is not busy")
                until.touch()
                assert set(Counter(burst()).values()) == {4}
            one.touch()
            assert len(set(others())) == 2
