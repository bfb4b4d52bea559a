"""Answers as JSON: which Python values a model may return, and what each becomes.

Everything `msgspec` writes by itself is written as it does: str, int, float, bool, None, dict, list,
tuple, set, dataclass, Enum (its value), datetime/date/time (ISO 8601), timedelta (ISO 8601 duration),
Decimal and UUID (strings), bytes (base64). Beyond that: arrays and scalars of NumPy, tensors of torch,
TensorFlow and JAX, pandas frames (records), series and timestamps, pydantic models, mappings, paths.

NaN and the infinities have no JSON form: they become `null`. (The binary route keeps them.)
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from truss.errors import AnswerEncodingError


def encode_json(answer: Any) -> bytes:
    """The answer as UTF-8 JSON.

    Raises:
        AnswerEncodingError: a part of the answer has no JSON form; names its path and type.
    """
    try:
        return _encoder.encode(answer)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return _encode_after_conversion(answer, error)


def to_plain(answer: Any) -> Any:
    """The answer as a JSON reader gets it: builtins only (dict, list, str, int, float, bool, None).

    Raises:
        AnswerEncodingError: as `encode_json`.
    """
    return msgspec.json.decode(encode_json(answer))


def as_fields(answer: Any) -> Any:
    """A record (a dataclass, a msgspec Struct, a pydantic model) as a mapping of its fields, arrays kept.

    The names are those that it is written with. Anything else is returned as it is, and so is a Struct that
    is not written as just its fields.
    """
    kind = type(answer)
    if kind is dict or kind is list:
        return answer
    if isinstance(answer, msgspec.Struct):
        form = kind.__struct_config__
        if form.array_like or form.omit_defaults or form.tag is not None:
            return answer
        return {one.encode_name: getattr(answer, one.name) for one in msgspec.structs.fields(kind)}
    if dataclasses.is_dataclass(kind):
        return {one.name: getattr(answer, one.name) for one in dataclasses.fields(kind)}
    return answer.model_dump() if hasattr(answer, "model_dump") else answer


def _encode_after_conversion(answer: Any, first_error: Exception) -> bytes:
    """Walk the answer in Python: convert keys that are not plain, or name the part that cannot be written."""
    try:
        return _encoder.encode(_walk(answer, "", 0))
    except AnswerEncodingError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise AnswerEncodingError(
            f"the answer cannot be written as JSON: {first_error}", hint=_HINT
        ) from first_error


_HINT = "return plain Python values, arrays, frames or tensors; convert others in `postprocess`"
_MAX_DEPTH = 200


def _walk(value: Any, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise AnswerEncodingError(
            f"the answer is nested more than {_MAX_DEPTH} levels deep, or contains itself",
            where=path[:60],
            hint="return a value without cycles",
        )
    if isinstance(value, Mapping):
        return {
            _key(key, path): _walk(item, f"{path}.{key}".lstrip("."), depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_walk(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    try:
        _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        place = f"`{path}`" if path else "the answer"
        raise AnswerEncodingError(
            f"{place} is a {_type_name(value)}, which has no JSON form ({error})", hint=_HINT
        ) from error
    return value


_KEY_TEXTS = {True: "true", False: "false", None: "null"}


def _key(key: Any, path: str) -> Any:
    """A key as JSON writes it; True, False and None become text as in Python's own `json`."""
    plain = key.item() if hasattr(key, "item") else key
    if plain is None or isinstance(plain, bool):
        return _KEY_TEXTS[plain]
    if isinstance(plain, (str, int, float)):
        return plain
    if isinstance(plain, tuple):  # pandas writes multi-level column names as tuples
        return str(plain)
    raise AnswerEncodingError(
        f"a key of `{path or 'the answer'}` is a {_type_name(key)}; JSON keys are strings", hint=_HINT
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def to_encodable(value: Any) -> Any:
    """What `msgspec` writes instead of a value that it does not know.

    Imports no library to find out: a library that is not loaded has no values here.
    """
    package = type(value).__module__.partition(".")[0]
    if package == "numpy":
        return _from_numpy(value)
    if package == "torch" and hasattr(value, "detach"):
        return _from_torch(value)
    if package == "pandas":
        return _from_pandas(value)
    if hasattr(value, "model_dump"):  # pydantic
        return value.model_dump()
    if hasattr(value, "numpy"):  # TensorFlow's eager tensors
        return _from_numpy(value.numpy())
    if hasattr(value, "__array__"):  # JAX and everything else that is an array
        import numpy

        return _from_numpy(numpy.asarray(value))
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Iterable) and hasattr(value, "__len__"):  # range, deque, dict views
        return list(value)
    # str, int and float subclasses reach here too; their plain base says what they are.
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    raise TypeError(f"{_type_name(value)} is not supported")


def _from_numpy(value: Any) -> Any:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in "mM":  # dates and durations: NumPy's own text form is ISO 8601
        return value.astype(str).tolist()
    if kind == "V" and value.dtype.names:  # records
        return [dict(zip(value.dtype.names, row, strict=True)) for row in value.tolist()]
    if kind == "c":
        raise TypeError("complex numbers are not supported")
    if not hasattr(value, "tolist"):
        raise TypeError(f"{_type_name(value)} is not supported")
    return value.tolist()


def _from_torch(value: Any) -> Any:
    tensor = value.detach()
    if tensor.is_complex():
        raise TypeError("complex numbers are not supported")
    return tensor.cpu().tolist()


def _from_pandas(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "DataFrame":
        return value.to_dict("records")
    if kind in ("NAType", "NaTType"):
        return None
    if kind == "Timestamp":
        return value.isoformat()
    if kind == "Timedelta":
        return value.to_pytimedelta()
    if hasattr(value, "tolist"):  # Series, Index, arrays
        return value.tolist()
    raise TypeError(f"{_type_name(value)} is not supported")


_encoder = msgspec.json.Encoder(enc_hook=to_encodable)
