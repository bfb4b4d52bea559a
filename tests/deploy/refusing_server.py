"""AWS's APIs with one operation that is refused, in AWS's words and form; moto's server answers the rest."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Refusal:
    """An operation, and what AWS says instead of doing it.

    Attributes:
        operation: As AWS names it, `CreateService`; of Lambda, which has paths, `POST /2015-03-31/functions`.
        code: AWS's name for the reason.
        message: Its words.
        once: Whether it is done when it is asked for again.
    """

    operation: str
    code: str
    message: str
    once: bool = False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: str, refusal: Refusal) -> None:
        self.behind = urlsplit(behind).netloc
        self.refusal = refusal
        self.refused = 0
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        form = parse_qs(body.decode(errors="replace"))
        target = self.headers.get("X-Amz-Target", "")
        path = f"{self.command} {urlsplit(self.path).path.rstrip('/')}"
        operations = {target.rpartition(".")[2], form.get("Action", [""])[0], path}
        passes = self.server.refusal.once and self.server.refused
        if passes or self.server.refusal.operation not in operations:
            self._pass_on(body)
        else:
            self.server.refused += 1
            self._refuse(json_target=bool(target), version=form.get("Version", [""])[0])

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET  # noqa: N815  # as the base class names them

    def _refuse(self, json_target: bool, version: str) -> None:
        """In the form of the service's protocol: https://smithy.io/2.0/aws/protocols/."""
        said = self.server.refusal
        status = 403 if "Denied" in said.code or "Unauthorized" in said.code else 400
        error = f"<Error><Code>{said.code}</Code><Message>{said.message}</Message></Error>"
        if json_target:
            told = json.dumps({"__type": f"com.amazonaws#{said.code}", "message": said.message})
            self._answer(status, {"Content-Type": "application/x-amz-json-1.1"}, told.encode())
        elif version == "2016-11-15":  # of EC2, which has a form of its own
            told = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
            self._answer(status, {"Content-Type": "text/xml"}, told.encode())
        elif version:
            told = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
            self._answer(status, {"Content-Type": "text/xml"}, told.encode())
        else:
            head = {"Content-Type": "application/json", "x-amzn-ErrorType": said.code}
            self._answer(status, head, json.dumps({"Message": said.message}).encode())

    def _pass_on(self, body: bytes) -> None:
        behind = http.client.HTTPConnection(self.server.behind, timeout=60)
        with contextlib.closing(behind):
            behind.request(self.command, self.path, body, dict(self.headers))
            got = behind.getresponse()
            own = {"content-length", "transfer-encoding", "connection", "date", "server"}
            self._answer(got.status, {k: v for k, v in got.getheaders() if k.lower() not in own}, got.read())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def refusing(behind: str, refusal: Refusal) -> Iterator[str]:
    """A server before another, for the length of a block; gives its address. It has to refuse once."""
    with _Server(behind, refusal) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
        assert server.refused, f"nobody asked for {refusal.operation}"
