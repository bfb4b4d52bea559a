"""gRPC on the port of HTTP: its connections lead to the gRPC server, beside those of HTTP/1.1."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
from certificates import make_certificate
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_messages import SPOKEN, request_of

from truss.errors import ServerStartError
from truss.runtime.passage import PREFACE, Passages
from truss.testing.engine import free_port
from truss.testing.server import running_server

MODEL = """
import asyncio
from pathlib import Path


class Model:
    async def predict(self, request):
        if "wait" in request:
            Path(request["wait"]).with_suffix(".begun").touch()
            while not Path(request["wait"]).exists():
                await asyncio.sleep(0.01)
        return {"predictions": request["inputs"]}
"""
ONE_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]  # of each channel's own
ANY_SIZE = [("grpc.max_receive_message_length", -1)]


def address_of(server):
    return urlsplit(server.url).netloc


def stub(channel, method="ModelInfer", answer="ModelInferResponse"):
    kind = channel.stream_stream if method == "ModelStreamInfer" else channel.unary_unary
    return kind(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=SPOKEN[answer].FromString,
    )


def asked(numbers, wait=None):
    tensor = SPOKEN["Tensor"](name="x", datatype="INT64", shape=[len(numbers)])
    request = request_of(tensor, raw=[np.asarray(numbers, "<i8").tobytes()], id="7")
    if wait is not None:
        request.parameters.add(key="wait", value=SPOKEN["InferParameter"](string_param=str(wait)))
    return request


def numbers_of(answer):
    return np.frombuffer(answer.raw_output_contents[0], "<i8").tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one-port") / "a_truss"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("runtime: {grpc: {port: 0}, max_body: 200Mi}\n")
    (folder / "model" / "model.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with running_server(folder) as running:
        yield running


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(address_of(server), options=[*ONE_CONNECTION, *ANY_SIZE]) as opened:
        yield opened


def test_requests_streams_and_health(server, channel):
    assert numbers_of(stub(channel)(asked([1, 2]), timeout=60)) == [1, 2]
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
    stream = stub(channel, "ModelStreamInfer", "ModelStreamInferResponse")
    answers = stream(iter([asked([1]), asked([2])]), timeout=60)
    assert [numbers_of(one.infer_response) for one in answers] == [[1], [2]]
    assert server.predict({"inputs": [3]}).json() == {"predictions": [3]}  # in HTTP/1.1, beside


def test_large_messages_pass_whole(channel):
    numbers = np.arange(3 << 20)  # 24 MiB: far more than the sockets between hold
    answer = stub(channel)(asked(numbers), timeout=60)
    np.testing.assert_array_equal(np.frombuffer(answer.raw_output_contents[0], "<i8"), numbers)


def test_many_connections_of_both_kinds_at_once(server):
    def by_grpc(number):
        with grpc.insecure_channel(address_of(server), options=ONE_CONNECTION) as opened:
            return numbers_of(stub(opened)(asked([number] * 2000), timeout=60))[-1]

    def by_http(number):
        return server.predict({"inputs": [number]}).json()["predictions"][0]

    with ThreadPoolExecutor(32) as pool:
        found = [pool.submit(way, number) for number in range(60) for way in (by_grpc, by_http)]
        assert [one.result() for one in found] == [number for number in range(60) for _ in range(2)]


@pytest.mark.parametrize("cut", [1, 2, 3, 20])
def test_first_bytes_that_come_in_pieces(server, cut):
    """HTTP/2's preface begins like other methods of HTTP: `PR` is also PROPFIND's, `P` is POST's."""
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"inputs": [1]}).encode()
    request = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    settings = (
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # an empty frame of settings, which each side begins with
    )
    for sent, wanted in (
        (request, b"HTTP/1.1 200"),
        (b"PROPFIND / HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1 405"),
    ):
        assert exchange(host, port, sent, cut).startswith(wanted)
    assert exchange(host, port, PREFACE + settings, cut)[3:4] == b"\x04"


def ask_for_life(host, port):
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200


