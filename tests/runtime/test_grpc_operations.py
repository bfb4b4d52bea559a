"""What operators see and set of gRPC: API keys, TLS, limits, ports, and the end."""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
from certificates import make_certificate
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_messages import SPOKEN, request_of
from prometheus_client.parser import text_string_to_metric_families

from truss.testing.server import running_server

MODEL = """
import asyncio
from pathlib import Path


class Model:
    async def predict(self, request):
        if "wait" in request:
            gate = Path(request["wait"])
            gate.with_suffix(".begun").touch()
            try:
                while not gate.exists():
                    await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                gate.with_suffix(".cancelled").touch()
                raise
        return {"predictions": request["inputs"]}
"""

SERVICE = "/inference.GRPCInferenceService"
INFER = f"{SERVICE}/ModelInfer"
KEY = "key-of-a-grpc-client"
SERVING, NOT_SERVING = 1, 2


def address_of(server):
    return re.search(r"listening for gRPC on (\S+)", "".join(server.log)).group(1)


@contextlib.contextmanager
def opened(server):
    with grpc.insecure_channel(address_of(server)) as channel:
        yield channel


def asked(size=1, wait=None):
    """A request with a tensor of so many bytes, answered when the file is there."""
    numbers = np.zeros(size, "u1")
    request = request_of(
        SPOKEN["Tensor"](name="x", datatype="UINT8", shape=[size]), raw=[numbers.tobytes()], id="7"
    )
    if wait is not None:
        request.parameters.add(key="wait", value=SPOKEN["InferParameter"](string_param=str(wait)))
    return request


def stub(channel, method, answer="ModelInferResponse"):
    kind = channel.stream_stream if method == "ModelStreamInfer" else channel.unary_unary
    return kind(
        f"{SERVICE}/{method}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=SPOKEN[answer].FromString,
    )


def infer(channel, request=None, **options):
    return stub(channel, "ModelInfer")(request or asked(), **{"timeout": 60, **options})


def refusal(call):
    """The code and the words of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def counted(server, status, route=INFER, **headers):
    text = server.request("GET", "/metrics", headers=headers).body.decode()
    wanted = {"route": route, "status": str(status)}
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "truss_requests_total" and sample.labels == wanted
    )


@pytest.fixture
def make(make_truss):
    """A Truss that serves gRPC on a free port; further lines of its `runtime`."""
    return lambda more="": make_truss(MODEL, f"runtime:\n  grpc: {{port: 0}}\n{more}")


# --- API keys ---


def test_api_keys(make, collector):
    folder = make(
        "  authentication: {api_keys_secret: keys}\n"
        f"  tracing: {{endpoint: 'http://127.0.0.1:{collector.server_port}'}}\n"
        f"secrets: {{keys: {KEY}}}\n"
    )
    collector.spans.clear()
    environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running_server(folder, environment=environment) as server, opened(server) as channel:
        named = SPOKEN["Named"](name="model")
        for metadata in ([("authorization", f"Bearer {KEY}")], [("x-api-key", KEY)]):
            assert infer(channel, metadata=metadata).id == "7"
            assert stub(channel, "ModelMetadata", "Named")(named, metadata=metadata).name == "model"
        for metadata in ([], [("x-api-key", "wrong")]):
            for call in (
                lambda metadata=metadata: infer(channel, metadata=metadata),
                lambda metadata=metadata: stub(channel, "ModelMetadata", "Named")(named, metadata=metadata),
                lambda metadata=metadata: list(
                    stub(channel, "ModelStreamInfer", "ModelStreamInferResponse")(
                        iter([asked(), asked()]), metadata=metadata, timeout=60
                    )
                ),
            ):
                code, words = refusal(call)
                assert code is grpc.StatusCode.UNAUTHENTICATED
                assert "API key" in words
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == SERVING
        assert stub(channel, "ModelReady", "Flag")(named).ready
        assert counted(server, 401, **{"X-API-Key": KEY}) == 4  # two alone, two in streams
        assert counted(server, 401, f"{SERVICE}/ModelMetadata", **{"X-API-Key": KEY}) == 2
        assert server.stop() == 0  # everything is exported before the end
    statuses = [
        attribute.value.int_value
        for span in collector.spans
        for attribute in span.attributes
        if span.name == INFER and attribute.key == "http.response.status_code"
    ]
    assert sorted(statuses) == [200, 200, 401, 401, 401, 401]


# --- TLS ---


def shown_by(address, context):
    """The certificate that a new connection is shown."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        return connection.getpeercert(binary_form=True)


def test_tls_with_client_certificates_and_a_renewed_certificate(make, tmp_path):
    root = make_certificate(tmp_path, "root")
    make_certificate(tmp_path, "server", root)
    make_certificate(tmp_path, "client", root)
    options = ["--tls-certificate", tmp_path / "server.pem", "--tls-key", tmp_path / "server.key"]
    options += ["--tls-client-ca", tmp_path / "root.pem"]
    context = ssl.create_default_context(cafile=tmp_path / "root.pem")
    context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    context.set_alpn_protocols(["h2"])
    roots, key, certificate = (
        (tmp_path / name).read_bytes() for name in ("root.pem", "client.key", "client.pem")
    )
    known = grpc.ssl_channel_credentials(roots, key, certificate)
    with running_server(make(), *map(str, options), ready=False) as server:
        address = address_of(server)
        with grpc.secure_channel(address, known) as channel:

            def ready():
                return stub(channel, "ServerReady", "Flag")(SPOKEN["Named"](), timeout=60).ready

            server.wait_until(ready, "is not ready")
            assert infer(channel).id == "7"
            first = shown_by(address, context)
            with grpc.secure_channel(address, grpc.ssl_channel_credentials(roots)) as unknown:
                assert refusal(lambda: infer(unknown))[0] is grpc.StatusCode.UNAVAILABLE
            make_certificate(tmp_path, "server", root)
            server.wait_until(lambda: shown_by(address, context) != first, "shows the old certificate")
            assert infer(channel).id == "7"  # an open connection keeps the old one
            with grpc.secure_channel(address, known) as later:
                assert infer(later).id == "7"


