"""Read an ONNX graph: its operators, and the tensors that lie in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BY_WHOLE_TENSOR = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
"""Operators that scale all rows by the largest value among them, so that rows touch their neighbours."""

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators that draw at random."""


def operators(model: Any) -> frozenset[str]:
    """The operator types of a `ModelProto`, those of inner graphs and functions included."""
    return frozenset(node.op_type for node in _nodes(model))


def external_files(model: Any) -> tuple[str, ...]:
    """The files that tensors of a `ModelProto` lie in, relative to the model's folder, each once."""
    from onnx import TensorProto

    outside = (tensor for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL)
    return tuple(dict.fromkeys(_location(tensor) for tensor in outside))


def tensors(model: Any) -> Iterator[Any]:
    """Every `TensorProto` of a `ModelProto`: initializers, and the constants of nodes."""
    for graph in (model.graph, *_inner_graphs(_nodes(model))):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _location(tensor: Any) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _nodes(model: Any) -> Iterator[Any]:
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for graph in _inner_graphs([node]) for inner in graph.node]


def _inner_graphs(nodes: Any) -> Iterator[Any]:
    """The graphs that are attributes of these nodes, such as the body of a loop."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs
