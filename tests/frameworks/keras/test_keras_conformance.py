"""The shared suite, over the kinds of Keras models; once more by `test_keras_backends` on each backend."""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported, which reads it once

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris

from truss.frameworks.keras.adapter import KerasFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class KerasConformance(ServedAlone):
    framework = KerasFramework()
    strangers = (np.zeros(3), keras.layers.Dense(1), keras.Input((2,)))
    relative_tolerance = 1e-5

    @pytest.fixture(autouse=True)
    def seed(self):
        keras.utils.set_random_seed(0)

    def make_request(self) -> Any:
        return {"inputs": load_iris().data[::30].tolist()}


class TestTrainedSequential(OwnEnvironment, KerasConformance):
    def make_model(self) -> Any:
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(8, activation="relu"),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(*load_iris(return_X_y=True), epochs=2, verbose=0)
        return model


class TestSeveralInputsAndOutputs(KerasConformance):
    def make_model(self) -> Any:
        size = keras.Input((2,), name="size")
        colour = keras.Input((), name="colour", dtype="int32")
        joined = keras.layers.Add()([keras.layers.Dense(3)(size), keras.layers.Embedding(4, 3)(colour)])
        outputs = [keras.layers.Dense(2, name="kind")(joined), keras.layers.Dense(1, name="price")(joined)]
        return keras.Model([size, colour], outputs)

    def make_request(self) -> Any:
        return {"inputs": [{"size": [1.0, 2.0], "colour": 3}, {"size": [0.5, 0.0], "colour": 1}]}


class TestInputsAndOutputsByName(KerasConformance):
    def make_model(self) -> Any:
        first, second = keras.Input((2,), name="a"), keras.Input((2,), name="b")
        product = keras.layers.Multiply()([first, second])
        return keras.Model(
            {"a": first, "b": second}, {"product": product, "sum": keras.layers.Dense(1)(product)}
        )

    def make_request(self) -> Any:
        return {"inputs": [{"a": [1.0, 2.0], "b": [3.0, 4.0]}, {"b": [0.5, 1.0], "a": [2.0, 2.0]}]}


# Run as a notebook cell is: no other process can import what it defines.
CELL = """
import keras
from typing import Any


class Scale(keras.layers.Layer):
    '''Multiplies by a weight of its own.'''

    def __init__(self, start: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape: Any) -> None:
        self.factor = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(self.start))

    def call(self, rows: Any) -> Any:
        return rows * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


class Network(keras.Model):
    '''Written as a class of its own, with a layer of its own inside.'''

    def __init__(self, width: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.scale = Scale(0.5)
        self.dense = keras.layers.Dense(width)

    def call(self, rows: Any) -> Any:
        return self.dense(self.scale(rows))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}
"""


def run_cell() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(CELL, names)
    return names


class TestModelOfOnesOwn(KerasConformance):
    def make_model(self) -> Any:
        model = run_cell()["Network"]()
        model(np.zeros((1, 4), dtype="float32"))
        return model
