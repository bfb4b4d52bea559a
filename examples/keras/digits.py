"""Train a small Keras network on digits, package it, and ask the packaged copy.

Run it with `python examples/keras/digits.py`.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras  # the backend is read from the variable above
from sklearn.datasets import load_digits

import truss


def main() -> None:
    keras.utils.set_random_seed(0)
    images = load_digits()
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images.data / 16, images.target, epochs=3, verbose=0)

    with TemporaryDirectory() as folder:
        request = {"inputs": (images.data[:2] / 16).tolist()}
        scaf = truss.create(model, Path(folder) / "digits", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
