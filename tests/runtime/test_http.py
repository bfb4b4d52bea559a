"""Requests as they may lie on the wire: cut anywhere, one behind another, in every form HTTP/1.1 allows."""

import http.client
import json
import pathlib
import resource
import socket
import sys
import textwrap
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from truss.runtime.arena import SMALLEST
from truss.testing.server import running_server

MODEL = """
    class Model:
        def predict(self, request):
            return {"predictions": request["inputs"]}
"""
ASYNC = """
    import asyncio, pathlib

    class Model:
        async def predict(self, request):
            begun = pathlib.Path(request["begun"])
            begun.touch()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                begun.with_suffix(".cancelled").touch()
                raise
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from echoing(tmp_path_factory, "{}")


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory):
    yield from echoing(tmp_path_factory, "runtime: {max_body: 4Ki}")


def echoing(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("http") / "echo"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "model" / "model.py").write_text(textwrap.dedent(MODEL))
    with running_server(folder) as running:
        yield running


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Responses:
    """The responses on a connection, one after another."""

    def __init__(self, connection):
        self._file = connection.makefile("rb")

    def next(self):
        response = http.client.HTTPResponse(_OneFile(self._file))
        response.begin()
        body = response.read()
        return response.status, response.headers, body

    def at_end(self):
        return self._file.read(1) == b""


class _OneFile:
    """What `HTTPResponse` takes for a socket; it must not close what the next response is read from."""

    def __init__(self, file):
        self._file = file

    def makefile(self, _mode):
        return _Unclosed(self._file)


class _Unclosed:
    def __init__(self, file):
        self._file = file

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self._file, name)


@dataclass(frozen=True)
class Sent:
    """A request as bytes, and what its response must be."""

    wire: bytes
    status: int
    content: object = None
    headers: dict = field(default_factory=dict)


def predict(number, *extra, path="/v1/models/model:predict", version="HTTP/1.1", chunks=None, size=0):
    body = json.dumps({"inputs": [number]}).encode().ljust(size)
    lines = [f"POST {path} {version}", "Host: a", f"X-Request-Id: r{number}", *extra]
    if chunks is None:
        lines.append(f"Content-Length: {len(body)}")
    else:
        lines.append("Transfer-Encoding: chunked")
        parts = [body[start : start + chunks] for start in range(0, len(body), chunks)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    wire = "\r\n".join([*lines, "", ""]).encode() + body
    return Sent(wire, 200, {"predictions": [number]}, {"x-request-id": f"r{number}"})


OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAA")
HEALTH = Sent(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 200, {"status": "alive", "ready": True})
NOT_FOUND = Sent(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 404)
NOT_JSON = Sent(
    b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Request-Id: bad\r\n\r\n{",
    400,
    headers={"x-request-id": "bad"},
)
BAD_TIMEOUT = Sent(
    b"POST /invocations HTTP/1.1\r\nHost: a\r\nX-Request-Timeout: soon\r\nContent-Length: 2\r\n\r\n{}", 400
)

numbers = st.integers(0, 999)
requests = st.one_of(
    numbers.map(predict),
    st.builds(predict, numbers, chunks=st.integers(1, 30)),
    st.builds(predict, numbers, size=st.integers(SMALLEST - 1, 10 * SMALLEST)),
    numbers.map(lambda number: predict(number, *OFFER)),
    st.builds(
        predict,
        numbers,
        path=st.sampled_from(["/invocations", "/invocations/", "/invocations?x=1", "/%69nvocations"]),
    ),
    st.just(HEALTH),
    st.just(NOT_FOUND),
    st.just(NOT_JSON),
    st.just(BAD_TIMEOUT),
)


def check(responses, sent):
    status, headers, body = responses.next()
    assert status == sent.status, body
    if sent.content is not None:
        assert json.loads(body) == sent.content
    for name, value in sent.headers.items():
        assert headers[name] == value
    assert headers["date"]
    assert len(headers.get_all("content-type")) == len(headers.get_all("x-request-id")) == 1


def refused(server, wire, expected):
    """The error that ends a connection after this was sent."""
    with connect(server) as connection:
        connection.sendall(wire)
        responses = Responses(connection)
        status, headers, body = responses.next()
        assert (status, headers["connection"]) == (expected, "close")
        assert responses.at_end()
    error = json.loads(body)["error"]
    assert error["request_id"] == headers["x-request-id"]
    return error


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, min_size=1, max_size=8), st.lists(st.integers(1, 400), max_size=20))
def test_pipelined_requests_cut_anywhere_are_answered_in_order(server, sents, sizes):
    wire = b"".join(sent.wire for sent in sents)
    with connect(server) as connection:
        for size in sizes:
            connection.sendall(wire[:size])
            wire = wire[size:]
        connection.sendall(wire)
        responses = Responses(connection)
        for sent in sents:
            check(responses, sent)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_large_bodies_cut_anywhere_reach_the_model_whole(server, data):
    """The content is different everywhere, so that bytes out of place would not go unnoticed."""
    seed, count = data.draw(st.integers(0, 1000)), data.draw(st.integers(12_000, 60_000))
    content = {"inputs": [seed * 1_000_000 + position for position in range(count)]}
    body = json.dumps(content).encode()
    wire = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    following = predict(seed)
    with connect(server) as connection:
        for size in data.draw(st.lists(st.integers(1, 100_000), max_size=8)):
            connection.sendall(wire[:size])
            wire = wire[size:]
        connection.sendall(wire + following.wire)
        responses = Responses(connection)
        status, _, answered = responses.next()
        assert status == 200
        assert json.loads(answered) == {"predictions": content["inputs"]}
        check(responses, following)


@pytest.mark.parametrize("size", [0, 1, 2 * SMALLEST])
def test_the_place_of_a_large_body_is_given_back_when_its_client_leaves(server, size):
    def taken():
        text = server.request("GET", "/metrics").body.decode()
        return int(text.rpartition("truss_shared_body_bytes ")[2].split()[0])

    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (4 * SMALLEST)
    with connect(server) as connection:
        connection.sendall(head + bytes(size))
        server.wait_until(lambda: taken() == 4 * SMALLEST, "has not taken a place")
    server.wait_until(lambda: taken() == 0, "holds the place")


def test_one_request_after_another_on_one_connection(server):
    with connect(server) as connection:
        responses = Responses(connection)
        for number in range(100):
            sent = HEALTH if number % 7 == 0 else predict(number)
            connection.sendall(sent.wire)
            check(responses, sent)


@pytest.mark.parametrize(
    "sent",
    [
        predict(1, "Connection: close"),
        predict(1, version="HTTP/1.0"),
        predict(1, "Connection: keep-alive", version="HTTP/1.0"),
    ],
)
def test_the_connection_closes_when_the_client_says_so(server, sent):
    with connect(server) as connection:
        connection.sendall(sent.wire)
        responses = Responses(connection)
        check(responses, sent)
        assert responses.at_end()


def test_a_client_may_ask_before_it_sends_the_body(server):
    sent = predict(1, "Expect: 100-continue")
    head, _, body = sent.wire.partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        check(Responses(connection), sent)


@pytest.mark.parametrize(
    "wire",
    [
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1001\r\n" + bytes(4097),
        b"POST /invocations?general HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
    ],
)
def test_too_large_a_body_is_refused_before_it_is_read(strict_server, wire):
    assert refused(strict_server, wire, 413)["type"] == "body_too_large"


@pytest.mark.parametrize("path", ["/v1/models/model:predict", "/livez"])
def test_a_head_without_end_is_refused(server, path):
    wire = b"POST %b HTTP/1.1\r\n" % path.encode() + b"X-Filler: %b\r\n" % (b"a" * 1000) * 65
    assert refused(server, wire, 431)["type"] == "head_too_large"


def test_a_head_of_many_pieces_is_taken(server):
    with connect(server) as connection:
        for _ in range(3):
            wire = b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X-Filler: %b\r\n" % (b"a" * 1000) * 60 + b"\r\n"
            for begin in range(0, len(wire), 7000):
                connection.sendall(wire[begin : begin + 7000])
            assert Responses(connection).next()[0] == 200


@pytest.mark.parametrize("path", ["/invocations", "/invocations?general"])
@pytest.mark.parametrize("chunks", [None, 5])
@pytest.mark.parametrize("size", [0, 2 * SMALLEST])
def test_an_offer_of_another_protocol_is_declined_and_the_request_answered(server, path, chunks, size):
    """Java's own HTTP client makes this one with every request."""
    with connect(server) as connection:
        responses = Responses(connection)
        for number in range(2):
            sent = predict(number, *OFFER, path=path, chunks=chunks, size=size)
            head, end, body = sent.wire.partition(b"\r\n\r\n")
            connection.sendall(head + end)
            connection.sendall(body)
            check(responses, sent)


