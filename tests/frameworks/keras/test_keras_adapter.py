"""What the Keras adapter saves, refuses and says; once more by `test_keras_backends` on each backend."""

import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported, which reads it once

import keras
import numpy as np
import pytest

import truss
from truss.errors import PackagingError
from truss.frameworks.keras import model_class
from truss.frameworks.keras.adapter import KerasFramework
from truss.frameworks.registry import framework_for
from truss.testing.server import running_server

FRAMEWORK = KerasFramework()
BACKEND = os.environ["KERAS_BACKEND"]
ROWS = [[1.0, 2.0], [3.0, 4.0], [-1.0, 0.5]]


def cell(source: str) -> dict[str, Any]:
    """The names that a notebook's cell defines: no other process can import them."""
    names: dict[str, Any] = {"__name__": "__main__", "keras": keras}
    exec(textwrap.dedent(source), names)
    return names


def network(*layers: Any, **options: Any) -> Any:
    return keras.Sequential([keras.Input((2,), **options), *layers, keras.layers.Dense(2)])


def load(saved: Any, folder: Path) -> Any:
    model = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata}, secrets={})
    model.load()
    return model


def refused(model: Any, folder: Path) -> str:
    """What saving the model says, of which nothing may be left."""
    with pytest.raises(PackagingError) as caught:
        FRAMEWORK.save(model, folder)
    assert list(folder.iterdir()) == []
    assert caught.value.hint
    return str(caught.value)


def test_models_are_for_this_framework_although_they_are_also_torch_modules_or_callable():
    assert framework_for(network()).name == "keras"


def test_the_answer_is_that_of_the_model():
    model = network()
    given = FRAMEWORK.answer(model, {"inputs": ROWS})
    np.testing.assert_allclose(given["predictions"], model.predict(np.array(ROWS), verbose=0), rtol=1e-5)


def test_the_backend_and_what_it_needs_are_recorded(tmp_path):
    saved = FRAMEWORK.save(network(), tmp_path)
    assert saved.model_metadata["backend"] == BACKEND
    assert saved.requirements[0] == "keras"
    assert saved.requirements[1].partition("-")[0] == BACKEND
    assert "cloudpickle" not in saved.requirements


