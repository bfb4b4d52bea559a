"""A push on a terminal shows how far it is; elsewhere, and for little, it shows nothing."""

import os
import pty
import threading
from contextlib import contextmanager, suppress

import pytest

from truss.cli.uploads import shown
from truss.oci import Blob, Progress

BLOB = Blob.of(bytes(4 << 20), "application/octet-stream")


def step(arrived):
    return Progress(BLOB.descriptor, "sending", arrived)


@contextmanager
def terminal(monkeypatch):
    """Have standard error be a terminal; gives what was written to it, once the block has ended."""
    ours, theirs = pty.openpty()
    written = []

    def read():
        with suppress(OSError):  # nobody writes any more
            while True:
                written.append(os.read(ours, 65536).decode())

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stderr)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "100")
        yield written
    reader.join()
    os.close(ours)


def test_a_terminal_shows_what_has_arrived_of_all(monkeypatch):
    with terminal(monkeypatch) as written, shown(8 << 20) as tell:
        tell(step(2 << 20))
        tell(step(4 << 20))
    text = "".join(written)
    assert "Pushing" in text
    assert "4.2/8.4 MB" in text


def test_little_is_not_worth_a_bar(monkeypatch):
    with terminal(monkeypatch) as written, shown(8 << 20) as tell:
        tell(step(10_000))
        tell(Progress(BLOB.descriptor, "exists", BLOB.size))
    assert "".join(written) == ""


@pytest.mark.parametrize("size", [10_000, 4 << 20])
def test_a_file_gets_nothing(capsys, size):
    with shown(8 << 20) as tell:
        tell(step(size))
    assert capsys.readouterr().err == ""
