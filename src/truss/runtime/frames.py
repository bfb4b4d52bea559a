"""What the front and a worker say to each other over their socket pair.

A frame is a header, `length: u32, kind: u8` (little-endian; length counts what follows the header),
then a payload of that kind:

* BATCH (front to worker): `count: u32`, count entries `id: u32, codec: u8, length: u32, context: u16`,
  then, in that order, each one's context (`truss.runtime.context`) and body. With the highest bit of
  `codec` set, the body is elsewhere, in the arena, and what stands here in its stead is where:
  `offset: u64, length: u64`. The two bits below it are the `Delivery`.
* ANSWERS (worker to front): `decode, predict, encode: u64` nanoseconds, `rows: u32`, `count: u32`,
  count entries `id: u32, status: u16, codec: u8, length: u32`, then the bodies.
* READY, FAILED (worker to front): a JSON object.
* CANCEL (front to worker): `id: u32` values.
* CHUNK (worker to front): `id: u32, codec: u8`, then a part of a streamed answer. ANSWERS ends the stream:
  the body of that answer is its last part, or its error.
* CREDIT (front to worker): `id: u32, size: u32`: so many bytes of a stream have gone on to its reader.
  Of a websocket, both go both ways: what a client sends comes in CHUNK frames, and what the model reads of it
  gives credit. The first that the worker sends is empty, and says that the model has begun.
* HEALTH (front to worker): nothing; (worker to front): why the model cannot answer, empty when it can.

Bodies are never looked into here. A frame that does not follow this layout means that the two sides
are not the same version or that memory was damaged: `FrameError`, and the worker is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from truss.errors import FrameError
from truss.runtime.arena import Place


class Kind(IntEnum):
    """What a frame carries."""

    BATCH = 1
    ANSWERS = 2
    READY = 3
    FAILED = 4
    CANCEL = 5
    RENEW = 6
    RENEWED = 7
    CHUNK = 8
    CREDIT = 9
    HEALTH = 10


class Codec(IntEnum):
    """The format of a body. Only the worker acts on it."""

    JSON = 0
    MSGPACK = 1
    ERROR = 2
    """A `TrussError` as JSON (`type`, `message`, `where`, `hint`): the front adds the request id."""
    CSV = 3
    PARQUET = 4
    """These two are answered in JSON."""
    OPEN_INFERENCE = 5
    """In an envelope both ways (`truss.runtime.protocols.envelope`)."""
    NPY = 6
    ARROW = 7
    IMAGE = 8
    CHAT = 9
    COMPLETIONS = 10
    EMBEDDINGS = 11
    """These three are JSON, for a method of the model's own; from `NPY` to here answers are JSON."""
    OPEN_INFERENCE_GRPC = 12
    """A message of that protocol, behind an envelope; the answer is one, without an envelope."""
    EVENTS = 13
    """An answer, or a part of one: server-sent events."""
    CHUNKS = 14
    """An answer, or a part of one, as the model yields it."""
    TEXT = 15
    CLOSE = 16
    """Parts of a websocket's exchange, beside `CHUNKS`: a text; the end, a code and a reason in JSON."""
    WEBSOCKET = 17
    """A request that opens one; there is no body."""


class Delivery(IntEnum):
    """How a client wants the answer of a model that streams."""

    CHUNKS = 0
    WHOLE = 0x20
    """All chunks in one answer."""
    EVENTS = 0x40
    """As server-sent events."""


# Named tuples: one of each is made per request on both sides, and they are the cheapest frozen values.
class Sent(NamedTuple):
    """One request on its way to a worker: its body, or where that is in the arena.

    `codec` holds the `Delivery` too.
    """

    id: int
    codec: int
    body: bytes | memoryview | Place
    context: bytes = b""


class Request(NamedTuple):
    """One request as a worker gets it."""

    id: int
    codec: int
    body: bytes | memoryview
    context: bytes = b""
    delivery: int = Delivery.CHUNKS


class Answer(NamedTuple):
    """One answer body on its way to the front."""

    id: int
    status: int
    codec: int
    body: bytes | memoryview


@dataclass(frozen=True)
class Answers:
    """The answers of one batch, or of some requests of an async model, with what they cost together.

    Attributes:
        answers: In any order, one per request.
        rows: How many rows the batch had (requests, when rows were not joined); those of an async model
            that were cancelled do not count.
        decode: Nanoseconds spent on decoding bodies.
        predict: Nanoseconds spent in the model's steps.
        encode: Nanoseconds spent on encoding answers.
    """

    answers: Sequence[Answer]
    rows: int
    decode: int
    predict: int
    encode: int


def merge(several: Sequence[Answers]) -> Answers:
    """All the answers, with what they cost together."""
    if len(several) == 1:
        return several[0]
    return Answers(
        [answer for one in several for answer in one.answers],
        sum([one.rows for one in several]),
        sum([one.decode for one in several]),
        sum([one.predict for one in several]),
        sum([one.encode for one in several]),
    )