@pytest.mark.parametrize(
    "wire",
    [
        b"GIVE me an answer\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"POST /invocations?general HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_form_of_every_error(server, wire):
    error = refused(server, wire, 400)
    assert error["type"] == "invalid_input"
    assert "not HTTP" in error["message"]


@pytest.mark.parametrize("path", ["/invocations", "/invocations?general"])
def test_a_client_that_leaves_while_it_sends_is_counted_and_nothing_else(server, path):
    def left():
        text = server.request("GET", "/metrics").body.decode()
        counts = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("truss_requests"))
        return int(counts.get('truss_requests_total{route="/invocations",status="499"}', 0))

    before = left()
    with connect(server) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf".encode())
    server.wait_until(lambda: left() == before + 1, "has not noticed")
    assert server.predict({"inputs": [1]}).status == 200


@pytest.mark.parametrize("path", ["/invocations", "/invocations?general"])
def test_a_coroutine_is_cancelled_when_its_client_leaves(make_truss, tmp_path, path):
    begun = tmp_path / "begun"
    body = json.dumps({"begun": str(begun)}).encode()
    with running_server(make_truss(ASYNC)) as running:
        with connect(running) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection.sendall(head + body)
            running.wait_until(begun.exists, "has not begun")
        running.wait_until(begun.with_suffix(".cancelled").exists, "goes on")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_connections_that_were_closed_are_forgotten(server):
    """Each takes several KB while anything refers to it: a timer of its own, say."""

    def resident():
        pages = pathlib.Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def come_and_go(times):
        for number in range(times):
            with connect(server) as connection:
                connection.sendall(predict(number).wire)
                check(Responses(connection), predict(number))

    come_and_go(500)
    before = resident()
    come_and_go(3000)
    assert resident() - before < 4 << 20
