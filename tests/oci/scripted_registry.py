"""A registry in memory that fails as it is told to, and remembers every request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Fault = Callable[["Handler"], bool]
"""Answers, or breaks, a request in the registry's place; says whether the registry has nothing more to do."""


@dataclass
class Seen:
    """A request that came: its body may have been cut short."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    size: int = 0


@dataclass
class ScriptedRegistry:
    """What the registry holds, how it behaves, and what it has seen.

    Attributes:
        host: Where it listens.
        faults: What happens to the next requests that fit: method, pattern of the path, what is done.
        relative: Whether `Location` is a path without a host.
        ranges: Whether content can be read from the middle.
        chunks: Whether uploads can be sent in parts.
        resumes: Whether an upload can be asked how far it is.
        referrers: Whether it lists what is attached to an image.
        seen: The requests, in the order in which they came.
    """

    host: str = ""
    faults: list[tuple[str, str, Fault]] = field(default_factory=list)
    relative: bool = False
    ranges: bool = True
    chunks: bool = True
    resumes: bool = True
    referrers: bool = False
    seen: list[Seen] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, pattern: str, fault: Fault, times: int = 1) -> None:
        """Have the next requests that fit go wrong."""
        self.faults += [(method, pattern, fault)] * times

    def count(self, method: str, pattern: str = "") -> int:
        """How many requests of a kind came."""
        return sum(one.method == method and re.search(pattern, one.path) is not None for one in self.seen)

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for at, (wanted, pattern, fault) in enumerate(self.faults):
                if wanted == method and re.search(pattern, path):
                    del self.faults[at]
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """One connection to the registry."""

    protocol_version = "HTTP/1.1"
    registry: ScriptedRegistry

    def log_message(self, *arguments: object) -> None:
        pass

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query)
        self.left = int(self.headers.get("Content-Length") or 0)
        self.request_seen = Seen(self.command, self.route, self.query, dict(self.headers.items()))
        self.registry.seen.append(self.request_seen)
        fault = self.registry.fault_for(self.command, self.route)
        if fault is not None and fault(self):
            return
        kind = next(
            kind for kind in ("uploads", "blobs", "manifests", "referrers", "") if f"/{kind}/" in self.route
        )
        getattr(self, f"{kind}_{self.command.lower()}")()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815  # names of http.server

    def body(self, size: int | None = None) -> bytes:
        """The rest of the request's body, or up to `size` bytes of it."""
        wanted = self.left if size is None else min(size, self.left)
        data = self.rfile.read(wanted)
        self.left -= len(data)
        self.request_seen.size += len(data)
        return data

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.body()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self) -> None:
        """Break the connection off."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)

    @property
    def last(self) -> str:
        return self.route.rpartition("/")[2]

    def location(self, upload: str) -> str:
        path = (
            f"{self.route.partition('/blobs/')[0]}/blobs/uploads/{upload}?state={len(self.registry.uploads)}"
        )
        return path if self.registry.relative else f"http://{self.registry.host}{path}"

    def blobs_head(self) -> None:
        blob = self.registry.blobs.get(self.last)
        self.reply(404) if blob is None else self.reply(200, Content_Length=str(len(blob)))

    def blobs_get(self) -> None:
        blob = self.registry.blobs.get(self.last)
        if blob is None:
            self.reply(404)
            return
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start is not None and self.registry.ranges:
            self.reply(206, blob[int(start[1]) :])
        else:
            self.reply(200, blob)

    def uploads_post(self) -> None:
        upload = str(len(self.registry.uploads))
        self.registry.uploads[upload] = bytearray()
        self.reply(202, Location=self.location(upload), Range="0-0")

    def uploads_get(self) -> None:
        held = self.registry.uploads.get(self.last)
        if held is None or not self.registry.resumes:
            self.reply(404)
        else:
            self.reply(204, Location=self.location(self.last), Range=f"0-{max(0, len(held) - 1)}")

    def uploads_patch(self) -> None:
        held = self.registry.uploads.get(self.last)
        start = int(self.headers.get("Content-Range", "0").partition("-")[0])
        if not self.registry.chunks:
            self.reply(405)
        elif held is None:
            self.reply(404)
        elif start != len(held):
            self.reply(416, Range=f"0-{max(0, len(held) - 1)}")
        else:
            held += self.body()
            self.reply(202, Location=self.location(self.last), Range=f"0-{len(held) - 1}")

    def uploads_put(self) -> None:
        held = self.registry.uploads.pop(self.last, None)
        if held is None:
            self.reply(404)
            return
        data = bytes(held) + self.body()
        digest = self.query["digest"][0]
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest or "state" not in self.query:
            self.reply(400, json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}).encode())
        else:
            self.registry.blobs[digest] = data
            self.reply(201)

    def manifests_get(self) -> None:
        found = self.registry.manifests.get(self.last)
        if found is None:
            self.reply(404)
        else:
            digest = f"sha256:{hashlib.sha256(found[1]).hexdigest()}"
            self.reply(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest)

    manifests_head = manifests_get

    def manifests_put(self) -> None:
        stored = (self.headers["Content-Type"], self.body())
        self.registry.manifests[f"sha256:{hashlib.sha256(stored[1]).hexdigest()}"] = stored
        self.registry.manifests[self.last] = stored
        self.reply(201)

    def referrers_get(self) -> None:
        if not self.registry.referrers:
            self.reply(404)
            return
        listed = []
        for digest, (kind, data) in self.registry.manifests.items():
            document = json.loads(data)
            if ":" in digest and (document.get("subject") or {}).get("digest") == self.last:
                listed.append(
                    {"mediaType": kind, "digest": digest, "size": len(data)}
                    | {"artifactType": document["artifactType"]}
                )
        index = {"schemaVersion": 2, "manifests": listed}
        self.reply(200, json.dumps(index).encode())


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with a status."""

    def fault(handler: Handler) -> bool:
        handler.reply(code, body, **headers)
        return True

    return fault


def dropped(after: int = 0, *, keep: bool = True) -> Fault:
    """Break the connection off after so many bytes of the body, which an upload keeps or not."""

    def fault(handler: Handler) -> bool:
        data = handler.body(after)
        if keep and data:
            handler.registry.uploads[handler.last] += data
        handler.drop()
        return True

    return fault


def answer_lost(handler: Handler) -> bool:
    """Do what is asked, and break the connection off instead of answering."""
    handler.reply = lambda *_, **__: handler.drop()  # type: ignore[method-assign]
    return False


def cut_short(size: int) -> Fault:
    """Answer with the beginning of a blob only."""

    def fault(handler: Handler) -> bool:
        blob = handler.registry.blobs[handler.last]
        handler.reply(200, blob[:size], Content_Length=str(len(blob)))
        handler.drop()
        return True

    return fault


class Server(ThreadingHTTPServer):
    """A server that takes broken connections for granted."""

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def scripted_registry(**behaviour: bool) -> Iterator[ScriptedRegistry]:
    """Run one on a free loopback port."""
    registry = ScriptedRegistry(**behaviour)
    handler = type("BoundHandler", (Handler,), {"registry": registry})
    with Server(("127.0.0.1", 0), handler) as server:
        registry.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join(10)
