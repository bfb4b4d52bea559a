"""What operators see and set: metrics, logs, API keys, TLS, traces."""

import datetime
import http.client
import json
import os
import pathlib
import socket
import ssl
import threading

import pytest
from certificates import make_certificate
from prometheus_client.parser import text_string_to_metric_families

from truss.testing.server import running_server

TALKATIVE = """
    import logging
    logger = logging.getLogger("my.model")

    class Model:
        def __init__(self, **kwargs):
            self.secrets = kwargs["secrets"]

        def predict(self, request):
            logger.info("thinking of %s with %s", request["inputs"], self.secrets["token"])
            if "raise" in request:
                raise ValueError(f"cannot use {self.secrets['token']}")
            return {"predictions": [one * 2 for one in request["inputs"]]}
"""

ASYNC = """
    import asyncio, logging

    class Model:
        async def predict(self, request):
            await asyncio.sleep(0)
            logging.getLogger("my.model").info("on %s", request["inputs"])
            return request["inputs"]
"""

CONFIG = """
    secrets: {token: null, api_keys: null}
    runtime:
      workers: 2
      authentication: {api_keys_secret: api_keys}
      logging: {format: json, access: true, level: debug}
"""

PREDICT = "/v1/models/model:predict"
KEYS = ("first-key-of-ours", "second-key-of-ours")
CPU_SECONDS = "truss_worker_cpu_seconds_total"
TOKEN = "s3cr3t-token-value"  # the value that must not be seen


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "api_keys").write_text("\n".join(KEYS) + "\n")
    (folder / "token").write_text(TOKEN)
    return folder


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, secrets):
    """A server with API keys, a JSON log and two workers."""
    import textwrap

    folder = tmp_path_factory.mktemp("guarded")
    (folder / "model").mkdir()
    (folder / "model" / "model.py").write_text(textwrap.dedent(TALKATIVE))
    (folder / "config.yaml").write_text(textwrap.dedent(CONFIG))
    environment = {**os.environ, "TRUSS_SECRETS_DIR": str(secrets)}
    with running_server(folder, environment=environment) as server:
        yield server


def lines_of(server):
    return [json.loads(line) for line in list(server.log) if line.startswith("{")]


def wait_for_line(server, condition):
    server.wait_until(lambda: any(condition(line) for line in lines_of(server)), "never logged it")
    return next(line for line in lines_of(server) if condition(line))


def samples(server, **headers):
    text = server.request("GET", "/metrics", headers=headers).body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- API keys ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEYS[0]}"},
        {"authorization": f"bearer {KEYS[1]}"},
        {"Authorization": f"Api-Key {KEYS[0]}"},
        {"X-API-Key": KEYS[1]},
        {"Api-Key": KEYS[0]},
    ],
)
@pytest.mark.parametrize("path", [PREDICT, PREDICT + "?general=way"])
def test_a_key_lets_in(guarded, headers, path):
    assert guarded.request("POST", path, b'{"inputs": [1]}', headers).json() == {"predictions": [2]}


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Basic Zm9vOmJhcg=="}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PREDICT), ("POST", PREDICT + "?general=way"), ("GET", "/metrics"), ("GET", "/v1/models")],
)
def test_without_one_nothing_is_answered(guarded, headers, method, path):
    response = guarded.request(method, path, b"{}" if method == "POST" else None, headers)
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    error = response.json()["error"]
    assert error["type"] == "unauthorized"
    assert error["hint"]


@pytest.mark.parametrize("path", ["/", "/livez", "/healthz", "/readyz", "/ping", "/v1/models/model"])
def test_health_is_open(guarded, path):
    assert guarded.request("GET", path).status == 200


def test_keys_that_change_count_from_then_on(guarded, secrets):
    def status(key):
        return guarded.request("POST", PREDICT, b'{"inputs": []}', {"X-API-Key": key}).status

    (secrets / "api_keys").write_text("\n".join((*KEYS, "third-key-of-ours")))
    guarded.wait_until(lambda: status("third-key-of-ours") == 200, "does not see the new key")
    (secrets / "api_keys").write_text("\n".join(KEYS))
    guarded.wait_until(lambda: status("third-key-of-ours") == 401, "still takes the key that is gone")
    assert status(KEYS[0]) == 200


