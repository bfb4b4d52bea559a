"""What the JAX adapter answers beside JAX itself, what it refuses and says."""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import export

import truss
from truss.errors import PackagingError
from truss.frameworks.jax import model_class
from truss.frameworks.jax.adapter import JaxFramework
from truss.frameworks.registry import framework_for
from truss.testing.server import running_server

FRAMEWORK = JaxFramework()
ROWS = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
PARAMETERS = {
    "weights": jnp.asarray(np.random.default_rng(1).standard_normal((3, 2)), jnp.float32),
    "bias": jnp.ones(2),
}


def linear(parameters: Any, rows: Any) -> Any:
    return rows @ parameters["weights"] + parameters["bias"]


class Pair(NamedTuple):
    one: Any
    two: Any


class Dense(linen.Module):
    @linen.compact
    def __call__(self, rows: Any) -> Any:
        return linen.Dense(2)(rows)


class Dropping(nnx.Module):
    def __init__(self) -> None:
        self.layer = nnx.Linear(3, 8, rngs=nnx.Rngs(0))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))

    def __call__(self, rows: Any) -> Any:
        return self.dropout(self.layer(rows))


def packaged(model: Any, folder: Path) -> Any:
    saved = FRAMEWORK.save(model, folder)
    copy = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


def answer(model: Any, folder: Path, inputs: Any = ROWS) -> Any:
    """The packaged copy's predictions, which are the live object's too."""
    given = inputs.tolist() if isinstance(inputs, np.ndarray) else inputs
    predictions = packaged(model, folder).predict({"inputs": given})["predictions"]
    live = FRAMEWORK.answer(model, {"inputs": given})["predictions"]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), predictions, live)
    return predictions


def test_objects_of_jax_find_this_framework():
    module = Dense()
    variables = module.init(jax.random.key(0), ROWS)
    program = export.export(jax.jit(linear))(PARAMETERS, ROWS)
    models = [
        jax.jit(linear),
        (jax.jit(linear), ROWS),
        program,
        Dropping(),
        module,
        module.bind(variables),
        (module, variables),
    ]
    assert [framework_for(model).name for model in models] == ["jax"] * len(models)


