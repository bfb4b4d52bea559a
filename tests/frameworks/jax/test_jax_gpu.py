"""On a machine with a GPU and JAX's build for it: weights and answers are there."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import truss
from truss.model.loader import load_model
from truss.testing.server import running_server

pytestmark = pytest.mark.gpu

ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
WEIGHTS = {"weights": np.arange(6, dtype="float32").reshape(3, 2), "bias": np.ones(2, "float32")}


@pytest.fixture(autouse=True)
def _gpu() -> None:
    if jax.default_backend() != "gpu":
        pytest.skip("JAX sees no GPU here: `pip install 'jax[cuda12]'`")


def linear(parameters: Any, rows: Any) -> Any:
    return rows @ parameters["weights"] + parameters["bias"]


def function() -> Any:
    return jax.jit(partial(linear, jax.tree.map(jnp.asarray, WEIGHTS)))


def module() -> Any:
    layer = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    layer.kernel[...] = WEIGHTS["weights"]
    layer.bias[...] = WEIGHTS["bias"]
    return layer


@pytest.mark.parametrize("build", [function, module])
def test_weights_and_answers_are_on_the_gpu(build: Any, tmp_path: Path) -> None:
    truss.create(build(), tmp_path / "here")
    copy = load_model(tmp_path / "here", truss.load(tmp_path / "here").spec.config)
    assert {weight.device.platform for weight in copy.model.weights.values()} == {"gpu"}
    seen: list[str] = []
    compiled = copy.model.function

    def noted(*args: Any, **kwargs: Any) -> Any:
        answer = compiled(*args, **kwargs)
        seen.extend(array.device.platform for array in jax.tree.leaves(answer))
        return answer

    copy.model.function = noted
    answer = copy.predict({"inputs": ROWS})["predictions"]
    assert seen == ["gpu"]
    np.testing.assert_allclose(answer, linear(WEIGHTS, np.asarray(ROWS)), rtol=1e-3)


def test_over_http(tmp_path: Path) -> None:
    truss.create(function(), tmp_path / "here", examples={"inputs": ROWS})
    with running_server(tmp_path / "here") as server:
        answer = server.predict({"inputs": ROWS}).json()["predictions"]
    np.testing.assert_allclose(answer, linear(WEIGHTS, np.asarray(ROWS)), rtol=1e-3)