def test_a_server_without_any_key_does_not_start(make_truss):
    folder = make_truss(ASYNC, "secrets: {keys: ''}\nruntime: {authentication: {api_keys_secret: keys}}\n")
    with pytest.raises(AssertionError, match="holds no API key"), running_server(folder):
        pass


# --- the log ---


def test_the_models_own_lines_name_the_request(guarded):
    headers = {"X-API-Key": KEYS[0], "X-Request-Id": "mine-1"}
    guarded.request("POST", PREDICT, b'{"inputs": [7]}', headers)
    line = wait_for_line(
        guarded, lambda line: line.get("request_id") == "mine-1" and line["logger"] == "my.model"
    )
    assert line["message"] == "thinking of [7] with [secret token]"
    assert line["level"] == "info"
    assert datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).tzinfo is not None


def test_answers_are_noted_where_that_is_asked_for(guarded):
    headers = {"X-API-Key": KEYS[0], "X-Request-Id": "mine-2"}
    guarded.request("POST", PREDICT, b'{"inputs": [7]}', headers)
    line = wait_for_line(
        guarded, lambda line: line["logger"] == "truss.access" and line.get("request_id") == "mine-2"
    )
    assert (line["route"], line["status"]) == (PREDICT, 200)
    assert line["seconds"] > 0


def test_nothing_secret_is_written_anywhere(guarded):
    for key in (*KEYS, "a-wrong-key-of-somebody"):
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": f"last-{key[0]}"}
        guarded.request("POST", PREDICT, b'{"inputs": [1], "raise": 1}', headers)
        guarded.request("POST", PREDICT, b"{", headers)
    wait_for_line(guarded, lambda line: line.get("request_id") == "last-s" and line["level"] == "error")
    wait_for_line(guarded, lambda line: line.get("request_id") == "last-a")
    metrics = guarded.request("GET", "/metrics", headers={"X-API-Key": KEYS[0]}).body.decode()
    written = "".join(guarded.log) + metrics
    assert "[secret token]" in written
    for hidden in (*KEYS, TOKEN, "a-wrong-key-of-somebody"):
        assert hidden not in written


def test_joined_requests_are_all_named(make_truss):
    code = """
        import logging, os, time
        class Model:
            def predict(self, request):
                while "wait" in request and not os.path.exists(request["wait"]):
                    time.sleep(0.01)
                logging.getLogger("my.model").info("rows %s", len(request["inputs"]))
                return {"predictions": request["inputs"]}
    """
    folder = make_truss(code, "runtime: {batching: {mode: rows}, logging: {format: json}}\n")
    gate = folder / "open"
    with running_server(folder) as server:
        first = threading.Thread(target=server.predict, args=({"inputs": [0], "wait": str(gate)},))
        first.start()
        server.wait_until(lambda: samples(server)[("truss_requests_running", ())] == 1, "runs nothing")
        others = [
            threading.Thread(target=server.predict, args=({"inputs": [i]},), kwargs={"X_Request_Id": f"r{i}"})
            for i in (1, 2, 3)
        ]
        for other in others:
            other.start()
        server.wait_until(lambda: samples(server)[("truss_queue_depth", ())] == 3, "has no queue")
        gate.touch()
        for thread in (first, *others):
            thread.join()
        line = wait_for_line(server, lambda line: line["message"] == "rows 3")
    assert set(line["request_ids"]) == {"r1", "r2", "r3"}


# --- metrics ---