def test_the_recorded_backend_wins_over_the_environment(tmp_path):
    saved = FRAMEWORK.save(network(), tmp_path)
    other = "jax" if BACKEND != "jax" else "torch"
    script = """
import json, sys
from truss.frameworks.keras.model_class import Model
model = Model(data_dir=sys.argv[1], config={"model_metadata": json.loads(sys.argv[2])})
model.load()
import keras
print(keras.config.backend())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), json.dumps(dict(saved.model_metadata))],
        env={**os.environ, "KERAS_BACKEND": other},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [BACKEND]


def test_a_process_that_uses_another_backend_is_told(tmp_path):
    saved = FRAMEWORK.save(network(), tmp_path)
    metadata = {**saved.model_metadata, "backend": "openvino"}
    served = model_class.Model(data_dir=tmp_path, config={"model_metadata": metadata})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", BACKEND)  # what `load` sets is undone
        with pytest.raises(RuntimeError, match=rf"backend openvino.*already uses {BACKEND}"):
            served.load()


class TestCodeOfOnesOwn:
    CELL = """
        @keras.saving.register_keras_serializable("mine")
        class Double(keras.layers.Layer):
            def call(self, rows):
                return self.twice(rows)

            @staticmethod
            def twice(rows):
                return rows * 2

        def squared(rows):
            return rows * rows

        class Small(keras.regularizers.Regularizer):
            def __call__(self, weights):
                return 0.0

            def get_config(self):
                return {}
    """

    def model(self) -> Any:
        names = cell(self.CELL)
        dense = keras.layers.Dense(3, activation=names["squared"], kernel_regularizer=names["Small"]())
        return network(names["Double"](), dense)

    def test_goes_along_by_value(self, tmp_path):
        model = self.model()
        saved = FRAMEWORK.save(model, tmp_path)
        assert saved.model_metadata["code_python_version"] == "{}.{}".format(*sys.version_info[:2])
        assert "cloudpickle" in saved.requirements
        assert any("bytecode" in note for note in saved.notes)
        keras.saving.get_custom_objects().clear()
        assert load(saved, tmp_path).predict({"inputs": ROWS}) == FRAMEWORK.answer(model, {"inputs": ROWS})

    def test_what_was_registered_stays_so(self, tmp_path):
        FRAMEWORK.save(self.model(), tmp_path)
        assert "mine>Double" in keras.saving.get_custom_objects()

    def test_another_python_is_refused(self, tmp_path):
        saved = FRAMEWORK.save(self.model(), tmp_path)
        metadata = {**saved.model_metadata, "code_python_version": "3.1"}
        with pytest.raises(RuntimeError, match=r"saved by Python 3\.1"):
            model_class.Model(data_dir=tmp_path, config={"model_metadata": metadata}).load()

    def test_a_module_next_to_the_notebook_is_copied(self, tmp_path, monkeypatch):
        (tmp_path / "my_own_layers.py").write_text("import keras\n" + textwrap.dedent(self.CELL))
        monkeypatch.syspath_prepend(tmp_path)
        double = importlib.import_module("my_own_layers").Double
        truss.create(network(double()), tmp_path / "made", examples=[{"inputs": ROWS}])
        assert (tmp_path / "made" / "packages" / "my_own_layers.py").is_file()
        assert "code_python_version" not in (tmp_path / "made" / "config.yaml").read_text()

    def test_a_lambda_goes_along_in_the_file(self, tmp_path):
        model = network(keras.layers.Lambda(lambda rows: rows + 1, output_shape=(2,)))
        saved = FRAMEWORK.save(model, tmp_path)
        assert saved.model_metadata["holds_bytecode"] is True
        assert "code_python_version" in saved.model_metadata
        assert load(saved, tmp_path).predict({"inputs": ROWS}) == FRAMEWORK.answer(model, {"inputs": ROWS})

    def test_a_lambda_that_uses_names_is_refused(self, tmp_path):
        model = cell("""
            step = 3
            layer = keras.layers.Lambda(lambda rows: rows + step, output_shape=(2,))
        """)["layer"]
        assert "step" in refused(network(model), tmp_path)

    def test_a_layer_that_keeps_its_arguments_to_itself_is_refused(self, tmp_path):
        layer = cell("""
            class Shift(keras.layers.Layer):
                def __init__(self, by, **kwargs):
                    super().__init__(**kwargs)
                    self.by = by

                def call(self, rows):
                    return rows + self.by

                def get_config(self):
                    return super().get_config()
        """)["Shift"](5)
        text = refused(network(layer), tmp_path)
        assert "'by'" in text
        assert "get_config" in text

    def test_a_layer_that_forgets_its_state_is_refused(self, tmp_path):
        layer = cell("""
            class Shift(keras.layers.Layer):
                by = 0

                def call(self, rows):
                    return rows + self.by
        """)["Shift"]()
        layer.by = 5
        assert "answers differently" in refused(network(layer), tmp_path)

    def test_what_cannot_be_pickled_is_named(self, tmp_path):
        layer = cell("""
            import threading
            lock = threading.Lock()

            class Locked(keras.layers.Layer):
                def call(self, rows):
                    with lock:
                        return rows
        """)["Locked"]()
        assert "'lock'" in refused(network(layer), tmp_path)


@pytest.mark.parametrize("make", [keras.Sequential, lambda: keras.Sequential([keras.layers.Dense(1)])])
def test_a_model_without_weights_is_refused(make, tmp_path):
    assert "not built" in refused(make(), tmp_path)


def test_nested_inputs_are_refused(tmp_path):
    first, second = keras.Input((2,), name="x"), keras.Input((2,), name="y")
    model = keras.Model([first, [second]], keras.layers.Add()([first, second]))
    assert "nested" in refused(model, tmp_path)


class TestJoining:
    def saved(self, model: Any, folder: Path) -> Any:
        return FRAMEWORK.save(model, folder)

    def test_rows_are_joined_where_each_is_answered_by_itself(self, tmp_path):
        saved = self.saved(network(keras.layers.BatchNormalization()), tmp_path)
        assert (saved.batching, saved.notes) == ("rows", ())
        assert saved.model_metadata["pads_rows"] is (BACKEND == "jax")

    def test_rows_that_touch_their_neighbours_are_not(self, tmp_path):
        layer = cell("""
            class Centre(keras.layers.Layer):
                def call(self, rows):
                    return rows - keras.ops.mean(rows, axis=0, keepdims=True)
        """)["Centre"]()
        saved = self.saved(network(layer), tmp_path)
        assert saved.batching == "none"
        assert saved.model_metadata["pads_rows"] is False
        assert "depended on the other rows" in saved.notes[-1]

    def test_a_model_for_batches_of_one_size_is_not(self, tmp_path):
        saved = self.saved(network(batch_size=3), tmp_path)
        assert saved.batching == "none"
        assert "batches of 3" in saved.notes[0]
        assert len(load(saved, tmp_path).predict({"inputs": ROWS})["predictions"]) == 3

    def test_a_model_that_draws_at_random_is_not(self, tmp_path):
        layer = cell("""
            class Noise(keras.layers.Layer):
                def __init__(self, **kwargs):
                    super().__init__(**kwargs)
                    self.seed = keras.random.SeedGenerator(1)

                def call(self, rows):
                    return rows + keras.random.normal(keras.ops.shape(rows), seed=self.seed)
        """)["Noise"]()
        saved = self.saved(network(layer), tmp_path)
        assert (saved.batching, saved.repeatable) == ("none", False)

    @pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
    def test_rows_that_were_padded_are_cut_again(self, count, tmp_path):
        model = network()
        served = load(self.saved(model, tmp_path), tmp_path)
        served._metadata = {**served._metadata, "pads_rows": True}
        rows = (ROWS * 3)[:count]
        np.testing.assert_allclose(
            served.predict({"inputs": rows})["predictions"],
            FRAMEWORK.answer(model, {"inputs": rows})["predictions"],
            rtol=1e-5,
        )


def two_inputs() -> Any:
    size, kind = keras.Input((2,), name="size"), keras.Input((), name="kind", dtype="int32")
    return keras.Model([size, kind], keras.layers.Add()([size, keras.layers.Embedding(4, 2)(kind)]))


@pytest.mark.parametrize(
    ("make", "rows", "message"),
    [
        (network, [[1.0, 2.0, 3.0]], r"each row of 'inputs' has the shape \(2,\); the request's have \(3,\)"),
        (network, [[1.0, 2.0], [1.0]], "the rows of 'inputs' differ in length"),
        (two_inputs, [[1.0, 2.0]], r"record with the keys \['size', 'kind'\]"),
        (two_inputs, [{"size": [1, 2], "kind": 1}, {"size": [1, 2]}], "row 1 lacks the input 'kind'"),
        (two_inputs, [{"size": [1, 2], "kind": 0.5}], "'kind' takes whole numbers"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_by_name(make, rows, message):
    with pytest.raises(ValueError, match=message):
        FRAMEWORK.answer(make(), {"inputs": rows})


def test_half_precision_is_answered_in_numbers():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="mixed_bfloat16")])
    ((number,),) = FRAMEWORK.answer(model, {"inputs": ROWS[:1]})["predictions"]
    assert isinstance(number, np.float32)


def test_it_serves_over_http(tmp_path):
    model = network()
    target = tmp_path / "network"
    truss.create(model, target, examples=[{"inputs": ROWS}])
    config = (target / "config.yaml").read_text()
    assert f"keras=={keras.__version__}" in config
    with running_server(target) as server:
        response = server.predict({"inputs": ROWS})
    assert response.status == 200
    np.testing.assert_allclose(
        response.json()["predictions"],
        FRAMEWORK.answer(model, {"inputs": ROWS})["predictions"],
        rtol=1e-5,
    )
