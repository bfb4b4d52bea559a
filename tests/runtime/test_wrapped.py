"""A server of somebody else's behind our front, as real processes."""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading

import psutil
import pytest
from certificates import make_certificate
from prometheus_client.parser import text_string_to_metric_families
from wrapped_server import numbered

import truss
from truss.cli.checks import check
from truss.testing.server import RunningServer, running_server

SERVER = pathlib.Path(__file__).with_name("wrapped_server.py")
PREDICT = "/v1/models/model:predict"

CONFIG = """\
docker_server:
  start_command: {command}
  server_port: {port}
  predict_endpoint: /generate
  readiness_endpoint: /ready
  liveness_endpoint: /alive
environment_variables: {{FROM_CONFIG: said}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make(folder, more="", command=None):
    port = free_port()
    folder.mkdir(exist_ok=True)
    shutil.copy(SERVER, folder)
    command = command or f"python wrapped_server.py {port}"
    (folder / "config.yaml").write_text(CONFIG.format(command=command, port=port) + more)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("wrapped"), "runtime: {max_body: 64Mi}\n")


@pytest.fixture(scope="module")
def server(folder):
    with running_server(folder) as running:
        yield running


def connect(server):
    return http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=30)


def child_of(server):
    return psutil.Process(server.process.pid).children()[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("/", "/alive"),
        ("/livez", "/alive"),
        ("/readyz", "/ready"),
        ("/ping", "/ready"),
        ("/health", "/ready"),
        ("/v1/models/model", "/ready"),
        ("/v1/models/model/loaded", "/ready"),
        ("/any/path", "/any/path"),
        ("/metrics/server", "/metrics"),
    ],
)
def test_routes_lead_to_the_servers_own(server, ours, theirs):
    said = server.request("GET", ours + "?a=b").json()
    assert (said["path"], said["query"], said["method"]) == (theirs, "a=b", "GET")


@pytest.mark.parametrize("path", [PREDICT, "/invocations", "/predict", "/score", "/events"])
def test_predictions_go_to_its_endpoint(server, folder, path):
    response = server.request("POST", path, b"{}", {"X-Request-Id": "mine", "X-Custom": "kept"})
    said = response.json()
    assert (said["path"], said["method"], said["size"]) == ("/generate", "POST", 2)
    assert said["headers"]["x-custom"] == "kept"
    assert said["headers"]["x-request-id"] == response.headers["x-request-id"] == "mine"
    assert said["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert said["folder"] == str(folder)
    assert said["variable"] == "said"


def test_statuses_and_types_are_its_own(server):
    response = server.request("GET", "/teapot")
    assert (response.status, response.body) == (418, b"short and stout")
    assert response.headers["content-type"] == "text/plain"


def test_a_connection_serves_one_request_after_another(server):
    connection = connect(server)
    for method, size in [("POST", 5), ("GET", 0), ("HEAD", 0), ("POST", 70_000), ("GET", 0)]:
        connection.request(method, "/x", bytes(size) if size else None)
        response = connection.getresponse()
        assert response.status == 200
        assert (response.read() == b"") == (method == "HEAD")
    connection.close()


def test_streams_arrive_piece_by_piece(server):
    connection = connect(server)
    connection.request("GET", "/stream")
    response = connection.getresponse()
    assert response.headers["transfer-encoding"] == "chunked"
    assert [response.readline() for _ in range(2)] == [b"data: 0\n", b"\n"]
    assert response.read() == b"data: 1\n\ndata: 2\n\n"
    connection.close()


def test_an_event_leaves_before_the_server_makes_the_next(server, folder):
    with contextlib.closing(connect(server)) as connection:
        connection.request("GET", "/held")
        response = connection.getresponse()
        assert [response.readline() for _ in range(2)] == [b"data: 0\n", b"\n"]
        (folder / "release").touch()
        assert response.read() == b"data: 1\n\n"


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
def test_large_bodies_go_both_ways(server, chunked):
    size = 20 << 20
    connection = connect(server)
    pieces = (bytes(1 << 20) for _ in range(20))
    connection.request("POST", "/x", pieces if chunked else bytes(size), encode_chunked=chunked)
    assert b'"size": %d' % size in connection.getresponse().read()
    for method, body in (("GET", numbered(size)), ("HEAD", b""), ("GET", numbered(size))):
        connection.request(method, f"/big?{size}")
        response = connection.getresponse()
        assert int(response.headers["Content-Length"]) == size
        assert response.read() == body
    connection.close()


def test_large_answers_are_whole_however_slowly_they_are_read(server):
    size, count = 9 << 20, 4
    connections = [connect(server) for _ in range(count)]
    for connection in connections:
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.request("GET", f"/big?{size}")
    responses = [connection.getresponse() for connection in connections]
    read = [bytearray() for _ in range(count)]
    while any(len(one) < size for one in read):  # each waits for the others at every piece
        for response, one in zip(responses, read, strict=True):
            one += response.read(1 << 16)
        assert server.request("GET", "/big?300000").body == numbered(300000)
    assert all(one == numbered(size) for one in read)
    for connection in connections:  # which has stayed what it was
        connection.request("POST", "/x", b"12")
        assert b'"size": 2' in connection.getresponse().read()
        connection.close()


def test_a_large_answer_that_ends_early_is_cut(server):
    connection = connect(server)
    connection.request("GET", "/broken?20000000")
    with pytest.raises(http.client.IncompleteRead) as cut:
        connection.getresponse().read()
    assert numbered(20_000_000).startswith(cut.value.partial)
    assert len(cut.value.partial) <= 10_000_000
    connection.close()
    assert server.request("GET", "/x").status == 200


def test_who_leaves_a_large_answer_leaves_nothing_behind(server):
    front = psutil.Process(server.process.pid)
    for _ in range(3):
        connection = connect(server)
        connection.request("GET", "/big?50000000")
        connection.getresponse().read(3 << 20)
        connection.sock.close()
        connection.close()
    server.wait_until(
        lambda: b"truss_requests_running 1" in server.request("GET", "/metrics").body, "still answers them"
    )
    server.wait_until(lambda: len(front.net_connections("tcp")) < 8, "keeps their connections")


def test_a_large_answer_is_whole_when_encrypted(tmp_path):
    make_certificate(tmp_path, "server")
    folder = make(tmp_path / "encrypted")
    options = ["--tls-certificate", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key")]
    context = ssl.create_default_context(cafile=tmp_path / "server.pem")
    with running_server(folder, *options, ready=False) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        connection = http.client.HTTPSConnection(*address, context=context, timeout=30)

        def ask(path):
            connection.request("GET", path)
            return connection.getresponse()

        server.wait_until(lambda: (answer := ask("/readyz")).read() and answer.status == 200, "is not ready")
        for _ in range(2):
            assert ask("/big?9000000").read() == numbered(9_000_000)
        connection.close()


def test_a_slow_reader_holds_the_server_back(server, folder):
    connection = connect(server)
    connection.request("GET", "/endless")
    response = connection.getresponse()
    response.read(1 << 20)
    front, taken = psutil.Process(server.process.pid), folder / "taken"
    server.wait_until(taken.exists, "sends nothing")
    for _ in range(20):  # other requests pass, and nothing piles up meanwhile
        assert server.request("GET", "/x").status == 200
    assert int(taken.read_text() or 0) < 200
    assert front.memory_info().rss < 300 << 20
    response.close()
    connection.close()
    assert server.request("GET", "/x").status == 200


def answered(server):
    """How many requests to the server's own paths were answered."""
    text = server.request("GET", "/metrics").body.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "truss_requests_total" and sample.labels["route"] == "server"
    )