class TestFunctions:
    def test_weights_are_a_file_of_their_own(self, tmp_path):
        parameters = {"weights": jnp.ones((3, 100_000)), "bias": jnp.zeros(100_000)}
        saved = FRAMEWORK.save(jax.jit(partial(linear, parameters)), tmp_path)
        assert saved.requirements == ("jax", "flatbuffers", "numpy", "safetensors")
        assert (tmp_path / "model" / "weights.safetensors").stat().st_size > 1_600_000
        assert (tmp_path / "model" / "program.jax").stat().st_size < 20_000

    def test_what_a_function_closes_over_is_in_the_program(self, tmp_path):
        model = (jax.jit(lambda rows: linear(PARAMETERS, rows)), ROWS)
        assert FRAMEWORK.save(model, tmp_path).requirements == ("jax", "flatbuffers", "numpy")
        (tmp_path / "again").mkdir()
        np.testing.assert_allclose(answer(model, tmp_path / "again"), linear(PARAMETERS, ROWS), rtol=1e-5)

    def test_arguments_beside_the_weights_stay_as_they_were_given(self, tmp_path):
        def powered(parameters: Any, rows: Any, *, power: int, key: Any) -> Any:
            return linear(parameters, rows) ** power + jax.random.normal(key, (2,))

        model = jax.jit(partial(powered, PARAMETERS, power=2, key=jax.random.key(3)))
        expected = powered(PARAMETERS, ROWS, power=2, key=jax.random.key(3))
        np.testing.assert_allclose(answer(model, tmp_path), expected, rtol=1e-5)

    def test_several_inputs_are_given_by_name(self, tmp_path):
        def both(length: Any, colour: Any) -> Any:
            return {"sum": length.sum(axis=1) + colour, "colour": colour}

        example = (ROWS, np.arange(5))
        records = [{"length": row, "colour": index} for index, row in enumerate(ROWS.tolist())]
        (tmp_path / "columns").mkdir()
        (tmp_path / "records").mkdir()
        predictions = answer((jax.jit(both), example), tmp_path / "records", records)
        np.testing.assert_allclose(predictions["sum"], ROWS.sum(axis=1) + np.arange(5), rtol=1e-5)
        columns = {"length": ROWS.tolist(), "colour": list(range(5))}
        again = answer((jax.jit(both), example), tmp_path / "columns", columns)
        np.testing.assert_array_equal(again["colour"], np.arange(5))

    def test_one_argument_that_is_a_dict_is_given_by_its_keys(self, tmp_path):
        model = jax.jit(lambda batch: batch["a"].sum(axis=1) * batch["b"])
        example = {"a": ROWS, "b": np.ones(5, "float32")}
        predictions = answer((model, example), tmp_path, [{"a": [1.0, 2.0, 3.0], "b": 2.0}])
        assert predictions.tolist() == [12.0]

    def test_numbers_that_numpy_lacks_are_answered_as_single_precision(self, tmp_path):
        model = (jax.jit(lambda rows: rows.astype(jnp.bfloat16)), ROWS)
        predictions = answer(model, tmp_path)
        assert predictions.dtype == np.float32
        np.testing.assert_allclose(predictions, ROWS, rtol=1e-2)

    def test_weights_that_numpy_lacks_are_kept(self, tmp_path):
        weights = jax.tree.map(lambda array: array.astype(jnp.bfloat16), PARAMETERS)
        copy = packaged(jax.jit(partial(linear, weights)), tmp_path)
        assert {array.dtype for array in copy.weights.values()} == {jnp.dtype(jnp.bfloat16)}
        assert copy.predict({"inputs": ROWS.tolist()})["predictions"].shape == (5, 2)


class TestWidths:
    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda weights, rows: rows * 2, "does not follow"),
            (lambda weights, rows: rows.reshape(rows.shape[0], 2, 5) @ weights, "no rows of values"),
            (lambda weights, rows: rows.sum(axis=1) * weights.sum(), r"\[2, 3\] values"),
        ],
        ids=["any", "none", "several"],
    )
    def test_what_does_not_follow_from_weights_is_asked_for(self, function, message, tmp_path):
        with pytest.raises(PackagingError, match=message) as caught:
            FRAMEWORK.save(jax.jit(partial(function, jnp.ones((3, 2)))), tmp_path)
        assert "(model, example)" in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_function_without_weights_asks_for_an_example(self, tmp_path):
        with pytest.raises(PackagingError, match="does not follow from its weights"):
            FRAMEWORK.save(jax.jit(lambda rows: rows + 1), tmp_path)

    @pytest.mark.parametrize("example", ["text", [["a"]], 3.0, (), {}], ids=repr)
    def test_an_example_that_is_no_rows_is_refused(self, example, tmp_path):
        with pytest.raises(PackagingError, match="arrays of rows of numbers"):
            FRAMEWORK.save((jax.jit(lambda rows: rows), example), tmp_path)

    def test_an_example_with_different_numbers_of_rows_is_refused(self, tmp_path):
        with pytest.raises(PackagingError, match="differ in their number of rows"):
            FRAMEWORK.save((jax.jit(lambda one, two: one), (ROWS, ROWS[:2])), tmp_path)

    def test_a_function_that_cannot_take_the_example_is_refused(self, tmp_path):
        with pytest.raises(PackagingError, match="JAX cannot export this function") as caught:
            FRAMEWORK.save((jax.jit(partial(linear, PARAMETERS)), np.ones((2, 7))), tmp_path)
        assert "functools.partial" in str(caught.value)


