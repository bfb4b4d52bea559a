"""Hold a body against the type that a model's first step takes.

Dataclasses, TypedDicts, named tuples and Structs are read by msgspec, strictly: `"3"` is no integer. Types
that have pydantic's among them are read by pydantic, as its models say. Either way the step gets a value of
its type, and a request that is none names every place where it differs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from truss.errors import InvalidInputError, ModelDefinitionError, PredictionError
from truss.model import arrays, faults, samples, schemas
from truss.model.annotations import body_type, is_class, is_pydantic, is_typed_dict, without_annotations
from truss.model.failure import describe

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_ROWS = ("inputs", "instances")
_HINT = "GET /v1/models/model/schema tells what the model takes"


class Checked(NamedTuple):
    """A request that was read already.

    Attributes:
        value: What the model's first step is given.
        request: What it was read from, which can be joined with others.
    """

    value: Any
    request: Any


class Contract:
    """What the body of a request is to be.

    Args:
        kind: The type.

    Raises:
        ModelDefinitionError: bodies cannot be read as this type.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._class = without_annotations(kind)
        try:
            self._reader: _Msgspec | _Pydantic = _Pydantic(kind) if is_pydantic(kind) else _Msgspec(kind)
        except Exception as error:
            raise ModelDefinitionError(
                f"bodies cannot be read as {name_of(kind)}: {describe(error)}",
                hint="annotate the parameter with a type that msgspec or pydantic can read, or with `dict`",
            ) from error
        self.schema = schemas.of_type(kind)
        self._fields = schemas.resolved(self.schema).get("properties", {})
        self._takes_list = schemas.resolved(self.schema).get("type") == "array"

    def check(self, request: Any) -> Checked:
        """As `read`, keeping the request.

        Raises:
            InvalidInputError: it differs from the type.
        """
        return Checked(self.read(request), request)

    def read(self, request: Any) -> Any:
        """The value that a request stands for; one that has the type already is that value.

        Args:
            request: A decoded request, or what `check` made of one.

        Raises:
            InvalidInputError: it differs from the type; names each place, what is expected and what is there.
            PredictionError: the type's own code raised something else.
        """
        if type(request) is Checked:
            return request.value
        if self._is_value(request):
            return request
        request = self._renamed(request)
        try:
            return self._reader.convert(request)
        except Exception:  # noqa: BLE001  # read again, in case that it was for arrays or 7.0
            return self._read_plain(request)

    def _read_plain(self, request: Any) -> Any:
        plain = request
        try:
            plain = arrays.plain(request)
            return self._reader.convert(plain)
        except self._reader.refusal as error:
            raise InvalidInputError(self._explained(plain, error), hint=_HINT) from error
        except RecursionError as error:
            raise InvalidInputError("the request is nested too deeply", hint=_HINT) from error
        except UnicodeEncodeError as error:  # JSON can write half of a pair of surrogates, which is no text
            message = f"a text of the request is no Unicode text: {error.reason} at character {error.start}"
            raise InvalidInputError(message, hint=_HINT) from error
        except Exception as error:
            raise PredictionError(
                f"reading the request as {name_of(self._kind)} raised {describe(error)}",
                hint="raise ValueError in a type's own checks to refuse a request",
            ) from error

    def _explained(self, request: Any, error: Exception) -> str:
        try:
            return faults.listed(self._reader.faults(request, error))
        except Exception:  # noqa: BLE001  # a part that cannot be looked at by itself: what was said of the whole
            return str(error)

    def _is_value(self, request: Any) -> bool:
        kind = self._class
        return is_class(kind) and not is_typed_dict(kind) and isinstance(request, kind)

    def example(self) -> Any | None:
        """A request that has the type, of values that the schema allows; None where they do not suffice."""
        for text in ("text", "2025-01-01T00:00:00Z", "1"):
            with contextlib.suppress(Exception):  # an example is worth no failure
                made = samples.sample(self.schema, text)
                self.read(made)
                return made
        return None

    def _renamed(self, request: Any) -> Any:
        """The request with its rows where the type has them.

        Clients of several platforms can only send `instances`, tables always come as `inputs`.
        """
        if not isinstance(request, dict):
            return request
        given = [name for name in _ROWS if name in request]
        if len(given) != 1:
            return request
        if self._takes_list and len(request) == 1:
            return request[given[0]]
        (other,) = {*_ROWS} - {*given}
        if other not in self._fields or given[0] in self._fields:
            return request
        return {other if name == given[0] else name: value for name, value in request.items()}


def contract_of(step: Callable[..., Any]) -> Contract | None:
    """What a step says the body is; None when it says nothing of its fields.

    Raises:
        ModelDefinitionError: bodies cannot be read as what it says.
    """
    kind = body_type(step)
    return None if kind is None else Contract(kind)


def name_of(kind: Any) -> str:
    """A type as one writes it."""
    return kind.__name__ if is_class(kind) else re.sub(r"[\w.]+\.(?=\w)", "", str(kind))


class _Msgspec:
    """Reads values as types that msgspec knows."""

    refusal = msgspec.ValidationError

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        msgspec.inspect.type_info(kind)  # raises where it cannot be read

    def convert(self, request: Any) -> Any:
        return msgspec.convert(request, self._kind, dec_hook=arrays.read)

    def faults(self, request: Any, _: Exception) -> Iterator[str]:
        return faults.of_value(request, self._kind)


class _Pydantic:
    """Reads values as types that pydantic knows."""

    def __init__(self, kind: Any) -> None:
        from pydantic import TypeAdapter, ValidationError

        self.refusal = ValidationError
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def convert(self, request: Any) -> Any:
        return self._adapter.validate_python(request)

    def faults(self, request: Any, error: Any) -> Iterator[str]:
        return faults.of_pydantic(request, error)