def test_a_client_that_asks_on_and_reads_nothing_is_held_back_and_holds_up_no_other(server):
    front, address = psutil.Process(server.process.pid), ("127.0.0.1", int(server.url.rpartition(":")[2]))
    before, count = front.memory_info().rss, answered(server)
    with socket.create_connection(address, timeout=30) as connection:
        for _ in range(600):  # each answer comes from the server at once, so that none is held back by itself
            connection.sendall(b"GET /big?200000 HTTP/1.1\r\nHost: a\r\n\r\n")
            if not any(answered(server) > count for _ in range(100)):
                break
            # On the connection to the server that carried the answer which the client does not take.
            assert server.request("GET", "/x").status == 200
            count += 2
        else:
            pytest.fail("all that it asked for was answered")
        assert front.memory_info().rss < before + (50 << 20)


def test_a_client_that_leaves_is_noticed_by_the_server(server, folder):
    connection = connect(server)
    connection.request("POST", "/hang", b"{}")
    server.wait_until((folder / "hanging").exists, "did not get it")
    connection.sock.close()
    connection.close()
    server.wait_until((folder / "http.disconnect").exists, "does not tell the server")


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
def test_bodies_that_are_too_large_are_refused(server, chunked):
    connection = connect(server)
    connection.putrequest("POST", PREDICT)
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        piece = b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20))
        try:
            for _ in range(70):
                connection.send(piece)
        except ConnectionError:
            return  # closed before all was sent: refused as well
    else:
        connection.putheader("Content-Length", str(65 << 20))
        connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert b"body_too_large" in response.read()
    connection.close()


