"""A real registry behind a line that breaks: uploads and downloads go on."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from truss.errors import RegistryUnavailableError
from truss.oci import (
    Entry,
    ImageConfig,
    Patience,
    Platform,
    Reference,
    Registry,
    Transport,
    build_image,
    plain_layer,
    pull_image,
    push_image,
    validate_layout,
    write_layout,
)

pytestmark = pytest.mark.registry

MIB = 1 << 20
NO_PAUSE = Patience(tries=4, pause=lambda _: None)


@dataclass
class Line:
    """A TCP connection to somewhere that breaks after so many bytes, as often as it is told to.

    Attributes:
        upward: Bytes from the client after which the next connections break.
        downward: The same for bytes from the server.
        passed: Bytes that the server was sent.
        host: Where it listens.
    """

    target: str
    upward: list[int] = field(default_factory=list)
    downward: list[int] = field(default_factory=list)
    passed: int = 0
    host: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, limits: list[int], size: int) -> bool:
        """Whether the line breaks now: each limit counts bytes since the one before was reached."""
        with self.lock:
            if limits is self.upward:
                self.passed += size
            if not limits:
                return False
            limits[0] -= size
            if limits[0] > 0:
                return False
            limits.pop(0)
            return True

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                host, _, port = self.target.partition(":")
                server = socket.create_connection((host, int(port)))
                for source, sink, limits in ((client, server, self.upward), (server, client, self.downward)):
                    threading.Thread(target=self.copy, args=(source, sink, limits), daemon=True).start()

    def copy(self, source: socket.socket, sink: socket.socket, limits: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                if self.take(limits, len(data)):
                    break
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the other direction's thread
            one.close()  # tells a side that is still sending


@contextlib.contextmanager
def breaking_line(target: str) -> Iterator[Line]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(target, host=f"127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=line.serve, args=(listener,), daemon=True).start()
        yield line
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(registry):
    with breaking_line(registry.host) as running:
        yield running


@pytest.fixture
def image(tmp_path):
    (tmp_path / "weights").write_bytes(os.urandom(20 * MIB))
    return build_image(ImageConfig(Platform("amd64")), [plain_layer([Entry.file("w", tmp_path / "weights")])])


def client(line: Line) -> Registry:
    return Registry(line.host, transport=Transport(NO_PAUSE))


def test_an_upload_goes_on_after_the_line_broke(registry, line, image, tmp_path):
    line.upward[:] = [5 * MIB, 9 * MIB, MIB]
    name = Reference.parse(f"{line.host}/m:1")
    push_image(image, name, registry=client(line), chunk_size=4 * MIB)
    assert not line.upward
    direct = pull_image(Reference.parse(f"{registry.host}/m:1"), Platform("amd64")).image
    write_layout(tmp_path / "layout", direct)
    validate_layout(tmp_path / "layout")


def test_an_upload_in_one_request_is_begun_again(line, image):
    line.upward[:] = [15 * MIB]
    push_image(image, Reference.parse(f"{line.host}/m:1"), registry=client(line), chunk_size=64 * MIB)
    assert not line.upward


def test_a_push_that_was_given_up_goes_on_with_what_is_missing(registry, line, image, tmp_path):
    more = plain_layer([Entry.file("v", os.urandom(20 * MIB))])
    both = build_image(image.config, [more], base=image)
    line.upward[:] = [25 * MIB, 0, 0, 0, 0, 0, 0, 0, 0]
    name = Reference.parse(f"{line.host}/m:1")
    with pytest.raises(RegistryUnavailableError):
        push_image(both, name, registry=client(line), parallel=1)
    line.upward.clear()
    line.passed = 0
    pushed = push_image(both, name, registry=client(line), parallel=1)
    assert [one.how for one in pushed.blobs] == ["exists", "uploaded", "uploaded"]
    assert line.passed < 21 * MIB


def test_a_download_goes_on_after_the_line_broke(line, image, tmp_path):
    name = Reference.parse(f"{line.host}/m:1")
    push_image(image, name, registry=client(line))
    pulled = pull_image(name, Platform("amd64"), registry=client(line)).image
    line.downward[:] = [5 * MIB, 9 * MIB, MIB]
    write_layout(tmp_path / "layout", pulled)
    assert not line.downward
    validate_layout(tmp_path / "layout")
