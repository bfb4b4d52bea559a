"""A server of files over HTTP that knows ranges, and breaks off where a test tells it to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Web:
    """What a server serves, and what it was asked.

    Attributes:
        port: Where it listens.
        files: Content by path.
        breaks: How many bytes of a body are sent before the connection is closed, request by request.
        statuses: What is answered in place of content, request by request.
        ranges: Whether it knows ranges.
        token: What requests have to carry as a bearer token.
        sent: How many bytes of content it has sent.
        asked: The `Range` of each request for content, by its path.
        seen: Every path and `Authorization` that came.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    token: str = ""
    sent: int = 0
    asked: list[str] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_web() -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            given = self.headers.get("Authorization", "")
            web.seen.append((self.path, given))
            if path in web.redirects:
                self._empty(302, Location=web.redirects[path])
                return
            if web.token and given != f"Bearer {web.token}":
                self._empty(403 if given else 401)
                return
            if web.statuses:
                self._empty(web.statuses.pop(0))
                return
            if path not in web.files:
                self._empty(404)
                return
            self._content(web.files[path])

        def _content(self, content: bytes) -> None:
            asked = self.headers.get("Range", "")
            tag = f'"{hashlib.md5(content).hexdigest()}"'
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked) if web.ranges else None
            if self.headers.get("If-Range", tag) != tag:
                found = None
            start, end = 0, len(content)
            if found:
                start = int(found[1])
                end = min(len(content), int(found[2]) + 1) if found[2] else len(content)
            body = content[start:end]
            self.send_response(206 if found else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", tag)
            if found:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
            self.end_headers()
            if asked == "bytes=0-0":  # a look at what there is
                if len(body) == 1:
                    self.wfile.write(body)
                self.close_connection = True
                return
            web.asked.append(asked)
            if web.breaks:
                body = body[: web.breaks.pop(0)]
                self.close_connection = True
            web.sent += len(body)  # before the client can have seen all of it
            self.wfile.write(body)

        def _empty(self, status: int, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
