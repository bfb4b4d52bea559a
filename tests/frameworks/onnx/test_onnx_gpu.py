"""On a machine with a GPU and ONNX Runtime's build for it: the graph runs there."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx_graphs import iris_network
from sklearn.datasets import load_iris

import truss
from truss.model.loader import load_model
from truss.testing.server import running_server

PROVIDER = "CUDAExecutionProvider"
ROWS = load_iris().data[::30].astype("float32").tolist()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        PROVIDER not in onnxruntime.get_available_providers(),
        reason="ONNX Runtime is installed in its build for CPUs: `pip install onnxruntime-gpu`",
    ),
]


def on_the_cpu() -> np.ndarray:
    session = onnxruntime.InferenceSession(
        iris_network().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(None, {"features": np.asarray(ROWS, "float32")})
    return answer


def test_the_session_is_on_the_gpu_and_answers_as_the_cpu_does(tmp_path: Path) -> None:
    truss.create(iris_network(), tmp_path / "here")
    copy = load_model(tmp_path / "here", truss.load(tmp_path / "here").spec.config)
    # The first is the one that the graph is given to; ONNX Runtime leaves out what cannot start.
    assert copy.model.session.get_providers()[0] == PROVIDER
    answer = copy.predict({"inputs": ROWS})["predictions"]
    np.testing.assert_allclose(answer, on_the_cpu(), rtol=1e-3, atol=1e-5)


def test_over_http(tmp_path: Path) -> None:
    truss.create(iris_network(), tmp_path / "here", examples={"inputs": ROWS})
    with running_server(tmp_path / "here") as server:
        answer = server.predict({"inputs": ROWS}).json()["predictions"]
    np.testing.assert_allclose(answer, on_the_cpu(), rtol=1e-3, atol=1e-5)
