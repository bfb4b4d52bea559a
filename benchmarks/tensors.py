"""Tensors as bytes, the ways that servers take them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any

import msgpack
import numpy as np

from truss.runtime.protocols import wire


def raw(item: Any) -> bytes:
    """The float32 values and nothing else; the server knows the shape."""
    return np.asarray([item], dtype=np.float32).tobytes()


def as_base64(item: Any) -> str:
    """The same, as text that fits into JSON."""
    return base64.b64encode(raw(item)).decode()


def packed(item: Any) -> bytes:
    """`{"inputs": tensor}` in msgpack, the tensor as msgpack-numpy writes one."""
    tensor = np.asarray([item], dtype=np.float32)
    array = {
        b"nd": True,
        b"type": tensor.dtype.str,
        b"kind": b"",
        b"shape": tensor.shape,
        b"data": tensor.tobytes(),
    }
    return bytes(msgpack.packb({"inputs": array}))


INFER_CALL = "/inference.GRPCInferenceService/ModelInfer"
"""The method of the Open Inference Protocol over gRPC."""

_SHAPE = [1, 3, 224, 224]
INFERENCE_HEAD = json.dumps(
    {
        "inputs": [
            {
                "name": "inputs",
                "shape": _SHAPE,
                "datatype": "FP32",
                "parameters": {"binary_data_size": 4 * math.prod(_SHAPE)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
).encode()
"""The JSON of a request of the Open Inference Protocol with one image behind it."""


def inference(item: Any) -> bytes:
    """The image behind that JSON."""
    return INFERENCE_HEAD + raw(item)


def first_inferred(body: bytes) -> Any:
    """The first row of the output in such an answer, whose bytes stand at its end."""
    head, _ = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    (output,) = head["outputs"]
    data = body[-output["parameters"]["binary_data_size"] :]
    kind = {"FP32": "<f4", "FP64": "<f8"}[output["datatype"]]
    return np.frombuffer(data, kind).reshape(output["shape"])[0].tolist()


def raw_message(item: Any) -> bytes:
    """A `ModelInferRequest` of the protocol's gRPC with one image in `raw_input_contents`."""
    described = wire.joined(
        wire.bytes_field(1, "inputs"),
        wire.bytes_field(2, "FP32"),
        wire.bytes_field(3, wire.packed(_SHAPE)),
    )
    return _request(described, wire.bytes_field(7, raw(item)))


def bytes_message(item: Any) -> bytes:
    """The same with the image's bytes as the one element of a tensor of the datatype BYTES."""
    described = wire.joined(
        wire.bytes_field(1, "inputs"),
        wire.bytes_field(2, "BYTES"),
        wire.bytes_field(3, wire.packed([1, 1])),
        wire.bytes_field(5, wire.joined(wire.bytes_field(8, raw(item)))),
    )
    return _request(described)


def _request(tensor: bytes, *more: Iterable[bytes | memoryview]) -> bytes:
    return wire.joined(wire.bytes_field(1, "model"), wire.bytes_field(5, tensor), *more)


def first_in_message(body: bytes) -> Any:
    """The first row of the output in a `ModelInferResponse`, raw or in its `fp64_contents`."""
    answer = _fields(memoryview(body))
    output = _fields(answer[5])
    data = answer[6] if 6 in answer else _fields(output[5])[7]
    kind = {b"FP32": "<f4", b"FP64": "<f8"}[bytes(output[2])]
    shape = wire.integers(wire.BYTES, output[3]).tolist()
    return np.frombuffer(data, kind).reshape(shape)[0].tolist()


def _fields(message: memoryview) -> dict[int, Any]:
    return {number: value for number, _, value in wire.fields(message)}


def first_packed_prediction(body: bytes) -> Any:
    """The first of the predictions in a msgpack answer, as a list."""
    predictions = msgpack.unpackb(body, object_hook=_array, raw=False, strict_map_key=False)["predictions"]
    return np.asarray(predictions[0]).tolist()


def _array(value: dict[Any, Any]) -> Any:
    fields = {key.decode() if isinstance(key, bytes) else key: content for key, content in value.items()}
    if not fields.get("nd"):
        return fields
    return np.frombuffer(fields["data"], dtype=fields["type"]).reshape(fields["shape"])


def first_json_prediction(body: bytes) -> Any:
    """The first of the predictions in a JSON answer."""
    return json.loads(body)["predictions"][0]
