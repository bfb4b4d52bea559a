"""How bodies of other protocols are read and written in the worker, by the codec of their frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from truss.config import Signature
from truss.errors import AnswerEncodingError, InvalidInputError
from truss.model import encode_json
from truss.model.values import as_fields
from truss.runtime.chunks import OPENAI_EVENTS, Form
from truss.runtime.codecs import decode_json
from truss.runtime.frames import Codec
from truss.runtime.protocols import bodies, envelope, open_inference, open_inference_grpc


@dataclass(frozen=True)
class Asked:
    """A request, decoded.

    Attributes:
        request: What the model is asked.
        write: Writes the answer: gives its body and codec.
        method: The method that answers in place of the model's steps; empty for those.
        stream: How its protocol streams the answer, where the request asks for that.
    """

    request: Any
    write: Callable[[Any], tuple[bytes, int]]
    method: str = ""
    stream: Form | None = None


Reader = Callable[[Any, Signature | None], Asked]


def _as_json(answer: Any) -> tuple[bytes, int]:
    return encode_json(answer), Codec.JSON


def _as_events(answer: Any) -> tuple[bytes, int]:
    """The chunks of a stream that is there whole as server-sent events.

    Raises:
        AnswerEncodingError: the model did not stream.
    """
    if not isinstance(answer, list):
        raise AnswerEncodingError(
            f"the request asks for a stream, the model returned {type(answer).__name__}",
            hint='yield chunks, or return a generator, where `request.get("stream")` is true',
        )
    return b"".join([*map(OPENAI_EVENTS.write, answer), OPENAI_EVENTS.end]), OPENAI_EVENTS.codec


def _answered_in_json(decode: Callable[[Any, Signature | None], Any]) -> Reader:
    return lambda body, signature: Asked(decode(body, signature), _as_json)


def _open_inference(body: bytes | memoryview, signature: Signature | None) -> Asked:
    name, json_size, rest = envelope.unseal(body)
    request, wanted = open_inference.decode(rest, json_size, signature)

    def write(answer: Any) -> tuple[bytes, int]:
        parts, json_size = open_inference.encode(as_fields(answer), wanted, name)
        return b"".join([envelope.seal_answer(json_size), *parts]), Codec.OPEN_INFERENCE

    return Asked(request, write)


def _open_inference_grpc(body: bytes | memoryview, signature: Signature | None) -> Asked:
    names, _, message = envelope.unseal(body)
    request, wanted, name = open_inference_grpc.decode(message, names.split(","), signature)

    def write(answer: Any) -> tuple[bytes, int]:
        return open_inference_grpc.encode(as_fields(answer), wanted, name), Codec.OPEN_INFERENCE_GRPC

    return Asked(request, write)


def _method(name: str) -> Reader:
    """Requests that a method of the model answers, in JSON both ways."""

    def read(body: bytes | memoryview, signature: Signature | None) -> Asked:  # noqa: ARG001  # no rows
        request = decode_json(body)
        if not isinstance(request, dict):
            raise InvalidInputError("the body is not a JSON object", hint='send {"model": "model", ...}')
        if request.get("stream") is True:
            return Asked(request, _as_events, name, OPENAI_EVENTS)
        return Asked(request, _as_json, name)

    return read


READERS: dict[int, Reader] = {
    Codec.OPEN_INFERENCE: _open_inference,
    Codec.OPEN_INFERENCE_GRPC: _open_inference_grpc,
    Codec.NPY: _answered_in_json(bodies.decode_npy),
    Codec.ARROW: _answered_in_json(bodies.decode_arrow),
    Codec.IMAGE: _answered_in_json(bodies.decode_image),
    Codec.CHAT: _method("chat_completions"),
    Codec.COMPLETIONS: _method("completions"),
    Codec.EMBEDDINGS: _method("embeddings"),
}
"""Codec -> how a body of it is read."""