# --- limits ---


def test_a_body_that_is_too_large_is_refused(make):
    with running_server(make("  max_body: 100Ki\n")) as server, opened(server) as channel:
        code, _ = refusal(lambda: infer(channel, asked(200_000)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert infer(channel, asked(50_000)).id == "7"


def test_a_request_ends_with_its_time_and_with_its_client(make, tmp_path):
    with running_server(make()) as server, opened(server) as channel:
        late, left = tmp_path / "late", tmp_path / "left"
        code, _ = refusal(lambda: infer(channel, asked(wait=late), timeout=3))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        server.wait_until(late.with_suffix(".cancelled").exists, "goes on with what is too late")
        server.wait_until(lambda: counted(server, 504) == 1, "does not count what was too late")
        leaving = stub(channel, "ModelInfer").future(asked(wait=left), timeout=60)
        server.wait_until(left.with_suffix(".begun").exists, "does not begin")
        leaving.cancel()
        server.wait_until(left.with_suffix(".cancelled").exists, "goes on for a client that has left")
        server.wait_until(lambda: counted(server, 499) == 1, "does not count who left")
        assert infer(channel).id == "7"


# --- ports ---


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_container_takes_the_port_that_it_is_told(make_truss, by):
    port, other = free_port(), free_port()
    variables = {"PATH": os.environ["PATH"], "TRUSS_DIR": str(make_truss(MODEL)), "PORT": str(free_port())}
    variables["TRUSS_GRPC_PORT"] = str(other if by == "argument" else port)
    arguments = [f"--grpc_port={port}"] if by == "argument" else []
    command = [sys.executable, "-m", "truss.runtime.container", "serve", *arguments]
    process = subprocess.Popen(command, env=variables)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watching = health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60)
            assert any(one.status == SERVING for one in watching)
            watching.cancel()
            assert infer(channel).id == "7"
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_port_that_is_taken_is_said(make_truss):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        folder = make_truss(MODEL, f"runtime: {{grpc: {{port: {taken.getsockname()[1]}}}}}")
        with pytest.raises(AssertionError, match="cannot listen for gRPC"), running_server(folder):
            pass


# --- the end ---


def test_what_was_begun_is_answered_and_what_is_idle_ends(make, tmp_path):
    gate = tmp_path / "gate"
    done = threading.Event()

    def one_and_no_more():
        yield asked()
        done.wait()

    with running_server(make("  timeouts: {grace: 600}\n")) as server, opened(server) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=120)
        assert next(watching).status == SERVING
        idle = stub(channel, "ModelStreamInfer", "ModelStreamInferResponse")(one_and_no_more(), timeout=120)
        assert next(idle).infer_response.id == "7"
        running = stub(channel, "ModelInfer").future(asked(wait=gate), timeout=120)
        server.wait_until(gate.with_suffix(".begun").exists, "does not begin")
        server.process.terminate()
        assert [one.status for one in watching] == [NOT_SERVING]
        code, words = refusal(lambda: list(idle))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "stopping" in words
        gate.touch()
        assert running.result().id == "7"
        assert server.process.wait(60) == 0
    done.set()


def test_no_request_begins_by_grpc_while_one_by_http_is_finished(make, tmp_path):
    gate = tmp_path / "gate"
    answers = []
    with running_server(make("  timeouts: {grace: 600}\n")) as server:
        host, _, port = address_of(server).rpartition(":")
        content = {"inputs": [1], "wait": str(gate)}
        asking = threading.Thread(target=lambda: answers.append(server.predict(content).json()))
        asking.start()
        server.wait_until(gate.with_suffix(".begun").exists, "does not begin")
        server.process.terminate()

        def refused():
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) != 0

        server.wait_until(refused, "still takes connections for gRPC", timeout=30)
        assert not answers
        gate.touch()
        asking.join(60)
        assert answers == [{"predictions": [1]}]
        assert server.process.wait(60) == 0


@pytest.mark.parametrize(("grace", "signals"), [(1, 1), (600, 2)], ids=["grace", "asked twice"])
def test_what_does_not_finish_is_broken_off(make, tmp_path, grace, signals):
    gate = tmp_path / "gate"
    with running_server(make(f"  timeouts: {{grace: {grace}}}\n")) as server, opened(server) as channel:
        running = stub(channel, "ModelInfer").future(asked(wait=gate), timeout=120)
        server.wait_until(gate.with_suffix(".begun").exists, "does not begin")
        for number in range(signals):
            server.process.terminate()
            if number == 0:
                server.wait_until(lambda: "stopping" in "".join(server.log), "does not stop")
        assert server.process.wait(60) == 0
        assert refusal(running.result)[0] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