_HEADER = struct.Struct("<IB")
_COUNT = struct.Struct("<I")
_REQUEST = struct.Struct("<IBIH")
_COSTS = struct.Struct("<QQQII")
_ANSWER = struct.Struct("<IHBI")
_PLACE = struct.Struct("<QQ")
_CHUNK = struct.Struct("<IB")
_CREDIT = struct.Struct("<II")
_IN_ARENA = 0x80
_DELIVERY = 0x60
_CODEC = 0x1F
HEADER_SIZE = _HEADER.size
WINDOW = 1 << 18
"""How far a worker may be ahead of a stream's reader, in what `cost_of_chunk` counts."""
_CHUNK_OVERHEAD = 64
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


def encode_batch(requests: Sequence[Sent]) -> list[bytes | memoryview]:
    """A BATCH frame."""
    table: list[bytes] = []
    bodies: list[bytes | memoryview] = []
    for id_, codec, body, context in requests:
        inline = _PLACE.pack(*body) if isinstance(body, Place) else body
        flagged = codec | _IN_ARENA if inline is not body else codec
        table.append(_REQUEST.pack(id_, flagged, len(inline), len(context)))
        bodies += (context, inline)
    return encode(Kind.BATCH, _COUNT.pack(len(requests)), b"".join(table), *bodies)


def decode_batch(payload: memoryview, view: Callable[[Place], memoryview]) -> list[Request]:
    """The requests of a BATCH payload; bodies are views into it, or what `view` gives of the arena.

    Raises:
        FrameError: the payload is not laid out as one, or names a place outside the arena.
    """
    _need(payload, _COUNT.size)
    (count,) = _COUNT.unpack_from(payload)
    start = _bodies_start(payload, _COUNT.size, count, _REQUEST)
    requests = []
    for id_, codec, length, context in _REQUEST.iter_unpack(payload[_COUNT.size : start]):
        begin = start + context
        end = begin + length
        body = payload[begin:end]
        if codec & _IN_ARENA:
            body = view(_place(body))
        context_ = bytes(payload[start:begin])
        requests.append(Request(id_, codec & _CODEC, body, context_, codec & _DELIVERY))
        start = end
    _check_end(payload, start)
    return requests


def _place(body: memoryview) -> Place:
    if len(body) != _PLACE.size:
        raise FrameError(f"{len(body)} bytes do not say where in the arena a body is")
    return Place(*_PLACE.unpack(body))


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


class Chunk(NamedTuple):
    """A part of a streamed answer."""

    id: int
    codec: int
    body: bytes


def encode_chunk(id_: int, codec: int, body: bytes) -> list[bytes | memoryview]:
    """A CHUNK frame."""
    return encode(Kind.CHUNK, _CHUNK.pack(id_, codec), body)


def decode_chunk(payload: memoryview) -> Chunk:
    """The part of an answer in a CHUNK payload; it is copied out, since it outlives the frame."""
    _need(payload, _CHUNK.size)
    id_, codec = _CHUNK.unpack_from(payload)
    return Chunk(id_, codec, bytes(payload[_CHUNK.size :]))


def cost_of_chunk(body: bytes) -> int:
    """What a part of a stream takes of the window: its bytes, and what keeping them takes."""
    return len(body) + _CHUNK_OVERHEAD


def encode_credit(id_: int, size: int) -> list[bytes | memoryview]:
    """A CREDIT frame."""
    return encode(Kind.CREDIT, _CREDIT.pack(id_, size))


def decode_credit(payload: memoryview) -> tuple[int, int]:
    """The request id and the number of bytes of a CREDIT payload."""
    if len(payload) != _CREDIT.size:
        raise FrameError(f"a credit frame of {len(payload)} bytes")
    id_, size = _CREDIT.unpack(payload)
    return id_, size


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


def send_now(
    connection: socket.socket, transport: asyncio.WriteTransport, frame: Sequence[bytes | memoryview]
) -> None:
    """Write a whole frame to a non-blocking socket that a transport serves.

    uvloop's transports write when the event loop's turn ends, and in one turn many requests or answers may
    be dealt with: the other side could be at work meanwhile. So this writes to the socket itself, unless
    earlier bytes wait in the transport; those that the socket does not take go there.
    """
    data = b"".join(frame)
    if not transport.get_write_buffer_size():
        # A broken connection is the transport's to report.
        with contextlib.suppress(OSError):
            data = data[connection.send(data) :]
    if data:
        transport.write(data)


def send(connection: socket.socket, frame: Sequence[bytes | memoryview]) -> None:
    """Write a whole frame to a blocking socket."""
    connection.sendall(b"".join(frame))