class TestFlax:
    def test_a_linen_module_without_its_variables_is_refused(self, tmp_path):
        for model in (Dense(), (Dense(), ROWS), (Dense(), {"kernel": ROWS})):
            with pytest.raises(PackagingError, match="Dense, comes without its variables"):
                FRAMEWORK.save(model, tmp_path)

    def test_a_bound_linen_module_brings_them(self, tmp_path):
        module = Dense()
        variables = module.init(jax.random.key(0), ROWS)
        expected = module.apply(variables, ROWS)
        np.testing.assert_allclose(answer(module.bind(variables), tmp_path), expected, rtol=1e-5)

    def test_an_nnx_module_is_evaluated_and_stays_in_training(self, tmp_path):
        module = Dropping()
        module.train()
        np.testing.assert_allclose(answer(module, tmp_path), module.layer(ROWS), rtol=1e-5)
        assert not module.dropout.deterministic

    def test_text_like_inputs_are_whole_numbers(self, tmp_path):
        module = nnx.Embed(10, 4, rngs=nnx.Rngs(0))
        copy = packaged((module, np.array([[1, 2, 3]])), tmp_path)
        assert copy.predict({"inputs": [[1, 2, 3], [4, 5, 6]]})["predictions"].shape == (2, 3, 4)
        with pytest.raises(ValueError, match="takes whole numbers"):
            copy.predict({"inputs": [[1.5, 2, 3]]})


class TestPrograms:
    def test_one_with_a_fixed_number_of_rows_takes_that_number(self, tmp_path):
        program = export.export(jax.jit(partial(linear, PARAMETERS)))(ROWS)
        saved = FRAMEWORK.save(program, tmp_path)
        assert saved.batching == "none"
        with pytest.raises(ValueError, match=r"shape \(5, 3\); the request's is \(1, 3\)"):
            FRAMEWORK.answer(program, {"inputs": [[1.0, 2.0, 3.0]]})
        predictions = FRAMEWORK.answer(program, {"inputs": ROWS.tolist()})["predictions"]
        np.testing.assert_allclose(predictions, linear(PARAMETERS, ROWS), rtol=1e-5)

    def test_its_inputs_have_the_names_of_keys(self, tmp_path):
        program = export.export(jax.jit(lambda batch, *, scale: batch["a"] * scale))({"a": ROWS}, scale=ROWS)
        metadata = FRAMEWORK.save(program, tmp_path).model_metadata
        assert [item["name"] for item in metadata["inputs"]] == ["a", "scale"]

    def test_one_for_another_platform_is_refused(self, tmp_path):
        program = export.export(jax.jit(linear), platforms=["tpu"])(PARAMETERS, ROWS)
        with pytest.raises(PackagingError, match="exported for tpu only"):
            FRAMEWORK.save(program, tmp_path)

    def test_a_structure_that_jax_cannot_write_is_refused(self, tmp_path):
        with pytest.raises(PackagingError, match="JAX cannot write this program") as caught:
            FRAMEWORK.save((jax.jit(lambda rows: Pair(rows, rows)), ROWS), tmp_path)
        assert "lists, tuples and dicts" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


