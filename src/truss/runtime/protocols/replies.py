"""Answers and errors of other protocols as the front sends them: what stands around a body, never in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from truss.runtime.frames import Codec
from truss.runtime.protocols import envelope

_OPENAI_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"} | {
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def open_inference(body: bytes) -> tuple[memoryview, bytes, list[tuple[bytes, bytes]]]:
    """An answer's body, content type and headers out of its envelope."""
    json_size, rest = envelope.unseal_answer(body)
    if json_size is None:
        return rest, b"application/json", []
    size = str(json_size).encode()
    return rest, b"application/octet-stream", [(b"inference-header-content-length", size)]


def error_content(codec: int, status: int, content: Mapping[str, Any]) -> Any:
    """An error in the shape of the protocol that a request speaks.

    Args:
        codec: The codec of the request.
        status: The HTTP status.
        content: Our own shape: `type`, `message`, perhaps `hint`, `request_id`.
    """
    if codec in (Codec.OPEN_INFERENCE, Codec.OPEN_INFERENCE_GRPC):
        hint = content.get("hint")
        return {"error": f"{content['message']}; {hint}" if hint else content["message"]}
    if codec in (Codec.CHAT, Codec.COMPLETIONS, Codec.EMBEDDINGS):
        kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return {"error": {**content, "type": kind, "param": None, "code": content["type"]}}
    return {"error": content}