def exchange(host, port, sent, cut):
    """What comes back first for bytes that are sent in two pieces, the first of which was read by itself."""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(sent[:cut])
        ask_for_life(host, port)  # what came before that is read when it is answered
        connection.sendall(sent[cut:])
        return connection.recv(1 << 16)


def test_a_connection_that_its_client_leaves_is_closed_behind_it(server):
    pid = server.process.pid

    def sockets():
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    with grpc.insecure_channel(address_of(server), options=ONE_CONNECTION) as opened:
        stub(opened)(asked([1]), timeout=60)
        held = sockets()
    server.wait_until(lambda: sockets() <= held - 2, "keeps connections")  # of a passage, both


def test_what_was_begun_is_answered_when_the_server_stops(folder, tmp_path):
    gate = tmp_path / "gate"
    with running_server(folder) as running, grpc.insecure_channel(address_of(running)) as opened:
        stub(opened)(asked([1]), timeout=60)
        answer = stub(opened).future(asked([5], gate), timeout=60)
        running.wait_until(gate.with_suffix(".begun").exists, "has not begun")
        running.process.terminate()
        running.wait_until(lambda: "answering what was accepted" in "".join(running.log), "does not stop")
        gate.touch()
        assert numbers_of(answer.result(60)) == [5]
        assert running.process.wait(60) == 0  # with an idle connection open


def test_tls_and_what_it_offers(folder, tmp_path):
    """gRPC's clients know HTTP/2 only; those that know both get HTTP/1.1, where all routes are."""
    make_certificate(tmp_path, "server")
    tls = ("--tls-certificate", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"))
    roots = (tmp_path / "server.pem").read_bytes()
    port = free_port()
    context = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    with running_server(folder, "--port", str(port), *tls, ready=False) as running:

        def ask(protocols):
            context.set_alpn_protocols(protocols)
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
            with contextlib.closing(connection):
                connection.request("GET", "/readyz")
                return connection.getresponse().status, connection.sock.selected_alpn_protocol()

        running.wait_until(lambda: ask(["http/1.1"])[0] == 200, "is not ready")
        assert ask(["h2", "http/1.1"]) == (200, "http/1.1")
        credentials = grpc.ssl_channel_credentials(roots)
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as opened:
            numbers = np.arange(1 << 20)
            answer = stub(opened)(asked(numbers[:100]), timeout=60)
            assert numbers_of(answer) == list(range(100))
            assert len(stub(opened)(asked(numbers[: 1 << 18]), timeout=60).raw_output_contents[0]) == 8 << 18


def test_one_port_for_both_and_no_other(folder, tmp_path):
    """As Cloud Run and Knative have it: `$PORT`, and nothing else is reached."""
    port = free_port()
    one = tmp_path / "a_truss"
    (one / "model").mkdir(parents=True)
    (one / "config.yaml").write_text(f"runtime: {{grpc: {{port: {port}}}}}\n")
    (one / "model" / "model.py").write_text(MODEL)
    with running_server(one, "--port", str(port)) as running:
        assert "listening for gRPC" not in "".join(running.log)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
            assert numbers_of(stub(opened)(asked([1]), timeout=60)) == [1]
        assert running.predict({"inputs": [2]}).json() == {"predictions": [2]}


def test_without_grpc_it_is_a_bad_request(tmp_path):
    folder = tmp_path / "a_truss"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "model" / "model.py").write_text(MODEL)
    with running_server(folder) as running:
        host, port = address_of(running).split(":")
        assert exchange(host, port, PREFACE, 3).startswith(b"HTTP/1.1 400")


def test_where_no_temporary_folder_can_be_made_shared_memory_has_the_socket(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    passages = Passages()
    assert passages.place.is_relative_to("/dev/shm")
    assert passages.place.parent.stat().st_mode & 0o777 == 0o700
    asyncio.run(passages.close(0))
    assert not passages.place.parent.exists()


def test_without_any_such_place_the_message_says_what_to_mount(monkeypatch):
    def refuse(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)  # root may write to every folder here
    with pytest.raises(ServerStartError, match="none can be made in /tmp") as raised:
        Passages()
    assert "mount a folder at /tmp" in raised.value.hint