class TestRows:
    def test_few_numbers_of_rows_are_compiled_for(self, tmp_path):
        copy = packaged(jax.jit(partial(linear, PARAMETERS)), tmp_path)
        for count in range(1, 17):
            rows = np.resize(ROWS, (count, 3))
            predictions = copy.predict({"inputs": rows.tolist()})["predictions"]
            np.testing.assert_allclose(predictions, linear(PARAMETERS, rows), rtol=1e-5)
        assert copy.function._cache_size() == 5

    def test_no_rows_have_no_answers(self, tmp_path):
        copy = packaged(jax.jit(partial(linear, PARAMETERS)), tmp_path)
        assert copy.predict({"inputs": []})["predictions"].shape == (0, 2)

    def test_rows_that_depend_on_each_other_are_neither_joined_nor_padded(self, tmp_path):
        model = (jax.jit(lambda rows: rows - rows.mean(axis=0)), ROWS)
        np.testing.assert_allclose(answer(model, tmp_path), ROWS - ROWS.mean(axis=0), atol=1e-6)
        (tmp_path / "again").mkdir()
        saved = FRAMEWORK.save(model, tmp_path / "again")
        assert saved.batching == "none"
        assert "depended on the other rows" in saved.notes[0]

    def test_a_number_of_rows_that_cannot_be_left_open_is_fixed(self, tmp_path):
        model = (jax.jit(lambda rows: rows[:, : len(rows)]), ROWS[:2])
        saved = FRAMEWORK.save(model, tmp_path)
        assert "cannot leave the number of rows open" in saved.notes[0]
        assert saved.model_metadata["inputs"][0]["shape"] == [2, 3]


class TestRequests:
    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ([[1.0, 2.0]], r"shape \(any, 3\); the request's is \(1, 2\)"),
            ([1.0, 2.0, 3.0], r"shape \(any, 3\)"),
            ([["a", "b", "c"]], "takes numbers"),
            ([[1.0], [1.0, 2.0]], "differ in length"),
            ([{"width": 1.0}], r"called \['inputs'\].*\['width'\]"),
        ],
    )
    def test_rows_that_do_not_fit_are_refused(self, inputs, message):
        with pytest.raises(ValueError, match=message):
            FRAMEWORK.answer(jax.jit(partial(linear, PARAMETERS)), {"inputs": inputs})

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ([[1.0]], r"record with the keys \['one', 'two'\]"),
            ([{"one": [1.0, 2.0, 3.0]}], r"called \['one', 'two'\]"),
            ([{"one": 1, "two": 2}, {"one": 1}], "row 1 is no record"),
            ({"one": [[1.0, 2.0, 3.0]], "two": []}, "differ in their number of rows"),
        ],
    )
    def test_records_that_do_not_fit_are_refused(self, inputs, message):
        model = jax.jit(lambda one, two: one + two)
        with pytest.raises(ValueError, match=message):
            FRAMEWORK.answer((model, (ROWS, ROWS)), {"inputs": inputs})


def test_double_precision_is_served_in_double_precision(tmp_path):
    rows = np.array([[1.0, 2.0, 1e-12]])
    jax.config.update("jax_enable_x64", True)
    try:
        model = (jax.jit(lambda rows: 1 + rows), rows)
        truss.create(model, tmp_path / "double", examples=[{"inputs": rows.tolist()}])
    finally:
        jax.config.update("jax_enable_x64", False)
    with running_server(tmp_path / "double") as server:
        predictions = server.predict({"inputs": rows.tolist()}).json()["predictions"]
    assert predictions == (1 + rows).tolist()


def test_it_serves_over_http_without_its_source(tmp_path, monkeypatch):
    source = tmp_path / "net_of_mine.py"
    source.write_text("import jax\n\n\ndef net(weights, rows):\n    return jax.nn.relu(rows @ weights)\n")
    monkeypatch.syspath_prepend(tmp_path)
    net = importlib.import_module("net_of_mine").net
    weights = PARAMETERS["weights"]
    target = tmp_path / "net"
    truss.create(jax.jit(partial(net, weights)), target, examples=[{"inputs": ROWS.tolist()}])
    source.unlink()
    sys.modules.pop("net_of_mine")
    config = (target / "config.yaml").read_text()
    assert f"jax=={jax.__version__}" in config
    assert "flax" not in config
    assert "mode: rows" in config
    assert not (target / "packages").exists() or not list((target / "packages").glob("*.py"))
    with running_server(target) as server:
        response = server.predict({"inputs": ROWS.tolist()})
    assert response.status == 200
    np.testing.assert_allclose(response.json()["predictions"], net(weights, ROWS), rtol=1e-5)