def test_what_is_no_http_is_a_400(server):
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_head_without_end_is_refused(server):
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"X-Filler: %b\r\n" % (b"a" * 1000) * 65)
        assert connection.recv(100).startswith(b"HTTP/1.1 431 ")


def test_metrics_are_ours(server):
    server.request("POST", PREDICT, b"{}")
    server.request("GET", "/teapot")
    text = server.request("GET", "/metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    routes = {sample.labels["route"] for sample in families["truss_requests"].samples}
    assert {PREDICT, "server"} <= routes
    states = {sample.labels["state"]: sample.value for sample in families["truss_workers"].samples}
    assert states["ready"] == 1
    assert families["truss_worker_resident_memory_bytes"].samples[0].value > 1 << 20


def test_its_output_is_in_our_log(server):
    server.wait_until(lambda: any("here I come" in line for line in server.log), "logs nothing of it")


def test_a_crash_is_reported_and_mended(server):
    before = child_of(server).pid
    response = server.request("POST", "/crash", b"{}")
    assert response.status == 502
    assert response.json()["error"]["type"] == "server_lost"
    server.wait_until(
        lambda: any("exit status 3" in line for line in server.log), "does not say how it ended"
    )
    said = "".join(server.log).partition("exit status 3")[2]
    assert "out of luck" in said
    server.wait_ready()
    assert child_of(server).pid != before
    assert server.request("POST", PREDICT, b"{}").status == 200
    restarts = [
        line for line in server.request("GET", "/metrics").body.decode().splitlines() if "restarts" in line
    ]
    assert restarts[-1] == "truss_worker_restarts_total 1"


def test_a_killed_server_is_mended_too(server):
    before = child_of(server).pid
    os.kill(before, signal.SIGKILL)
    server.wait_until(lambda: any("signal 9" in line for line in server.log), "did not notice")
    server.wait_ready()
    assert child_of(server).pid != before


def test_sigterm_answers_what_was_accepted_and_ends_both(tmp_path):
    folder = make(tmp_path / "draining")
    with running_server(folder) as server:
        child = child_of(server)
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(server.request("GET", "/wait").json()))
        waiting.start()
        server.wait_until((folder / "waiting").exists, "did not get it")
        server.process.terminate()
        server.wait_until(lambda: server.request("GET", "/readyz").status == 503, "still says it is ready")
        (folder / "go").touch()
        waiting.join()
        assert answers == ["waited"]
        assert server.process.wait(30) == 0
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_keys_are_asked_for_and_not_handed_on(tmp_path):
    more = "secrets: {keys: one-key two-key}\nruntime: {authentication: {api_keys_secret: keys}}\n"
    with running_server(make(tmp_path / "guarded", more)) as server:
        assert server.request("GET", "/readyz").status == 200
        refused = server.request("POST", PREDICT, b"{}")
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        said = server.request("POST", PREDICT, b"{}", {"Authorization": "Bearer two-key"}).json()
        assert "authorization" not in said["headers"]
        assert "two-key" not in "".join(server.log)
        assert server.request("POST", "/readyz", b"{}").status == 401
        hidden = b"POST /hidden HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        change = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 30) as connection:
            connection.sendall(change + hidden)
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"/hidden" not in received


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program", "there is no program 'no-such-program'"),
        ("python 'open", "cannot be read"),
    ],
)
def test_a_command_that_cannot_run_is_said(tmp_path, command, words):
    folder = make(tmp_path / "broken", command=f'"{command}"')
    with pytest.raises(AssertionError, match=words), running_server(folder):
        pass
    assert any(words in str(finding) for finding in check(folder))


