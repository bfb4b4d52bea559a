"""What the front and a worker say to each other over their socket pair.

A frame is a header, `length: u32, kind: u8` (little-endian; length counts what follows the header),
then a payload of that kind:

* BATCH (front to worker): `count: u32`, count entries `id: u32, codec: u8, length: u32`, then the bodies
  in that order.
* ANSWERS (worker to front): `decode, predict, encode: u64` nanoseconds, `rows: u32`, `count: u32`,
  count entries `id: u32, status: u16, codec: u8, length: u32`, then the bodies.
* READY, FAILED (worker to front): a JSON object.
* CANCEL (front to worker): `id: u32` values.

Bodies are never looked into here. A frame that does not follow this layout means that the two sides
are not the same version or that memory was damaged: `FrameError`, and the worker is replaced.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from truss.errors import FrameError


class Kind(IntEnum):
    """What a frame carries."""

    BATCH = 1
    ANSWERS = 2
    READY = 3
    FAILED = 4
    CANCEL = 5


class Codec(IntEnum):
    """The format of a body. Only the worker acts on it."""

    JSON = 0
    MSGPACK = 1
    ERROR = 2
    """A `TrussError` as JSON (`type`, `message`, `where`, `hint`): the front adds the request id."""


# Named tuples: one of each is made per request on both sides, and they are the cheapest frozen values.
class Request(NamedTuple):
    """One request body on its way to a worker."""

    id: int
    codec: int
    body: bytes | memoryview


class Answer(NamedTuple):
    """One answer body on its way to the front."""

    id: int
    status: int
    codec: int
    body: bytes | memoryview


@dataclass(frozen=True)
class Answers:
    """The answers of one batch, with what they cost.

    Attributes:
        answers: In any order, one per request.
        rows: How many rows the batch had (requests, when rows were not joined).
        decode: Nanoseconds spent on decoding bodies.
        predict: Nanoseconds spent in the model's steps.
        encode: Nanoseconds spent on encoding answers.
    """

    answers: Sequence[Answer]
    rows: int
    decode: int
    predict: int
    encode: int


_HEADER = struct.Struct("<IB")
_COUNT = struct.Struct("<I")
_REQUEST = struct.Struct("<IBI")
_COSTS = struct.Struct("<QQQII")
_ANSWER = struct.Struct("<IHBI")
HEADER_SIZE = _HEADER.size
MAX_PAYLOAD = 2**32 - 1


def encode(kind: Kind, *parts: bytes | memoryview) -> list[bytes | memoryview]:
    """A frame as the buffers to write, in order; bodies are not copied.

    Raises:
        FrameError: the payload exceeds 4 GiB.
    """
    length = sum(map(len, parts))
    if length > MAX_PAYLOAD:
        raise FrameError(f"a batch or answer of {length} bytes does not fit a frame (4 GiB)")
    return [_HEADER.pack(length, kind), *parts]


def encode_batch(requests: Sequence[Request]) -> list[bytes | memoryview]:
    """A BATCH frame."""
    table = b"".join([_REQUEST.pack(item.id, item.codec, len(item.body)) for item in requests])
    return encode(Kind.BATCH, _COUNT.pack(len(requests)), table, *[item.body for item in requests])


def decode_batch(payload: memoryview) -> list[Request]:
    """The requests of a BATCH payload; bodies are views into it."""
    _need(payload, _COUNT.size)
    (count,) = _COUNT.unpack_from(payload)
    start = _bodies_start(payload, _COUNT.size, count, _REQUEST)
    requests = []
    for id_, codec, length in _REQUEST.iter_unpack(payload[_COUNT.size : start]):
        end = start + length
        requests.append(Request(id_, codec, payload[start:end]))
        start = end
    _check_end(payload, start)
    return requests


def encode_answers(answers: Answers) -> list[bytes | memoryview]:
    """An ANSWERS frame."""
    items = answers.answers
    costs = _COSTS.pack(answers.decode, answers.predict, answers.encode, answers.rows, len(items))
    table = b"".join([_ANSWER.pack(item.id, item.status, item.codec, len(item.body)) for item in items])
    return encode(Kind.ANSWERS, costs, table, *[item.body for item in items])


def decode_answers(payload: memoryview) -> Answers:
    """The answers of an ANSWERS payload; bodies are copied out, since they outlive the frame."""
    _need(payload, _COSTS.size)
    decode, predict, encode_, rows, count = _COSTS.unpack_from(payload)
    start = _bodies_start(payload, _COSTS.size, count, _ANSWER)
    answers = []
    for id_, status, codec, length in _ANSWER.iter_unpack(payload[_COSTS.size : start]):
        end = start + length
        answers.append(Answer(id_, status, codec, bytes(payload[start:end])))
        start = end
    _check_end(payload, start)
    return Answers(answers, rows, decode, predict, encode_)


def encode_cancel(ids: Sequence[int]) -> list[bytes | memoryview]:
    """A CANCEL frame."""
    return encode(Kind.CANCEL, struct.pack(f"<{len(ids)}I", *ids))


def decode_cancel(payload: memoryview) -> list[int]:
    """The request ids of a CANCEL payload."""
    if len(payload) % 4:
        raise FrameError(f"a cancel frame of {len(payload)} bytes")
    return [id_ for (id_,) in struct.iter_unpack("<I", payload)]


def _bodies_start(payload: memoryview, table: int, count: int, entry: struct.Struct) -> int:
    """Where the bodies begin: after a table of so many entries, which must be there in full."""
    end = table + count * entry.size
    _need(payload, end)
    return end


def _need(payload: memoryview, size: int) -> None:
    if len(payload) < size:
        raise FrameError(f"a frame ends after {len(payload)} of at least {size} bytes")


def _check_end(payload: memoryview, end: int) -> None:
    """Hold where the last body ends, by the table, against where the frame ends."""
    if end != len(payload):
        raise FrameError(f"a frame's bodies end at {end}, the frame at {len(payload)}")


class FrameReader:
    """Turns a stream of bytes, cut anywhere, into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, memoryview]]:
        """Take the next bytes of the stream and return the frames that they complete.

        Raises:
            FrameError: a frame of unknown kind.
        """
        if self._buffer:
            self._buffer += data
            view = memoryview(self._buffer)
        else:
            view = memoryview(data)
        frames: list[tuple[Kind, memoryview]] = []
        position = 0
        while len(view) - position >= HEADER_SIZE:
            length, kind = _HEADER.unpack_from(view, position)
            end = position + HEADER_SIZE + length
            if end > len(view):
                break
            frames.append((_kind(kind), view[position + HEADER_SIZE : end]))
            position = end
        # The frames handed out keep the old buffer; what is left starts a new one.
        if position or not self._buffer:
            self._buffer = bytearray(view[position:])
        return frames


_KINDS = {int(kind): kind for kind in Kind}


def _kind(value: int) -> Kind:
    kind = _KINDS.get(value)
    if kind is None:
        raise FrameError(f"a frame of unknown kind {value}")
    return kind


def receive(connection: socket.socket) -> tuple[Kind, memoryview] | None:
    """Block until the next whole frame has arrived; None when the other side has closed.

    Raises:
        FrameError: the stream ends within a frame, or the frame is of unknown kind.
    """
    header = _receive_exactly(connection, HEADER_SIZE)
    if header is None:
        return None
    length, kind = _HEADER.unpack(header)
    payload = _receive_exactly(connection, length)
    if payload is None:
        raise FrameError("the connection closed within a frame")
    return _kind(kind), payload


def _receive_exactly(connection: socket.socket, size: int) -> memoryview | None:
    buffer = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        received = connection.recv_into(buffer[filled:])
        if not received:
            if filled:
                raise FrameError("the connection closed within a frame")
            return None
        filled += received
    return buffer


def send(connection: socket.socket, frame: Sequence[bytes | memoryview]) -> None:
    """Write a whole frame to a blocking socket."""
    connection.sendall(b"".join(frame))
