"""The messages of the Open Inference Protocol's gRPC service, on the wire: the worker's and the front's.

Numbers of fields are those of the protocol's definition:
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from truss.config import Signature
from truss.errors import InvalidInputError, RouteNotFoundError
from truss.runtime.protocols import tensors, wire
from truss.runtime.protocols.open_inference import VERSION, Wanted, metadata, model_request, outputs_of

_CONTENTS = {
    "BOOL": 1,
    "INT8": 2,
    "INT16": 2,
    "INT32": 2,
    "INT64": 3,
    "UINT8": 4,
    "UINT16": 4,
    "UINT32": 4,
    "UINT64": 5,
    "FP32": 6,
    "FP64": 7,
    "BYTES": 8,
}
"""Datatype -> the field of a tensor's contents that holds its values."""


@dataclass
class _Tensor:
    name: str = ""
    datatype: str = ""
    shape: list[int] = field(default_factory=list)
    contents: memoryview | None = None


@dataclass
class _Request:
    model: str = ""
    version: str = ""
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: list[_Tensor] = field(default_factory=list)
    outputs: dict[str, bool] = field(default_factory=dict)
    raw: list[memoryview] = field(default_factory=list)


def decode(
    body: bytes | memoryview, names: Sequence[str], signature: Signature | None
) -> tuple[Any, Wanted, str]:
    """A `ModelInferRequest` as the model takes it, what it wants, and the model's name in it.

    Args:
        body: The message.
        names: What the model is called.
        signature: What it takes, if that is known.

    Raises:
        RouteNotFoundError: another model, or another version of it, is meant.
        MalformedBodyError, InvalidInputError: as over HTTP.
    """
    request = _parse(memoryview(body))
    if request.model not in names or request.version not in ("", VERSION):
        raise RouteNotFoundError(
            f"there is no model {request.model!r} of version {request.version or VERSION!r}",
            hint=f"it is called {' or '.join(names)}, and has the version {VERSION}",
        )
    if request.raw and len(request.raw) != len(request.inputs):
        raise InvalidInputError(
            f"{len(request.inputs)} inputs have {len(request.raw)} raw contents",
            where="raw_input_contents",
            hint="send one for each input, or `contents` for all",
        )
    arrays: dict[str, Any] = {}
    for position, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise InvalidInputError(
                f"two inputs are named {tensor.name!r}", where=tensor.name, hint="give each its own name"
            )
        if request.raw:
            arrays[tensor.name] = tensors.from_raw(
                tensor.name, tensor.datatype, tensor.shape, request.raw[position]
            )
        else:
            arrays[tensor.name] = _from_contents(tensor)
    wanted = Wanted(request.id, request.outputs, binary=True)
    return model_request(arrays, request.parameters, signature), wanted, request.model


def _parse(body: memoryview) -> _Request:
    request = _Request()
    for number, _, value in wire.fields(body):
        if number == 1:
            request.model = wire.text(value)
        elif number == 2:
            request.version = wire.text(value)
        elif number == 3:
            request.id = wire.text(value)
        elif number == 4:
            request.parameters.update([_parameter(wire.message(value))])
        elif number == 5:
            request.inputs.append(_tensor(wire.message(value)))
        elif number == 6:
            name = next(
                (wire.text(part) for key, _, part in wire.fields(wire.message(value)) if key == 1), ""
            )
            request.outputs[name] = True
        elif number == 7:
            request.raw.append(wire.message(value))
    return request


