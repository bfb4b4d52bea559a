"""How the chunks of a model that streams are written: as they are, as lines, or as server-sent events.

The format of events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from truss.model import encode_json
from truss.runtime.codecs import encode_msgpack
from truss.runtime.frames import Codec, Delivery

_LINE_END = re.compile(r"\r\n|\r|\n")
_FIELDS = ("data:", "event:", "id:", "retry:", ":")
_TEXTS = (str, bytes, bytearray, memoryview)


class Form(NamedTuple):
    """How a stream is written.

    Attributes:
        codec: What its parts are.
        write: One chunk; may be empty, in which case nothing is sent.
        end: What follows the last one.
    """

    codec: int
    write: Callable[[Any], bytes]
    end: bytes = b""


def _as_it_is(chunk: Any) -> bytes | None:
    """The bytes of a text or of bytes; None for any other value."""
    if isinstance(chunk, str):
        return chunk.encode()
    return bytes(chunk) if isinstance(chunk, (bytes, bytearray, memoryview)) else None


def _line(chunk: Any) -> bytes:
    written = _as_it_is(chunk)
    return encode_json(chunk) + b"\n" if written is None else written


def _packed(chunk: Any) -> bytes:
    written = _as_it_is(chunk)
    return encode_msgpack(chunk) if written is None else written


def event(chunk: Any) -> bytes:
    """A chunk as a server-sent event; a text that is written as one already stays as it is."""
    if not isinstance(chunk, _TEXTS):
        return b"data: %b\n\n" % encode_json(chunk)
    text = chunk if isinstance(chunk, str) else bytes(chunk).decode(errors="replace")
    if text.endswith("\n\n") and text.startswith(_FIELDS):
        return text.encode()
    return "".join([*[f"data: {line}\n" for line in _LINE_END.split(text)], "\n"]).encode()


AS_THEY_ARE = Form(Codec.CHUNKS, _line)
PACKED = Form(Codec.CHUNKS, _packed)
EVENTS = Form(Codec.EVENTS, event, b"event: done\ndata:\n\n")
"""A browser's `EventSource` asks again when a stream ends, so a page must be told when to close it."""
OPENAI_EVENTS = Form(Codec.EVENTS, event, b"data: [DONE]\n\n")

_OTHERS = frozenset(
    (Codec.OPEN_INFERENCE, Codec.OPEN_INFERENCE_GRPC, Codec.CHAT, Codec.COMPLETIONS, Codec.EMBEDDINGS)
)
"""Protocols that say themselves whether, and how, an answer is streamed."""


def form_of(codec: int, delivery: int, own: Form | None) -> Form | None:
    """How the chunks of an answer are sent; None when they are gathered into one.

    Args:
        codec: The request's.
        delivery: How its client wants the answer.
        own: How its protocol streams the answer to this request, if it does.
    """
    if codec in _OTHERS:
        return own
    if delivery == Delivery.WHOLE:
        return None
    if delivery == Delivery.EVENTS:
        return EVENTS
    return PACKED if codec == Codec.MSGPACK else AS_THEY_ARE


def gathered(chunks: Sequence[Any], codec: int) -> Any:
    """All chunks as one answer: one text where they are pieces of text, else the list of them."""
    if codec in _OTHERS or not chunks or not all(isinstance(chunk, _TEXTS) for chunk in chunks):
        return chunks
    if codec == Codec.MSGPACK and not any(isinstance(chunk, str) for chunk in chunks):
        return b"".join(map(bytes, chunks))
    texts = [chunk if isinstance(chunk, str) else bytes(chunk).decode(errors="replace") for chunk in chunks]
    return "".join(texts)
