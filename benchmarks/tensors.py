"""Tensors as bytes, the ways that servers take them."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import msgpack
import numpy as np


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
