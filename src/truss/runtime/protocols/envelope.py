"""What goes with a body of the Open Inference Protocol between the front and a worker.

The front writes an envelope before a request's body: what the path and the headers said, and as many zero
bytes as put the tensors, which follow the JSON, at a multiple of 64: libraries count on alignment, and
tensors at odd places would have to be moved. An answer's envelope is the size of its JSON.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from truss.errors import MalformedBodyError

_HEAD = struct.Struct("<QHH")
_ANSWER = struct.Struct("<Q")
ALL = 2**64 - 1
"""The size of the JSON of a body that has nothing else."""
NO_SIZE = 2**60
"""What stands for a size that is no number: it ends beyond any body, and is refused for that."""
_ALIGNMENT = 64
LONGEST_NAME = 255


class Opened(NamedTuple):
    """A request out of its envelope: the model's name in its path, the size of its JSON, and its body."""

    name: str
    json_size: int | None
    body: memoryview


def seal(name: str, json_size: int | None) -> bytes:
    """The envelope of a request, to stand before its body."""
    written = name.encode()[:LONGEST_NAME]
    size = _HEAD.size + len(written)
    padding = 0 if json_size is None else -(size + json_size) % _ALIGNMENT
    head = _HEAD.pack(ALL if json_size is None else json_size, len(written), padding)
    return b"%b%b%b" % (head, written, bytes(padding))


def unseal(sealed: bytes | memoryview) -> Opened:
    """A request as `seal` and the client wrote it.

    Raises:
        MalformedBodyError: there is no envelope.
    """
    view = memoryview(sealed)
    if len(view) < _HEAD.size:
        raise MalformedBodyError("the body has no envelope")
    json_size, name_size, padding = _HEAD.unpack_from(view)
    start = _HEAD.size + name_size
    name = bytes(view[_HEAD.size : start]).decode(errors="replace")
    return Opened(name, None if json_size == ALL else json_size, view[start + padding :])


def seal_answer(json_size: int | None) -> bytes:
    """The envelope of an answer."""
    return _ANSWER.pack(ALL if json_size is None else json_size)


def unseal_answer(sealed: bytes | memoryview) -> tuple[int | None, memoryview]:
    """The size of the answer's JSON, None when it is nothing else, and its body."""
    view = memoryview(sealed)
    (json_size,) = _ANSWER.unpack_from(view)
    return None if json_size == ALL else json_size, view[_ANSWER.size :]
