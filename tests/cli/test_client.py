"""The HTTP client of `--url`, against servers that behave in odd ways."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from truss.cli.client import BINARY_PATH, PREDICT_PATH, ask, endpoint
from truss.errors import RemoteError


@pytest.fixture
def server():
    """A server that answers what `respond` is set to, and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked = (self.path, self.headers["Content-Type"], body)
            status, answer = self.server.respond
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        running.respond = (200, b"{}")
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["http://host:8080", "http://host:8080/", "https://model.example.com"])
def test_a_url_without_path_gets_the_route(url):
    assert endpoint(url, PREDICT_PATH) == url.rstrip("/") + PREDICT_PATH


def test_a_url_with_path_is_asked_as_it_stands():
    assert endpoint("http://host/invocations", PREDICT_PATH) == "http://host/invocations"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "file:///etc/passwd", "http://", "8080"])
def test_what_is_no_http_address(url):
    with pytest.raises(RemoteError, match="not an HTTP address"):
        endpoint(url, PREDICT_PATH)


def test_the_body_goes_and_comes_back_as_bytes(server):
    server.respond = (200, b'{"predictions": []}')
    assert ask(server.url, b'{"inputs": []}') == b'{"predictions": []}'
    assert server.asked == (PREDICT_PATH, "application/json", b'{"inputs": []}')
    ask(server.url, b"\x80", path=BINARY_PATH)
    assert server.asked == (BINARY_PATH, "application/octet-stream", b"\x80")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(server.url, b"{}") == b"{}"


def test_an_error_of_a_truss_server_keeps_message_and_hint(server):
    error = {"type": "queue_full", "message": "too many are waiting", "hint": "try again", "request_id": "7"}
    server.respond = (429, json.dumps({"error": error}).encode())
    with pytest.raises(RemoteError) as caught:
        ask(server.url, b"{}")
    assert caught.value.message == "the server answered 429: too many are waiting"
    assert caught.value.hint == "try again"
    assert caught.value.where == server.url + PREDICT_PATH


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b'{"error": "text"}', b"[]", b"\xff\xfe"])
def test_an_error_of_any_other_server(server, body):
    server.respond = (502, body)
    with pytest.raises(RemoteError, match="the server answered 502: "):
        ask(server.url, b"{}")