def test_a_front_that_is_killed_takes_the_server_with_it(tmp_path):
    with running_server(make(tmp_path / "orphan")) as server:
        child = child_of(server)
        server.process.kill()
        server.process.wait()
        psutil.wait_procs([child], timeout=10)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_other_protocols_and_unannounced_ends_pass_through(tmp_path):
    folder = make(tmp_path / "upgrading")
    shutil.copy(SERVER.with_name("upgrading_server.py"), folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("wrapped_server.py", "upgrading_server.py"))
    with running_server(folder) as server:
        port = int(server.url.rpartition(":")[2])
        assert server.request("GET", "/unbounded").body == b"until the end"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            received = b""
            while not received.endswith(b"hello "):
                received += connection.recv(1000)
            assert received.startswith(b"HTTP/1.1 101 ")
            connection.sendall(b"\x00\xff not http")
            assert connection.recv(1000) == b"\x00\xff not http"
        assert server.request("GET", "/x").body == b"ok"


BARE = {"PATH": os.environ["PATH"], "PYTHONPATH": str(pathlib.Path(truss.__file__).parents[1])}
"""A container's variables, and where the sources under test are."""


@contextlib.contextmanager
def container(folder, **variables):
    """The program of a container over a Truss, with a platform's variables; its port is in one of them."""
    port = free_port()
    told = {name: value.format(port=port) for name, value in variables.items()}
    environment = {**BARE, "TRUSS_DIR": str(folder), **told}
    command = [sys.executable, "-m", "truss.runtime.container", "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    running = RunningServer(process, f"http://127.0.0.1:{port}")
    reader = threading.Thread(target=lambda: running.log.extend(process.stderr))
    reader.start()
    try:
        yield running
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def make_gated(folder):
    """A Truss whose server starts when there is a file `open` in its folder; it says that it waits."""
    port = free_port()
    waiting = "echo waiting; while [ ! -e open ]; do sleep 0.02; done"
    folder.mkdir()
    shutil.copy(SERVER, folder)
    command = f"\"sh -c '{waiting}; exec python wrapped_server.py {port}'\""
    (folder / "config.yaml").write_text(f"model_name: llm\n{CONFIG.format(command=command, port=port)}")
    return folder


def test_the_program_of_a_container_wraps_it_too(tmp_path):
    with container(make(tmp_path / "contained"), PORT="{port}") as running:
        running.wait_ready()
        assert running.request("POST", "/invocations", b"{}").json()["path"] == "/generate"


def test_a_port_for_grpc_is_refused(tmp_path):
    variables = {**BARE, "TRUSS_DIR": str(make(tmp_path / "grpc")), "TRUSS_GRPC_PORT": "1234"}
    command = [sys.executable, "-m", "truss.runtime.container", "serve", "--port", str(free_port())]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "TRUSS_GRPC_PORT: gRPC is served for model classes" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_routes_and_port_are_those_that_vertex_chooses(tmp_path):
    folder = make_gated(tmp_path / "vertex")
    health, predict = "/v1/endpoints/7/deployedModels/8", "/v1/endpoints/7/deployedModels/8:predict"
    variables = {"AIP_HTTP_PORT": "{port}", "AIP_HEALTH_ROUTE": health, "AIP_PREDICT_ROUTE": predict}
    with container(folder, **variables) as running:
        running.wait_until(lambda: running.request("GET", health).status == 503, "has no health route")
        assert running.request("GET", "/livez").status == 200
        assert "AIP_HTTP_PORT" not in child_of(running).environ()  # the public port is not the server's
        (folder / "open").touch()
        running.wait_until(lambda: running.request("GET", health).status == 200, "is not ready")
        assert running.request("POST", predict, b"{}").json()["path"] == "/generate"
        assert running.request("GET", "/v1/models/llm").json()["path"] == "/ready"
        assert running.request("POST", "/v1/models/llm:predict", b"{}").json()["path"] == "/generate"


def test_no_connection_is_taken_on_cloud_run_before_the_server_is_ready(tmp_path):
    folder = make_gated(tmp_path / "cloudrun")
    with container(folder, PORT="{port}", K_SERVICE="s") as running:

        def connects():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", int(running.url.rpartition(":")[2]))) == 0

        running.wait_until(lambda: any("waiting" in line for line in running.log), "does not start it")
        assert not connects()
        (folder / "open").touch()
        running.wait_until(connects, "takes no connection")
        assert running.request("GET", "/readyz").status == 200


def test_the_end_does_not_wait_for_a_server_that_is_not_ready(tmp_path):
    with container(make_gated(tmp_path / "early"), PORT="{port}", K_SERVICE="s") as running:
        running.wait_until(lambda: any("waiting" in line for line in running.log), "does not start it")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
