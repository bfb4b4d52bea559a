"""The shared suite, over the kinds of objects that people have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_models as models

from truss.frameworks.files import open_model
from truss.frameworks.tensorflow.adapter import TensorflowFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class TensorflowConformance(ServedAlone):
    framework = TensorflowFramework()
    strangers = (np.zeros(3), tf.constant(1.0), tf.Variable(1.0), tf.TensorSpec([None]), (1, "a"))
    relative_tolerance = 1e-5

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory):
        self.source = tmp_path_factory.mktemp("source")

    def make_request(self) -> Any:
        return {"inputs": models.ROWS}

    @pytest.mark.thorough  # TensorFlow takes ten seconds to import; `TestModule` is served by another process
    def test_fresh_process_answers_as_the_live_object(self, tmp_path: Path) -> None:
        """As for every framework."""
        super().test_fresh_process_answers_as_the_live_object(tmp_path)


class TestModule(OwnEnvironment, TensorflowConformance):
    def make_model(self) -> Any:
        return models.Iris()


class TestMethodWithExample(TensorflowConformance):
    def make_model(self) -> Any:
        self.module = models.Iris()
        return self.module.logits, models.EXAMPLE

    def test_recognises_its_model_and_no_other_object(self) -> None:
        """A tuple's class is not looked at: it says nothing of what is in it."""
        model = self.make_model()
        assert self.framework.recognises(model)
        assert not self.framework.recognises((models.EXAMPLE, model[0]))


class TestFunctionAlone(TensorflowConformance):
    def make_model(self) -> Any:
        self.kept = models.doubled()
        return self.kept.get_concrete_function(tf.TensorSpec([None, 4], tf.float32))


class TestLoaded(TensorflowConformance):
    def make_model(self) -> Any:
        self.loaded = tf.saved_model.load(models.saved(models.Iris(), self.source))
        return self.loaded


class TestFolder(TensorflowConformance):
    def make_model(self) -> Any:
        return open_model(models.saved(models.Iris(), self.source))


class TestWordsAndSizes(TensorflowConformance):
    def make_model(self) -> Any:
        return models.Words(self.source)

    def make_request(self) -> Any:
        return {"inputs": [{"words": "red", "sizes": [1.0, 2.0]}, {"words": "pink", "sizes": [0.5, 0.0]}]}


class TestWholeMatrices(TensorflowConformance):
    def make_model(self) -> Any:
        return models.Product()

    def make_request(self) -> Any:
        return {"a": [[1.0, 2.0], [3.0, 4.0]], "b": [[0.0, 1.0], [1.0, 0.0]]}
