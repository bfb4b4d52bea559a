"""Package an ONNX network, and ask the packaged copy.

Run it with `python examples/onnx/network.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import truss


def doubled_sum() -> onnx.ModelProto:
    """A network that multiplies each row by a matrix."""
    weights = numpy_helper.from_array(np.array([[2.0], [2.0]], dtype=np.float32), "weights")
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 2])
    sums = helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["sums"])], "sum", [rows], [sums], [weights]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def main() -> None:
    model = doubled_sum()

    with TemporaryDirectory() as folder:
        request = {"inputs": [[1.0, 2.0], [3.0, 4.0]]}
        scaf = truss.create(model, Path(folder) / "network", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