def _tensor(body: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, kind, value in wire.fields(body):
        if number == 1:
            tensor.name = wire.text(value)
        elif number == 2:
            tensor.datatype = wire.text(value)
        elif number == 3:
            tensor.shape += [wire.signed(length) for length in wire.integers(kind, value).tolist()]
        elif number == 5:
            tensor.contents = wire.message(value)
    return tensor


def _parameter(entry: memoryview) -> tuple[str, Any]:
    """A name and its value, which is one of a few kinds."""
    parts = {number: value for number, _, value in wire.fields(entry)}
    name = wire.text(parts.get(1, memoryview(b"")))
    result: Any = None
    for number, kind, value in wire.fields(wire.message(parts.get(2, memoryview(b"")))):
        if kind == wire.VARINT and isinstance(value, int):
            result = bool(value) if number == 1 else wire.signed(value) if number == 2 else value
        elif kind == wire.FIXED64:
            result = wire.double(wire.message(value))
        elif number == 3:
            result = wire.text(value)
    return name, result


def _from_contents(tensor: _Tensor) -> Any:
    """The array in a tensor's contents; those of floats lie in the message as they do in an array."""
    import numpy

    name, datatype, shape = tensor.name, tensor.datatype, tensor.shape
    place = _CONTENTS.get(datatype)
    if place is None:
        raise InvalidInputError(
            f"{name!r} is of datatype {datatype!r}, which has no contents", where=name, hint="send it raw"
        )
    found = [
        (kind, value)
        for number, kind, value in wire.fields(tensor.contents or memoryview(b""))
        if number == place
    ]
    if datatype == "BYTES":
        return tensors.from_values(name, datatype, shape, [_element(value) for _, value in found])
    if datatype in ("FP32", "FP64"):
        parts = [wire.message(value) for _, value in found]
        data = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
        return tensors.from_raw(name, datatype, shape, data)
    values = [wire.integers(kind, value) for kind, value in found]
    numbers: Any = numpy.concatenate(values) if values else numpy.zeros(0, "u8")
    as_signed = numbers.view("i8") if datatype.startswith("INT") else numbers
    array: Any = as_signed.astype(tensors.dtype_of(name, datatype))
    return tensors.from_raw(name, datatype, shape, memoryview(array.view("u1").data))


def _element(value: wire.Value) -> str | bytes:
    data = bytes(wire.message(value))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def encode(answer: Any, wanted: Wanted, model: str) -> bytes:
    """A `ModelInferResponse`; its tensors are raw.

    Raises:
        InvalidInputError, AnswerEncodingError: as over HTTP.
    """
    described: list[bytes | memoryview] = []
    raw: list[bytes | memoryview] = []
    for name, array in outputs_of(answer, list(wanted.outputs)).items():
        described += wire.bytes_field(5, _describe(name, tensors.datatype(array), array.shape))
        raw += wire.bytes_field(6, tensors.raw(array))
    head = [wire.bytes_field(1, model), wire.bytes_field(2, VERSION)]
    if wanted.id:
        head.append(wire.bytes_field(3, wanted.id))
    return wire.joined(*head, described, raw)


def _describe(name: str, datatype: str, shape: Sequence[int]) -> bytes:
    parts = [wire.bytes_field(1, name), wire.bytes_field(2, datatype)]
    return wire.joined(*parts, wire.bytes_field(3, wire.packed(shape)))


# --- the front's: health and information ---


def name_and_version(body: bytes) -> tuple[str, str]:
    """What a `ModelReadyRequest`, a `ModelMetadataRequest` or a `HealthCheckRequest` names.

    Raises:
        MalformedBodyError: the bytes are no message.
    """
    parts: Mapping[int, str] = {
        number: wire.text(value) for number, _, value in wire.fields(memoryview(body)) if number in (1, 2)
    }
    return parts.get(1, ""), parts.get(2, "")


def yes(value: bool) -> bytes:
    """The answer to whether something is live or ready."""
    return wire.number_field(1, int(value))


def server_metadata(version: str) -> bytes:
    """A `ServerMetadataResponse`."""
    return wire.joined(wire.bytes_field(1, "truss"), wire.bytes_field(2, version))


def model_metadata(name: str, signature: Signature | None) -> bytes:
    """A `ModelMetadataResponse`."""
    known = metadata(name, signature)
    parts = [wire.bytes_field(1, name), wire.bytes_field(2, VERSION), wire.bytes_field(3, known["platform"])]
    parts += [
        wire.bytes_field(4, _describe(tensor["name"], tensor["datatype"], tensor["shape"]))
        for tensor in known["inputs"]
    ]
    return wire.joined(*parts)


def stream_answer(answer: bytes | None, message: str = "") -> bytes:
    """A `ModelStreamInferResponse`: an answer, or why there is none."""
    if answer is None:
        return wire.joined(wire.bytes_field(1, message))
    return wire.joined(wire.bytes_field(2, answer))
