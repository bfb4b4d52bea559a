"""The shared suite, over the kinds of graphs that people export."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphs
import pytest
from sklearn.datasets import load_iris

from truss.frameworks.onnx.adapter import OnnxFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class OnnxConformance(ServedAlone):
    framework = OnnxFramework()
    strangers = (np.zeros(3), "model.txt", Path("model.pt"), onnx.GraphProto())
    relative_tolerance = 1e-5

    def make_request(self) -> Any:
        return {"inputs": load_iris().data[::30].tolist()}


class TestNetwork(OwnEnvironment, OnnxConformance):
    def make_model(self) -> Any:
        return onnx_graphs.iris_network()


class TestClassifier(OnnxConformance):
    def make_model(self) -> Any:
        return onnx_graphs.iris_classifier()


class TestSeveralInputsAndOutputs(OnnxConformance):
    def make_model(self) -> Any:
        return onnx_graphs.two_by_two()

    def make_request(self) -> Any:
        return {"inputs": [{"word": 1, "scale": [2.0]}, {"word": 0, "scale": [0.5]}]}


class TestWholeMatrices(OnnxConformance):
    def make_model(self) -> Any:
        return onnx_graphs.whole_matrix()

    def make_request(self) -> Any:
        return {"a": [[1.0, 2.0], [3.0, 4.0]], "b": [[0.0, 1.0], [1.0, 0.0]]}


class TestPathWithDataBesideIt(OnnxConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory):
        self.path = tmp_path_factory.mktemp("exported") / "iris.onnx"
        onnx.save_model(
            onnx_graphs.iris_network(),
            self.path,
            save_as_external_data=True,
            location="iris.weights",
            size_threshold=0,
        )

    def make_model(self) -> Any:
        return self.path

    def test_recognises_its_model_and_no_other_object(self) -> None:
        """A path's class is not looked at: it says nothing of what lies there."""
        assert self.framework.recognises(self.path)
        assert self.framework.recognises(str(self.path))
        for stranger in self.strangers:
            assert not self.framework.recognises(stranger)
