"""Small ONNX models that the tests of a folder share."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def value(name: str, shape: list[Any], kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any] | None = None
) -> Any:
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def iris_network() -> Any:
    """One input, one output: a linear layer with softmax, with weights trained on iris."""
    trained = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    weights = {
        "weights": trained.coef_.astype("float32").T.copy(),
        "bias": trained.intercept_.astype("float32"),
    }
    nodes = [
        helper.make_node("Gemm", ["features", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["answer"], axis=1),
    ]
    return model(nodes, [value("features", ["batch", 4])], [value("answer", ["batch", 3])], weights)


def iris_classifier() -> Any:
    """Two outputs as converters of classifiers name them: classes as texts, and a mapping per row."""
    iris = load_iris()
    trained = LogisticRegression(max_iter=500).fit(iris.data, iris.target_names[iris.target])
    labels = [name.encode() for name in trained.classes_]
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["features"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            classlabels_strings=labels,
            coefficients=trained.coef_.astype("float32").ravel(),
            intercepts=trained.intercept_.astype("float32"),
            post_transform="SOFTMAX",
        ),
        helper.make_node(
            "ZipMap", ["raw"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=labels
        ),
    ]
    mapping = helper.make_sequence_type_proto(
        helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, None))
    )
    outputs = [value("label", [None], STRING), helper.make_value_info("probabilities", mapping)]
    return model(nodes, [value("features", [None, 4])], outputs)


def two_by_two() -> Any:
    """Two inputs of different types and two outputs, all by row."""
    nodes = [
        helper.make_node("Gather", ["table", "word"], ["vector"]),
        helper.make_node("Mul", ["vector", "scale"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "axes"], ["total"], keepdims=0),
    ]
    inputs = [value("word", ["n"], INT64), value("scale", ["n", 1])]
    outputs = [value("scaled", ["n", 2]), value("total", ["n"])]
    table = np.array([[1.0, 2.0], [3.0, 4.0]], dtype="float32")
    return model(nodes, inputs, outputs, {"table": table, "axes": np.array([1])})


def whole_matrix() -> Any:
    """No rows: the product of two matrices of fixed shape, and its sum."""
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
    ]
    return model(
        nodes, [value("a", [2, 2]), value("b", [2, 2])], [value("product", [2, 2]), value("sum", [])]
    )


def centred() -> Any:
    """The first axis may have any length, and each row's answer depends on the others."""
    nodes = [
        helper.make_node("ReduceMean", ["rows", "axes"], ["mean"]),
        helper.make_node("Sub", ["rows", "mean"], ["answer"]),
    ]
    return model(nodes, [value("rows", ["n", 2])], [value("answer", ["n", 2])], {"axes": np.array([0])})


def quantized() -> Any:
    """A layer quantized when it runs, with one scale for all rows."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["rows"], ["whole", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["answer"]),
    ]
    return model(nodes, [value("rows", ["n", 2])], [value("answer", ["n", 2])])


def random() -> Any:
    """Adds noise, differently each time."""
    nodes = [
        helper.make_node("RandomNormalLike", ["rows"], ["noise"]),
        helper.make_node("Add", ["rows", "noise"], ["answer"]),
    ]
    return model(nodes, [value("rows", ["n", 2])], [value("answer", ["n", 2])])


def wide() -> Any:
    """A layer with more weights than the smallest size that stays inside the graph's file."""
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
    return model(
        [helper.make_node("MatMul", ["rows", "weights"], ["answer"])],
        [value("rows", ["n", 64])],
        [value("answer", ["n", 64])],
        {"weights": weights},
    )
