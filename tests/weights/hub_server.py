"""A stand-in for the Hugging Face hub: the two routes of its API that fetching uses.

Its answers have the form of https://huggingface.co/docs/hub/api, as `huggingface_hub` reads them. It does not
show that the hub itself answers so, nor that its content network takes our requests for ranges.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40
LARGE = 1000
"""From so many bytes on a file is one of the large ones, which the hub names by SHA-256."""


@dataclass
class Hub:
    """Repositories.

    Attributes:
        port: Where it listens.
        files: The content of `team/model`, by path.
        token: What has to be carried as a bearer token; empty: nothing.
        breaks: After how many bytes of a body the connection is closed, request by request.
        seen: Paths and the tokens that came.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    token: str = ""
    breaks: list[int] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    """Run one until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _sibling(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    found: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LARGE:
        sha256 = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
    return found


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            hub.seen.append((path, given))
            if hub.token and given != hub.token:
                self._answer(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
            elif path == "/api/models/team/model/revision/main":
                siblings = [_sibling(name, content) for name, content in hub.files.items()]
                told = {"id": "team/model", "sha": COMMIT, "siblings": siblings, "tags": []}
                self._answer(200, json.dumps(told).encode())
            elif path.startswith("/api/models/team/model/"):
                self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            elif path.startswith(f"/team/model/resolve/{COMMIT}/"):
                self._content(hub.files[path.partition(f"/{COMMIT}/")[2]])
            else:
                self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def _content(self, content: bytes) -> None:
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            size = len(content)
            headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if asked else {}
            body = content[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if hub.breaks:
                body = body[: hub.breaks.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler
