"""A real registry behind a line that breaks: uploads and downloads go on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from truss.errors import RegistryUnavailableError
from truss.oci import (
    Digest,
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


# Sends 4 MiB at a time, and stands still when it has sent `stop` bytes, for somebody to end it there.
SENDER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from truss.oci import *
from truss.oci.sessions import Sessions

class Stopping:
    def __init__(self, content, stop):
        self.content, self.stop, self.size = content, stop, content.size
    def blocks(self, start=0):
        at = start
        for block in self.content.blocks(start):
            if self.stop and at + len(block) > self.stop:
                yield block[:self.stop - at]
                print("stands", flush=True)
                time.sleep(600)
            yield block
            at += len(block)

folder, host, stop = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
layer = plain_layer([Entry.file("w", folder / "weights")])
layer = replace(layer, blob=replace(layer.blob, content=Stopping(layer.blob.content, stop)))
image = build_image(ImageConfig(Platform("amd64")), [layer])
sessions = Sessions(folder / "uploads")
name = Reference.parse(f"{host}/m:1")
pushed = push_image(image, name, sessions=sessions, chunk_size=4 << 20, parallel=1)
print(pushed.blobs[0].sent)
"""


@pytest.fixture
def sender(tmp_path):
    """Starts a process that pushes 20 MiB to a registry."""
    (tmp_path / "weights").write_bytes(os.urandom(20 * MIB))

    def start(host: str, stop: int = 0) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SENDER, str(tmp_path), host, str(stop)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    return start


def killed(process: subprocess.Popen[str]) -> None:
    """End a process where it stands, giving it no time for anything."""
    assert process.stdout is not None
    assert process.stdout.readline() == "stands\n"
    process.kill()
    process.communicate()


def sent(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return int(said)


def layer_of(registry) -> int:
    """The bytes of the layer that a registry got, which are seen to be what its digest says."""
    layer = pull_image(Reference.parse(f"{registry.host}/m:1"), Platform("amd64")).image.layers[0]
    assert Digest.of(layer.read()) == layer.digest
    return layer.size


def test_another_process_sends_only_the_rest(registry, sender, tmp_path):
    killed(sender(registry.host, stop=12 * MIB))
    assert len(list((tmp_path / "uploads").iterdir())) == 2  # the note, and a lock that nobody holds
    assert sent(sender(registry.host)) == layer_of(registry) - 12 * MIB
    assert list((tmp_path / "uploads").iterdir()) == []


def test_what_the_registry_does_not_go_on_with_is_sent_again(registry, sender, tmp_path):
    # In the middle of a chunk: this registry then takes nothing more at the chunk's address.
    killed(sender(registry.host, stop=13 * MIB))
    assert sent(sender(registry.host)) == layer_of(registry)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_download_goes_on_after_the_line_broke(line, image, tmp_path):
    name = Reference.parse(f"{line.host}/m:1")
    push_image(image, name, registry=client(line))
    pulled = pull_image(name, Platform("amd64"), registry=client(line)).image
    line.downward[:] = [5 * MIB, 9 * MIB, MIB]
    write_layout(tmp_path / "layout", pulled)
    assert not line.downward
    validate_layout(tmp_path / "layout")
