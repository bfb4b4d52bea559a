"""Small models of TensorFlow, of the kinds that people make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

ROWS = load_iris().data[::30].tolist()


class Iris(tf.Module):
    """A softmax over four measures, with the weights of a fitted regression."""

    def __init__(self) -> None:
        super().__init__()
        fitted = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
        self.weights = tf.Variable(fitted.coef_.T.astype("float32"))
        self.bias = tf.Variable(fitted.intercept_.astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="measures")])
    def __call__(self, measures: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(measures @ self.weights + self.bias)

    @tf.function
    def logits(self, rows: tf.Tensor) -> tf.Tensor:
        return rows @ self.weights + self.bias


class Words(tf.Module):
    """Looks words up in a file, and scales numbers beside them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        path = folder / "words.txt"
        path.write_text("red\ngreen\nblue\n")
        lines = tf.lookup.TextFileInitializer(
            str(path),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(lines, -1)
        self.factor = tf.Variable(2.0)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None, 2], tf.float32, name="sizes")]
    )
    def look_up(self, words: tf.Tensor, sizes: tf.Tensor) -> dict[str, Any]:
        return {
            "place": self.table.lookup(words),
            "scaled": sizes * self.factor,
            "word": tf.strings.upper(words),
        }


class Centred(tf.Module):
    """Takes the mean of all rows from each."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return rows - tf.reduce_mean(rows, axis=0)


class Noisy(tf.Module):
    """Adds noise."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return rows + tf.random.normal(tf.shape(rows))


class Counter(tf.Module):
    """Answers with the number of the request."""

    def __init__(self) -> None:
        super().__init__()
        self.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return 0 * rows + self.count.assign_add(1.0)


class Product(tf.Module):
    """Multiplies two matrices: nothing here is a row."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([2, 2], tf.float64, name="a"),
            tf.TensorSpec([2, 2], tf.float64, name="b"),
        ]
    )
    def __call__(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"product": a @ b, "sum": tf.reduce_sum(a + b)}


def doubled() -> Any:
    """A bare function, with a variable that nothing else holds."""
    factor = tf.Variable(2.0)

    @tf.function
    def function(rows: tf.Tensor) -> tf.Tensor:
        return rows * factor

    return function


def saved(model: Any, folder: Path) -> Path:
    """The folder, with the model as a SavedModel in it."""
    tf.saved_model.save(model, str(folder))
    return folder


EXAMPLE = np.ones((3, 4), dtype=np.float32)