def test_metrics_are_right_across_workers(guarded):
    key = {"X-API-Key": KEYS[0]}
    label = (("route", PREDICT), ("status", "200"))
    before = samples(guarded, **key)
    for _ in range(20):
        guarded.request("POST", PREDICT, b'{"inputs": [1]}', key)
    after = samples(guarded, **key)

    def grown(name, labels=()):
        return after[(name, labels)] - before.get((name, labels), 0)

    assert grown("truss_requests_total", label) == 20
    assert grown("truss_request_duration_seconds_count") == 20
    for stage in ("queue", "decode", "predict", "encode"):
        assert grown("truss_stage_duration_seconds_count", (("stage", stage),)) == 20
    assert grown("truss_batch_requests_sum") == 20
    assert grown("truss_requests_total", (("route", "/metrics"), ("status", "200"))) == 1
    for worker in ("0", "1"):
        assert after[("truss_workers", (("state", "ready"), ("worker", worker)))] == 1
        assert after[("truss_workers", (("state", "lost"), ("worker", worker)))] == 0
        assert after[("truss_worker_resident_memory_bytes", (("worker", worker),))] > 1 << 20
        assert (CPU_SECONDS, (("worker", worker),)) in after
    assert after[("process_resident_memory_bytes", ())] > 1 << 20
    assert after[("process_cpu_seconds_total", ())] >= before[("process_cpu_seconds_total", ())]


def test_the_cpu_time_of_workers_grows(guarded):
    key = {"X-API-Key": KEYS[0]}

    def used():
        return sum(value for (name, _), value in samples(guarded, **key).items() if name == CPU_SECONDS)

    def used_more():  # what a request costs is less than the system's clock tells apart
        guarded.request("POST", PREDICT, b'{"inputs": [1]}', key)
        return used() > before

    before = used()
    guarded.wait_until(used_more, "the workers' CPU time does not grow")


def test_names_and_kinds_follow_the_conventions(guarded):
    text = guarded.request("GET", "/metrics", headers={"X-API-Key": KEYS[0]}).body.decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        if family.type == "histogram":
            counts = [
                s.value for s in family.samples if s.name.endswith("_bucket") and s.labels["le"] == "+Inf"
            ]
            assert counts == [s.value for s in family.samples if s.name.endswith("_count")]


def test_clients_cannot_make_up_routes(guarded):
    key = {"X-API-Key": KEYS[0]}
    for number in range(3):
        assert guarded.request("GET", f"/made/up/{number}", headers=key).status == 404
    routes = {
        dict(labels)["route"] for name, labels in samples(guarded, **key) if name == "truss_requests_total"
    }
    assert "other" in routes
    assert not any("made" in route for route in routes)


# --- TLS ---


def https(server, context, method, path, body=None):
    """The status and body of a request, and the server's certificate."""
    connection = http.client.HTTPSConnection("127.0.0.1", int(server.url.rpartition(":")[2]), context=context)
    try:
        connection.request(method, path, body)
        shown = connection.sock.getpeercert(binary_form=True)
        response = connection.getresponse()
        return response.status, response.read(), shown
    finally:
        connection.close()


def test_tls_with_client_certificates_and_a_renewed_certificate(make_truss, tmp_path):
    root = make_certificate(tmp_path, "root")
    make_certificate(tmp_path, "server", root)
    make_certificate(tmp_path, "client", root)
    known = ssl.create_default_context(cafile=tmp_path / "root.pem")
    known.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    unknown = ssl.create_default_context(cafile=tmp_path / "root.pem")
    options = ["--tls-certificate", tmp_path / "server.pem", "--tls-key", tmp_path / "server.key"]
    folder = make_truss("class Model:\n    def predict(self, request):\n        return request\n")
    options = [*map(str, options), "--tls-client-ca", str(tmp_path / "root.pem")]
    with running_server(folder, *options, ready=False) as server:
        assert server.url.startswith("https://")
        server.wait_until(lambda: https(server, known, "GET", "/readyz")[0] == 200, "is not ready")
        large = json.dumps({"text": "x" * 3_000_000}).encode()  # read around the parser where it can be
        status, body, first = https(server, known, "POST", PREDICT, large)
        assert status == 200
        assert json.loads(body) == json.loads(large)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            https(server, unknown, "GET", "/livez")
        make_certificate(tmp_path, "server", root)
        server.wait_until(
            lambda: https(server, known, "GET", "/livez")[2] != first, "shows the old certificate"
        )
        assert server.stop() == 0


