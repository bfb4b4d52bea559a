"""Package a JAX function with its parameters, and ask the packaged copy.

Run it with `python examples/jax/classifier.py`.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp

import truss


def predict(parameters: dict[str, jax.Array], rows: jax.Array) -> jax.Array:
    """One linear layer, and the best class of each row."""
    return jnp.argmax(rows @ parameters["weights"] + parameters["bias"], axis=1)


def main() -> None:
    parameters = {"weights": jnp.eye(3), "bias": jnp.zeros(3)}
    model = jax.jit(partial(predict, parameters))

    with TemporaryDirectory() as folder:
        request = {"inputs": [[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]]}
        scaf = truss.create(model, Path(folder) / "classifier", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
