"""Websockets: messages go both ways between a client and a model's `websocket`."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import textwrap
import time

import pytest
import websockets
from websockets.sync.client import connect

from truss.config import read_config
from truss.errors import ModelDefinitionError
from truss.model import load_model
from truss.testing.server import running_server

MODEL = """
    import asyncio
    import os
    from pathlib import Path

    from truss.model.websocket import WebSocketDisconnect


    class Model:
        async def websocket(self, websocket):
            await websocket.accept()
            request = await websocket.receive_json()
            await getattr(self, request["kind"])(websocket, request)

        async def echo(self, websocket, request):
            async for text in websocket.iter_text():
                await websocket.send_text(text.upper())

        async def sizes(self, websocket, request):
            async for data in websocket.iter_bytes():
                await websocket.send_json({"size": len(data)})

        async def who(self, websocket, request):
            await websocket.send_json([websocket.headers["x-user"], websocket.request.query])

        async def empty(self, websocket, request):
            await websocket.send_text("")
            await websocket.send_bytes(b"")

        async def closing(self, websocket, request):
            await websocket.close(4001, "enough")

        async def failing(self, websocket, request):
            raise ValueError("as asked")

        async def leaving(self, websocket, request):
            try:
                await websocket.receive_text()
            except WebSocketDisconnect as gone:
                Path(request["file"]).write_text(f"{gone.code} {gone.reason}")

        async def flood(self, websocket, request):
            with open(request["file"], "ab", buffering=0) as made:
                while True:
                    made.write(b".")
                    await websocket.send_bytes(b"x" * 65536)

        async def pid(self, websocket, request):
            await websocket.send_json(os.getpid())
            await asyncio.sleep(3600)

        async def holding(self, websocket, request):
            while not Path(request["file"]).exists():
                await asyncio.sleep(0.005)
            count = 0
            async for _ in websocket.iter_bytes():
                count += 1
                await websocket.send_json(count)
