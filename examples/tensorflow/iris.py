"""Fit a softmax over flowers' measures with TensorFlow, package it, and ask the packaged copy.

Run it with `python examples/tensorflow/iris.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf
from sklearn.datasets import load_iris

import truss


class Softmax(tf.Module):
    """Probabilities of classes, from as many features."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.zeros([features, classes]))
        self.bias = tf.Variable(tf.zeros([classes]))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="measures")])
    def __call__(self, measures: tf.Tensor) -> dict[str, tf.Tensor]:
        """The likeliest class of each row, and the probabilities of all."""
        probabilities = tf.nn.softmax(measures @ self.weights + self.bias)
        return {"species": tf.argmax(probabilities, axis=1), "probabilities": probabilities}


def fitted() -> Softmax:
    """The model after some steps of gradient descent."""
    flowers = load_iris()
    measures = tf.constant(flowers.data, tf.float32)
    model = Softmax(4, 3)
    for _ in range(200):
        with tf.GradientTape() as tape:
            logits = measures @ model.weights + model.bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=flowers.target, logits=logits)
            loss = tf.reduce_mean(losses)
        for variable, gradient in zip(model.variables, tape.gradient(loss, model.variables), strict=True):
            variable.assign_sub(0.1 * gradient)
    return model


def main() -> None:
    with TemporaryDirectory() as folder:
        request = {"inputs": load_iris().data[[0, 75, 149]].tolist()}
        scaf = truss.create(fitted(), Path(folder) / "iris", examples=[request])
        answer = scaf.server_predict(request)
        print([row["species"] for row in answer["predictions"]])


if __name__ == "__main__":
    main()