def test_a_wrong_certificate_is_said_at_once(make_truss, tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    folder = make_truss(ASYNC)
    with (
        pytest.raises(AssertionError, match="cannot be used"),
        running_server(folder, "--tls-certificate", str(tmp_path / "no.pem")),
    ):
        pass


# --- traces ---


@pytest.mark.parametrize("code", [TALKATIVE, ASYNC], ids=["sync", "async"])
def test_a_callers_trace_goes_through_every_stage(make_truss, collector, code):
    config = """
        secrets: {token: hidden-token, keys: key-to-hide}
        runtime: {logging: {format: json}, authentication: {api_keys_secret: keys}}
    """
    collector.spans.clear()
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{trace}-{parent}-01", "X-Request-Id": "traced", "X-API-Key": "key-to-hide"}
    with running_server(make_truss(code, config), environment=environment) as server:
        assert server.request("POST", PREDICT, b'{"inputs": [1]}', headers).status == 200
        server.wait_until(lambda: len(collector.spans) >= 5, "exported too little")
        line = wait_for_line(server, lambda line: line["logger"] == "my.model")
        assert (line["trace_id"], line["request_id"]) == (trace, "traced")
        assert server.stop() == 0
    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {PREDICT, "queue", "decode", "predict", "encode"}
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert spans[PREDICT].parent_span_id.hex() == parent
    stages = [spans[name] for name in ("queue", "decode", "predict", "encode")]
    assert {stage.parent_span_id for stage in stages} == {spans[PREDICT].span_id}
    edges = [time for stage in stages for time in (stage.start_time_unix_nano, stage.end_time_unix_nano)]
    assert edges == sorted(edges)
    assert spans[PREDICT].start_time_unix_nano <= edges[0]
    assert edges[-1] <= spans[PREDICT].end_time_unix_nano
    for hidden in (b"hidden-token", b"key-to-hide"):
        assert not any(hidden in body for body in collector.raw)
    assert "key-to-hide" not in "".join(server.log)


def test_a_trace_that_its_caller_does_not_sample_is_not_exported(make_truss, collector):
    config = f"runtime: {{tracing: {{endpoint: 'http://127.0.0.1:{collector.server_port}'}}}}"
    collector.spans.clear()
    environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    left_out, kept = "11111111111111111111111111111111", "22222222222222222222222222222222"
    with running_server(make_truss(ASYNC, config), environment=environment) as server:
        for trace, flags in ((left_out, "00"), (kept, "01")):
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-{flags}"}
            assert server.request("POST", PREDICT, b'{"inputs": [1]}', headers).status == 200
        assert server.stop() == 0  # everything is exported before the end
    assert {span.trace_id.hex() for span in collector.spans} == {kept}
    assert {span.name for span in collector.spans} == {PREDICT, "queue", "decode", "predict", "encode"}


def test_a_trace_goes_on_into_a_wrapped_server(tmp_path, collector):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = pathlib.Path(__file__).with_name("wrapped_server.py")
    (tmp_path / "config.yaml").write_text(
        f"docker_server: {{start_command: python {program} {port}, server_port: {port}, "
        "predict_endpoint: /x, readiness_endpoint: /ready, liveness_endpoint: /alive}\n"
        f"runtime: {{tracing: {{endpoint: 'http://127.0.0.1:{collector.server_port}'}}}}\n"
    )
    collector.spans.clear()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running_server(tmp_path, environment=environment) as server:
        headers = {"traceparent": f"00-{trace}-{parent}-01"}
        said = server.request("POST", PREDICT, b"{}", headers).json()["headers"]["traceparent"]
        server.wait_until(lambda: any(one.name == PREDICT for one in collector.spans), "exported nothing")
    (span,) = [one for one in collector.spans if one.name == PREDICT]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert said == f"00-{trace}-{span.span_id.hex()}-01"