"""


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    def write(code, config=""):
        folder = tmp_path_factory.mktemp("websocket")
        (folder / "model").mkdir()
        (folder / "model" / "model.py").write_text(textwrap.dedent(code))
        (folder / "config.yaml").write_text(config)
        return folder

    return write


@pytest.fixture(scope="module")
def server(write):
    with running_server(write(MODEL, "runtime: {predict_concurrency: 4}\n")) as server:
        yield server


@contextlib.contextmanager
def opened(server, kind, query="", headers=None, **request):
    url = server.url.replace("http", "ws", 1) + "/v1/websocket" + query
    with connect(url, additional_headers=headers, max_size=None, proxy=None) as connection:
        connection.send(json.dumps({"kind": kind, **request}))
        yield connection


def test_messages_go_both_ways(server):
    with opened(server, "echo") as talk:
        for text in ("a", "", "ü" * 1000):
            talk.send(text)
            assert talk.recv() == text.upper()


def test_two_clients_talk_at_the_same_time(server):
    with opened(server, "echo") as one, opened(server, "echo") as other:
        one.send("one")
        other.send("other")
        assert (other.recv(), one.recv()) == ("OTHER", "ONE")


def test_messages_may_be_empty(server):
    with opened(server, "empty") as talk:
        assert (talk.recv(), talk.recv()) == ("", b"")


def test_messages_may_have_100_mib_and_no_more(server):
    with opened(server, "sizes") as talk:
        talk.send(bytes(100 << 20))
        assert json.loads(talk.recv()) == {"size": 100 << 20}

    # The server does not read on to the end of what it has refused: the client may not come to read why.
    def send_too_much():
        with opened(server, "sizes") as talk:
            talk.send(bytes((100 << 20) + 1))
            talk.recv()

    with pytest.raises((websockets.ConnectionClosed, OSError)):
        send_too_much()


def test_the_model_sees_the_request(server):
    with opened(server, "who", "?a=b", {"X-User": "ada"}) as talk:
        assert json.loads(talk.recv()) == ["ada", "a=b"]


def ending(talk):
    with pytest.raises(websockets.ConnectionClosed) as caught:
        talk.recv()
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_it_ends_with_the_method_or_as_the_model_says(server):
    with opened(server, "empty") as talk:
        talk.recv(), talk.recv()
        assert ending(talk) == (1000, "")
    with opened(server, "closing") as talk:
        assert ending(talk) == (4001, "enough")


def test_an_error_closes_it_and_is_logged(server):
    with opened(server, "failing") as talk:
        code, reason = ending(talk)
    assert (code, reason) == (1011, "`websocket` raised ValueError: as asked")
    server.wait_until(lambda: any("as asked" in line for line in server.log), "does not say what failed")


def test_a_message_of_the_wrong_kind_closes_it(server):
    with opened(server, "echo") as talk:
        talk.send(b"bytes")
        assert ending(talk)[0] == 1011


def test_the_model_is_told_that_the_client_has_left(server, tmp_path):
    file = tmp_path / "gone"
    with opened(server, "leaving", file=str(file)) as talk:
        talk.close(4002, "bye")
    server.wait_until(lambda: file.exists() and file.read_text() == "4002 bye", "does not tell the model")


def settled(path):
    """The size of a file that grows, when it does so no more."""
    size = -1
    while size != (size := path.stat().st_size):
        time.sleep(0.3)
    return size


def test_a_client_that_does_not_read_holds_its_model_back(server, tmp_path):
    file = tmp_path / "made"
    with opened(server, "flood", file=str(file)) as talk:
        server.wait_until(file.exists, "sends nothing")
        assert settled(file) < 400
        with opened(server, "echo") as other:
            other.send("meanwhile")
            assert other.recv() == "MEANWHILE"
        talk.socket.shutdown(socket.SHUT_RDWR)


def test_a_model_that_does_not_read_holds_its_client_back(server, tmp_path):
    file = tmp_path / "go"

    async def talk():
        url = server.url.replace("http", "ws", 1) + "/v1/websocket"
        async with websockets.connect(url, proxy=None) as connection:
            await connection.send(json.dumps({"kind": "holding", "file": str(file)}))
            sent = 0
            while True:
                try:
                    await asyncio.wait_for(connection.send(bytes(1 << 20)), 0.5)
                except asyncio.TimeoutError:
                    break
                sent += 1
                assert sent < 400
            file.touch()
            for count in range(sent):
                assert json.loads(await connection.recv()) == count + 1

    asyncio.run(talk())


def test_a_worker_that_dies_closes_its_connections(server):
    with opened(server, "pid") as talk:
        os.kill(json.loads(talk.recv()), signal.SIGKILL)
        assert ending(talk)[0] == 1011
    server.wait_ready()
    with opened(server, "empty") as talk:
        assert talk.recv() == ""


def refused(server, path, **headers):
    url = server.url.replace("http", "ws", 1) + path
    with (
        pytest.raises(websockets.InvalidStatus) as caught,
        connect(url, additional_headers=headers, proxy=None),
    ):
        pass
    return caught.value.response.status_code, json.loads(caught.value.response.body)["error"]


def test_there_is_one_path_for_it(server):
    assert refused(server, "/v1/other")[0] == 404


def test_such_a_model_answers_no_other_requests(server):
    answer = server.predict({"inputs": [1]})
    assert (answer.status, answer.json()["error"]["type"]) == (404, "not_found")
    assert "websockets only" in answer.json()["error"]["message"]


def test_a_model_without_the_method_refuses(write, tmp_path):
    (tmp_path / "keys").write_text("a-key\n")
    config = "secrets: {keys: null}\nruntime: {authentication: {api_keys_secret: keys}}\n"
    environment = {**os.environ, "TRUSS_SECRETS_DIR": str(tmp_path)}
    code = "class Model:\n    def predict(self, request):\n        return request\n"
    with running_server(write(code, config), environment=environment) as server:
        assert refused(server, "/v1/websocket")[0] == 401
        status, error = refused(server, "/v1/websocket", Authorization="Bearer a-key")
        assert status == 404
        assert "no method `websocket`" in error["message"]


def test_a_stopping_server_says_so_to_both_sides(write, tmp_path):
    file = tmp_path / "gone"
    with running_server(write(MODEL)) as server:
        with opened(server, "leaving", file=str(file)) as talk:
            server.process.terminate()
            assert ending(talk)[0] == 1012
        assert server.process.wait(60) == 0
    assert file.read_text().startswith("1012")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            "async def websocket(self, w): ...\n    def predict(self, r): ...",
            "both `websocket` and `predict`",
        ),
        ("def websocket(self, w): ...", "no coroutine function"),
    ],
)
def test_what_a_class_cannot_have_is_said(write, methods, message):
    folder = write(f"class Model:\n    {methods}\n")
    with pytest.raises(ModelDefinitionError, match=message):
        load_model(folder, read_config(folder))


def test_a_plain_request_to_its_path_finds_nothing(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("GET", "/v1/websocket")
    assert connection.getresponse().status == 404
    connection.close()
