"""The shared suite, over functions, programs and modules that learned something from real data."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen, nnx
from jax import export
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from truss.frameworks.jax.adapter import JaxFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

IRIS = load_iris()
ROWS = IRIS.data[::30].astype("float32")
DIGITS = load_digits().images.astype("float32")[..., None]


def predict(parameters: Any, rows: Any) -> Any:
    return jax.nn.softmax(rows @ parameters["weights"] + parameters["bias"])


def trained() -> dict[str, Any]:
    """Softmax regression on the irises, after a few steps."""
    labels = jax.nn.one_hot(IRIS.target, 3)
    parameters = {"weights": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}

    @jax.jit
    def step(parameters: Any) -> Any:
        loss = lambda given: -jnp.mean(labels * jnp.log(predict(given, IRIS.data)))  # noqa: E731
        return jax.tree.map(lambda value, slope: value - slope, parameters, jax.grad(loss)(parameters))

    for _ in range(20):
        parameters = step(parameters)
    return parameters


class Layers(nnx.Module):
    def __init__(self) -> None:
        random = nnx.Rngs(0)
        self.first = nnx.Linear(4, 16, rngs=random)
        self.norm = nnx.BatchNorm(16, rngs=random)
        self.dropout = nnx.Dropout(0.5, rngs=random)
        self.last = nnx.Linear(16, 3, rngs=random)

    def __call__(self, rows: Any) -> Any:
        return self.last(self.dropout(self.norm(jax.nn.relu(self.first(rows)))))


class Images(linen.Module):
    @linen.compact
    def __call__(self, images: Any) -> Any:
        seen = linen.relu(linen.Conv(4, (3, 3))(images))
        return {
            "scores": linen.Dense(10)(seen.reshape(seen.shape[0], -1)),
            "brightness": images.mean((1, 2, 3)),
        }


class JaxConformance(ServedAlone):
    framework = JaxFramework()
    strangers = (
        LogisticRegression(),
        torch.nn.Linear(1, 1),
        jnp.zeros(3),
        predict,
        partial(predict, {}),
        (predict, np.zeros((1, 4))),
    )
    relative_tolerance = 1e-4

    def make_request(self) -> Any:
        return {"inputs": ROWS.tolist()}


class TestFunction(OwnEnvironment, JaxConformance):
    def make_model(self) -> Any:
        return jax.jit(partial(predict, trained()))


class TestFunctionWithAnExample(JaxConformance):
    def make_model(self) -> Any:
        parameters = trained()
        return jax.jit(lambda rows: predict(parameters, rows)), ROWS


class TestFunctionOfSeveralInputs(JaxConformance):
    def make_model(self) -> Any:
        def both(scale: Any, length: Any, colour: Any) -> Any:
            return length.sum(axis=1) * scale[colour]

        return jax.jit(partial(both, jnp.arange(3.0))), (ROWS, np.arange(len(ROWS)) % 3)

    def make_request(self) -> Any:
        return {"inputs": [{"length": row, "colour": 2} for row in ROWS.tolist()]}


class TestProgram(JaxConformance):
    def make_model(self) -> Any:
        rows = jax.ShapeDtypeStruct(export.symbolic_shape("n, 4"), "float32")
        return export.export(jax.jit(partial(predict, trained())))(rows)


class TestNnxModule(JaxConformance):
    def make_model(self) -> Any:
        return Layers()


class TestLinenModule(JaxConformance):
    def make_model(self) -> Any:
        module = Images()
        return module, module.init(jax.random.key(0), DIGITS[:1]), DIGITS[:2]

    def make_request(self) -> Any:
        return {"inputs": DIGITS[:3].tolist()}

    def test_joined_rows_answer_as_separate_rows(self, tmp_path: Any) -> None:
        """An answer of several arrays: each is split by rows."""
        assert self._save(tmp_path).batching == "none"
