"""The Open Inference Protocol, version 2: requests to what models take, and answers to named outputs.

Over HTTP a body is JSON, and with the binary tensor extension the tensors' own bytes behind it; the header
`Inference-Header-Content-Length` says where the JSON ends.
https://github.com/kserve/open-inference-protocol, and the extension:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from truss.config import Signature
from truss.errors import InvalidInputError, MalformedBodyError
from truss.model.tables import rows_of
from truss.runtime.protocols import envelope, tensors

VERSION = "1"
"""A Truss has one version of its model: this is what it is called."""

_OWN_PARAMETERS = frozenset({"binary_data_output", "classification", "priority", "timeout"}) | {
    f"sequence_{part}" for part in ("id", "start", "end")
}


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = msgspec.UNSET


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


@dataclass(frozen=True)
class Wanted:
    """What a request says of its answer.

    Attributes:
        id: The request's id, which the answer repeats.
        outputs: The outputs to give, and whether each as raw bytes; empty for all.
        binary: Whether outputs that are not named there are given as raw bytes.
    """

    id: str = ""
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False


def decode(
    body: bytes | memoryview, json_size: int | None, signature: Signature | None
) -> tuple[Any, Wanted]:
    """A request as the model takes it, and what it wants.

    Args:
        body: The body.
        json_size: How many bytes of it are JSON; None for all.
        signature: What the model takes, if that is known.

    Raises:
        MalformedBodyError: the JSON is none, or not of this protocol's form, or ends beyond the body.
        InvalidInputError: a tensor's bytes, datatype and shape do not belong together.
    """
    view = memoryview(body)
    if json_size is None:
        json_size = len(view)
    if json_size > len(view):
        said = "no number" if json_size == envelope.NO_SIZE else json_size
        raise MalformedBodyError(
            f"Inference-Header-Content-Length is {said}; the body has {len(view)} bytes",
            hint="it is the number of bytes of JSON before the tensors' own",
        )
    request = _parse(view[:json_size])
    arrays = _arrays(request.inputs, view[json_size:])
    parameters = request.parameters or {}
    binary = parameters.get("binary_data_output") is True
    outputs = {
        output.name: (output.parameters or {}).get("binary_data", binary) is True
        for output in request.outputs or ()
    }
    return model_request(arrays, parameters, signature), Wanted(request.id, outputs, binary)


def _parse(head: memoryview) -> _Request:
    try:
        return _decoder.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBodyError(
            f"the body is not a request of the Open Inference Protocol: {error}",
            hint='send {"inputs": [{"name": ..., "shape": [...], "datatype": "FP32", "data": [...]}]}',
        ) from error


def _arrays(inputs: Sequence[_Tensor], data: memoryview) -> dict[str, Any]:
    """The tensors by name; those without values take the next of the bytes behind the JSON."""
    arrays: dict[str, Any] = {}
    position = 0
    for tensor in inputs:
        if tensor.name in arrays:
            raise InvalidInputError(
                f"two inputs are named {tensor.name!r}", where=tensor.name, hint="give each its own name"
            )
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            arrays[tensor.name] = _given(tensor)
            continue
        if type(size) is not int or size < 0 or position + size > len(data):
            raise InvalidInputError(
                f"{tensor.name!r} has a binary_data_size of {size!r}; {len(data) - position} bytes are left",
                where=tensor.name,
                hint="it is the number of the tensor's bytes behind the JSON",
            )
        here = data[position : position + size]
        arrays[tensor.name] = tensors.from_raw(tensor.name, tensor.datatype, tensor.shape, here)
        position += size
    if position != len(data):
        raise MalformedBodyError(
            f"{len(data) - position} bytes follow the last tensor",
            hint="Inference-Header-Content-Length and binary_data_size add up to the length of the body",
        )
    return arrays


def _given(tensor: _Tensor) -> Any:
    if tensor.data is msgspec.UNSET:
        raise InvalidInputError(
            f"{tensor.name!r} has no data",
            where=tensor.name,
            hint="send `data`, or the parameter `binary_data_size` and the bytes behind the JSON",
        )
    return tensors.from_values(tensor.name, tensor.datatype, tensor.shape, tensor.data)


def model_request(
    arrays: Mapping[str, Any], parameters: Mapping[str, Any], signature: Signature | None
) -> dict[str, Any]:
    """What the model is asked.

    A single tensor is its `inputs`, whatever its name. Several are rows of records where the signature
    names the model's inputs, and keys of the request otherwise. The request's parameters stand beside them.

    Raises:
        InvalidInputError: there is no tensor, or those of one request have unequal numbers of rows.
    """
    rest = {name: value for name, value in parameters.items() if name not in _OWN_PARAMETERS}
    if not arrays:
        raise InvalidInputError("the request has no tensor", where="inputs", hint="send one input or more")
    if len(arrays) == 1:
        (array,) = arrays.values()
        if not isinstance(array, list) and getattr(array, "ndim", 1) == 0:
            array = array.reshape(1) if hasattr(array, "reshape") else [array]
        return {**rest, "inputs": [array] if isinstance(array, (str, bytes)) else array}
    if signature:
        return {**rest, "inputs": _records(arrays, signature)}
    return {**rest, **arrays}


def _has_rows(array: Any) -> bool:
    """Whether a tensor has a dimension: one of texts that has none is a text."""
    return isinstance(array, list) or getattr(array, "ndim", 0) > 0


def _records(arrays: Mapping[str, Any], signature: Signature) -> list[Any]:
    """A record per row, whose values are views of the tensors, or cells where the model takes a table."""
    if not all(_has_rows(array) for array in arrays.values()):
        raise InvalidInputError("a tensor without rows is among several", hint="give each one entry per row")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name!r}: {count}" for name, count in counts.items())
        raise InvalidInputError(
            f"the tensors have unequal numbers of rows ({listed})", where="inputs", hint="send whole rows"
        )
    if signature.columns:  # rows of Python values, as the table's other forms give them
        columns = [_cells(array) for array in arrays.values()]
        return rows_of(list(arrays), list(zip(*columns, strict=True)), signature)
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def _cells(array: Any) -> list[Any]:
    if isinstance(array, list):
        return [item[0] if isinstance(item, list) and len(item) == 1 else item for item in array]
    flat = array.reshape(len(array)) if array.size == len(array) else array
    values: list[Any] = flat.tolist()
    return values


def outputs_of(answer: Any, wanted: Sequence[str]) -> dict[str, Any]:
    """The model's answer as named arrays: a mapping by its keys, anything else as `predictions`.

    Args:
        answer: What the model returned.
        wanted: The outputs to give, in this order; empty for all.

    Raises:
        InvalidInputError: one that was wanted is not there.
        AnswerEncodingError: one has no form here.
    """
    named = answer if isinstance(answer, Mapping) else {"predictions": answer}
    outputs = {str(name): value for name, value in named.items()}
    for name in wanted:
        if name not in outputs:
            raise InvalidInputError(
                f"the model has no output {name!r}", where="outputs", hint=f"it gives {', '.join(outputs)}"
            )
    return {name: tensors.as_array(name, outputs[name]) for name in wanted or outputs}


def encode(answer: Any, wanted: Wanted, model_name: str) -> tuple[list[bytes | memoryview], int | None]:
    """The parts of a body, and how many bytes of it are JSON; None for all.

    Raises:
        InvalidInputError, AnswerEncodingError: as `outputs_of`.
    """
    parts: list[bytes | memoryview] = []
    described = []
    for name, array in outputs_of(answer, list(wanted.outputs)).items():
        output: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": tensors.datatype(array),
        }
        if wanted.outputs.get(name, wanted.binary):
            parts.append(tensors.raw(array))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = tensors.values(array)
        described.append(output)
    head = {"model_name": model_name, "model_version": VERSION, "outputs": described}
    if wanted.id:
        head["id"] = wanted.id
    json = _encoder.encode(head)
    return [json, *parts], len(json) if parts else None


def metadata(name: str, signature: Signature | None) -> dict[str, Any]:
    """What a model takes, as far as its signature says; outputs are not known beforehand."""
    inputs: list[dict[str, Any]] = []
    if signature is not None:
        for tensor in signature.tensors:
            shape = [-1 if length is None else length for length in tensor.shape or [None]]
            datatype = tensors.datatype_of(tensor.dtype)
            inputs.append({"name": tensor.name or "inputs", "datatype": datatype, "shape": shape})
        for column in signature.columns:
            datatype = tensors.datatype_of(column.dtype)
            inputs.append({"name": column.name, "datatype": datatype, "shape": [-1, 1]})
    return {"name": name, "versions": [VERSION], "platform": "truss", "inputs": inputs, "outputs": []}


_decoder = msgspec.json.Decoder(_Request)
_encoder = msgspec.json.Encoder()
