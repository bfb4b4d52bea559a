"""What a model takes and answers, as clients are told it: out of its types, else its signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from truss.config import Signature, TrussConfig
from truss.errors import TrussError
from truss.model import schemas
from truss.model.examples import read_examples
from truss.model.samples import sample
from truss.model.values import to_plain
from truss.runtime.protocols.routes import Service

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_LARGEST_FILE = 1 << 20
_LARGEST_EXAMPLE = 4000


@dataclass(frozen=True)
class Description:
    """What there is to tell.

    Attributes:
        name: What the model is called.
        about: What its class says of itself.
        typed: Whether requests are held against `request`, which only describes them otherwise.
        streams: Whether an answer comes in chunks; `answer` is then of one chunk.
        request: JSON Schema of a request's body.
        answer: JSON Schema of an answer; empty where it is not known.
        example: A request.
        methods: Those of OpenAI's that the model has.
        secured: Whether requests need an API key.
    """

    name: str
    about: str
    typed: bool
    streams: bool
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    example: Any
    methods: tuple[str, ...]
    secured: bool

    def schema(self) -> dict[str, Any]:
        """What `/v1/models/NAME/schema` answers."""
        return {
            "name": self.name,
            "typed": self.typed,
            "streams": self.streams,
            "request": {"$schema": DIALECT, **self.request},
            "answer": {"$schema": DIALECT, **self.answer},
            "example": self.example,
        }


def described(
    interface: Mapping[str, Any], service: Service, example: Any = None, *, secured: bool = False
) -> Description:
    """The description of a model.

    Args:
        interface: What it says of itself (`truss.model.interface`).
        service: What it is called, and its signature.
        example: One of its examples' inputs, where there is one.
        secured: Whether requests need an API key.
    """
    typed = interface["request"] is not None
    request = interface["request"] if typed else _untyped(service.signature, example)
    if example is None:
        example = interface["example"] if typed else sample(request)
    return Description(
        name=service.names[-1],
        about=interface["about"],
        typed=typed,
        streams=interface["streams"],
        request=request,
        answer=interface["answer"] or {},
        example=example,
        methods=tuple(interface["methods"]),
        secured=secured,
    )


def _untyped(signature: Signature | None, example: Any) -> schemas.Schema:
    """What is known of requests that are held against nothing."""
    if signature:
        return schemas.of_signature(signature)
    if example is not None:
        return schemas.of_example(example)
    return {"type": "object", "properties": {"inputs": {"type": "array"}}, "examples": [{"inputs": []}]}


def first_example(truss_dir: Path, config: TrussConfig) -> Any:
    """The input of the first example, short enough to show; None where there is none.

    A long list of rows is cut to the first.
    """
    try:
        if (truss_dir / config.examples_filename).stat().st_size > _LARGEST_FILE:
            return None
        examples = read_examples(truss_dir, config)
        given = to_plain(examples[0].input) if examples else None
    except (TrussError, OSError):  # not a reason to describe nothing
        return None
    if _is_long(given) and isinstance(given, dict):
        given = {key: value[:1] if isinstance(value, list) else value for key, value in given.items()}
    return None if _is_long(given) else given


def _is_long(value: Any) -> bool:
    return len(msgspec.json.encode(value)) > _LARGEST_EXAMPLE
