"""What the TensorFlow adapter saves, joins, refuses and says."""

import base64
import gc
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_models as models
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import truss
from truss.errors import PackagingError, UntrustedFileError
from truss.frameworks.files import open_model
from truss.frameworks.registry import framework_for
from truss.frameworks.tensorflow import model_class
from truss.frameworks.tensorflow.adapter import TensorflowFramework
from truss.testing.server import running_server

FRAMEWORK = TensorflowFramework()
PAIRS = tf.TensorSpec([None, 2], tf.float32, name="rows")


def answer(model: Any, **request: Any) -> Any:
    return FRAMEWORK.answer(model, request)


def saved_copy(model: Any, folder: Path) -> Any:
    """The model class with the saved model loaded."""
    folder.mkdir(exist_ok=True)
    saved = FRAMEWORK.save(model, folder)
    copy = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


def function_of(specs: list[Any], body: Any) -> Any:
    return tf.function(body, input_signature=specs)


def test_a_module_answers_as_the_model_its_weights_come_from() -> None:
    trained = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    given = answer(models.Iris(), inputs=models.ROWS)["predictions"]
    np.testing.assert_allclose(given, trained.predict_proba(models.ROWS), atol=1e-5)


def test_several_inputs_are_records_or_columns(tmp_path: Path) -> None:
    words = models.Words(tmp_path)
    rows = answer(words, inputs=[{"words": "blue", "sizes": [1, 2]}, {"words": "pink", "sizes": [0, 0.5]}])
    assert rows == {
        "predictions": [
            {"place": 2, "scaled": [2.0, 4.0], "word": "BLUE"},
            {"place": -1, "scaled": [0.0, 1.0], "word": "PINK"},
        ]
    }
    assert answer(words, words=["blue", "pink"], sizes=[[1, 2], [0, 0.5]]) == rows


def test_files_that_a_model_uses_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    copy = saved_copy(models.Words(tmp_path / "from"), tmp_path / "to")
    (tmp_path / "from" / "words.txt").unlink()
    assert [path.name for path in (tmp_path / "to" / "model" / "assets").iterdir()] == ["words.txt"]
    assert copy.predict({"inputs": [{"words": "green", "sizes": [0, 0]}]})["predictions"][0]["place"] == 1


def test_a_function_without_rows_takes_and_gives_whole_arrays() -> None:
    given = answer(models.Product(), a=[[1, 2], [3, 4]], b=[[0, 1], [1, 0]])
    assert given == {"predictions": {"product": [[2.0, 1.0], [4.0, 3.0]], "sum": 12.0}}


def test_no_rows_are_no_predictions(tmp_path: Path) -> None:
    assert answer(models.Iris(), inputs=[]) == {"predictions": []}
    assert answer(models.Words(tmp_path), words=[], sizes=[]) == {"predictions": []}


@pytest.mark.parametrize(
    ("make", "mode", "repeatable", "note"),
    [
        (models.Iris, "rows", True, None),
        (models.Product, "none", True, "fixed length"),
        (models.Centred, "none", True, "depended on the other rows"),
        (models.Noisy, "none", False, r"draws at random (RandomStandardNormal)"),
        (models.Counter, "none", False, "changes with each request (AssignAddVariableOp)"),
    ],
)
def test_rows_are_joined_where_each_is_answered_by_itself(
    make: Any, mode: str, repeatable: bool, note: str | None, tmp_path: Path
) -> None:
    saved = FRAMEWORK.save(make(), tmp_path)
    assert (saved.batching, saved.repeatable) == (mode, repeatable)
    assert [note in line for line in saved.notes] == ([True] if note else [])


class Watched(models.Counter):
    """Counts in silence."""

    @tf.function(input_signature=[PAIRS])
    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        self.count.assign_add(1.0)
        return 2 * rows


@pytest.mark.parametrize("kind", [models.Counter, Watched])
def test_packaging_leaves_the_state_of_a_model_as_it_was(kind: Any, tmp_path: Path) -> None:
    counter = kind()
    saved = FRAMEWORK.save(counter, tmp_path)
    assert counter.count.numpy() == 0
    assert "changes with each request" in saved.notes[0]


def test_inputs_and_types_are_those_of_the_signature(tmp_path: Path) -> None:
    saved = FRAMEWORK.save(models.Words(tmp_path), tmp_path / "data")
    assert saved.model_metadata["inputs"] == [
        {"name": "sizes", "dtype": "float32", "shape": [None, 2]},
        {"name": "words", "dtype": "string", "shape": [None]},
    ]
    assert [(one.name, one.dtype, one.shape) for one in saved.signature.tensors] == [
        ("sizes", "float32", [None, 2]),
        ("words", "text", [None]),
    ]


def test_the_requirement_is_the_build_that_is_installed(tmp_path: Path) -> None:
    (build,) = set(FRAMEWORK.save(models.Iris(), tmp_path).requirements) - {"numpy"}
    assert build in ("tensorflow", "tensorflow-cpu")
    try:
        assert distribution(build).version == tf.__version__
    except PackageNotFoundError:
        pytest.fail(f"{build} is required, and not installed")


@pytest.mark.parametrize(
    "example",
    [
        models.EXAMPLE,
        tf.constant(models.EXAMPLE),
        tf.TensorSpec([None, 4], tf.float32),
        (models.EXAMPLE,),
        {"rows": models.EXAMPLE},
    ],
)
def test_an_example_says_what_a_function_takes(example: Any) -> None:
    module = models.Iris()
    expected = module.logits(tf.constant(models.ROWS)).numpy()
    given = answer((module.logits, example), inputs=models.ROWS)["predictions"]
    np.testing.assert_allclose(given, expected, rtol=1e-6)


def test_arguments_may_be_nested_and_have_defaults(tmp_path: Path) -> None:
    @tf.function
    def shifted(parts: dict[str, Any], by: float = 1.0) -> Any:
        return {"sums": [parts["a"] + by, (parts["b"] - by,)], "none": None}

    example = {"a": np.float32([1, 2]), "b": np.float32([3, 4])}
    names = [item["name"] for item in saved_copy((shifted, example), tmp_path / "to")._metadata["inputs"]]
    assert len(names) == 2
    request = dict(zip(names, ([1.0, 2.0], [5.0, 6.0]), strict=True))
    assert answer((shifted, example), **request) == {
        "predictions": [{"sums_0": 2.0, "sums_1_0": 4.0}, {"sums_0": 3.0, "sums_1_0": 5.0}]
    }


def test_a_function_may_be_chosen_by_name() -> None:
    module = Chosen()
    assert answer((module, "twice"), inputs=[[1, 2]]) == {"predictions": [[2.0, 4.0]]}
    assert answer((module, "thrice"), inputs=[[1, 2]]) == {"predictions": [[3.0, 6.0]]}
    assert answer(module.thrice, inputs=[[1, 2]]) == {"predictions": [[3.0, 6.0]]}


class Chosen(tf.Module):
    """Has two functions that say what they take."""

    @tf.function(input_signature=[PAIRS])
    def twice(self, rows: tf.Tensor) -> tf.Tensor:
        return 2 * rows

    @tf.function(input_signature=[PAIRS])
    def thrice(self, rows: tf.Tensor) -> tf.Tensor:
        return 3 * rows


def two_signatures(folder: Path) -> Path:
    module = models.Iris()
    signatures = {
        "classes": module.__call__.get_concrete_function(),
        "logits": module.logits.get_concrete_function(tf.TensorSpec([None, 4], tf.float32)),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def test_one_of_several_signatures_is_chosen(tmp_path: Path) -> None:
    folder = two_signatures(tmp_path / "two")
    module, loaded = models.Iris(), tf.saved_model.load(str(folder))
    expected = module.logits(tf.constant(models.ROWS)).numpy()
    np.testing.assert_allclose(
        answer((loaded, "logits"), inputs=models.ROWS)["predictions"], expected, rtol=1e-5
    )
    copy = saved_copy((open_model(folder), "logits"), tmp_path / "to")
    np.testing.assert_allclose(copy.predict({"inputs": models.ROWS})["predictions"], expected, rtol=1e-5)
    for model in (loaded, open_model(folder)):
        with pytest.raises(PackagingError, match=r"no signature 'serving_default'.*\n.*are classes, logits"):
            answer(model, inputs=models.ROWS)
        with pytest.raises(PackagingError, match=r"has no (signature|function) 'other'"):
            answer((model, "other"), inputs=models.ROWS)


def test_a_folder_is_copied_as_it_is(tmp_path: Path) -> None:
    source = models.saved(models.Iris(), tmp_path / "from")
    saved_copy(open_model(source), tmp_path / "to")
    for path in (path for path in source.rglob("*") if path.is_file()):
        assert (tmp_path / "to" / "model" / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_a_model_of_the_first_version_is_served(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.placeholder(tf.float32, [None, 2], name="rows")
        factor = v1.get_variable("factor", initializer=3.0, use_resource=True)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "v1"), {"rows": rows}, {"product": rows * factor})
    model = open_model(tmp_path / "v1")
    expected = {"predictions": [[3.0, 6.0]]}
    assert answer(model, inputs=[[1, 2]]) == expected
    assert saved_copy(model, tmp_path / "to").predict({"inputs": [[1, 2]]}) == expected


def test_bytes_come_and_go_as_base64() -> None:
    reverse = function_of([tf.TensorSpec([None], tf.string, name="image")], lambda image: image + b"\xff")
    given = {"b64": base64.b64encode(b"\x00\xfe").decode()}
    expected = {"predictions": [{"b64": base64.b64encode(b"\x00\xfe\xff").decode()}]}
    assert answer(reverse, inputs=[given]) == expected
    assert answer(reverse, inputs=[{"image": given}]) == expected


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int8", "int64", "uint16", "bool"])
def test_numbers_of_every_kind(dtype: str, tmp_path: Path) -> None:
    same = function_of([tf.TensorSpec([None, 2], tf.as_dtype(dtype), name="rows")], tf.identity)
    rows = [[0, 1], [1, 0]]
    assert answer(same, inputs=rows) == {"predictions": rows}
    assert saved_copy(same, tmp_path).predict({"inputs": rows}) == {"predictions": rows}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"inputs": [[1, 2, 3]]}, r"input 'measures' has the shape \(1, 3\); the model takes \('any', 4\)"),
        ({"inputs": [[1, 2, 3, 4], [1]]}, "the rows of input 'measures' differ in length"),
        ({"inputs": [["a", "b", "c", "d"]]}, "input 'measures' takes numbers"),
        ({"other": 1}, r"the request lacks the inputs \['measures'\]"),
        ({"inputs": [{"measures": [1, 2, 3, 4]}, {}]}, r"row 1 lacks the inputs \['measures'\]"),
    ],
)
def test_requests_that_do_not_fit(request_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        answer(models.Iris(), **request_)


def test_whole_numbers_and_texts_are_asked_for(tmp_path: Path) -> None:
    whole = function_of([tf.TensorSpec([None], tf.int32, name="count")], lambda count: count)
    with pytest.raises(ValueError, match=r"input 'count' takes whole numbers \(int32\)"):
        answer(whole, inputs=[1.5])
    with pytest.raises(ValueError, match="input 'words' takes texts"):
        answer(models.Words(tmp_path), words=[1], sizes=[[1, 2]])
    with pytest.raises(ValueError, match=r"each row is a record with the keys \['sizes', 'words'\]"):
        answer(models.Words(tmp_path), inputs=["red"])


class Nothing(tf.Module):
    """Has nothing to serve."""


class Two(tf.Module):
    """Has two functions of equal right."""

    @tf.function
    def first(self, rows: Any) -> Any:
        return rows

    @tf.function
    def second(self, rows: Any) -> Any:
        return rows


def ragged(rows: Any) -> Any:
    return tf.RaggedTensor.from_tensor(rows)


def orphan() -> Any:
    concrete = models.doubled().get_concrete_function(PAIRS)
    gc.collect()
    return concrete


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Nothing, "this Nothing has no function of TensorFlow.*\n.*@tf.function"),
        (Two, "this Two has several functions\n.*first, second; choose one: `truss.create.model.first.`"),
        (lambda: tf.function(ragged), "the input of this function is not known\n.*an example of its input"),
        (lambda: (tf.function(lambda a: a @ a), np.ones((2, 3, 1))), "cannot be traced for its input"),
        (lambda: function_of([PAIRS], ragged), "gives a RaggedTensor.*\n.*to_tensor"),
        (lambda: function_of([tf.RaggedTensorSpec([None, None])], lambda a: a), "takes a RaggedTensorSpec"),
        (lambda: function_of([], lambda: tf.constant(1)), "takes no tensor"),
        (lambda: function_of([PAIRS], lambda rows: None), "this signature gives nothing"),
        (
            lambda: function_of([tf.TensorSpec([None], tf.complex64)], tf.abs),
            "complex64, which a request cannot",
        ),
        (orphan, "uses variables that are gone"),
    ],
)
def test_what_cannot_be_served_is_told(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=message):
        FRAMEWORK.save(make(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    class Untracked(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = {("a", "key"): tf.Variable(1.0)}  # no name, so it is not saved

        @tf.function(input_signature=[PAIRS])
        def __call__(self, rows: tf.Tensor) -> tf.Tensor:
            return rows * self.parts["a", "key"]

    with pytest.raises(PackagingError, match="TensorFlow cannot save this Untracked"):
        FRAMEWORK.save(Untracked(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    folder = models.saved(models.Iris(), tmp_path / "from")
    for path in (folder / "variables").iterdir():
        path.unlink()
    with pytest.raises(
        PackagingError, match=r"this SavedModel cannot be read: .*\n.*copy the whole folder again"
    ):
        open_model(folder)
    (folder / "saved_model.pb").write_bytes(b"not a graph")
    with pytest.raises(PackagingError, match="cannot be read"):
        open_model(folder)


def test_a_graph_that_reads_files_has_to_be_trusted(tmp_path: Path) -> None:
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="path")])
        def __call__(self, path: tf.Tensor) -> tf.Tensor:
            return tf.map_fn(tf.io.read_file, path)

    folder = models.saved(Reader(), tmp_path / "from")
    with pytest.raises(UntrustedFileError, match=r"reaches outside of itself \(ReadFile\)"):
        open_model(folder)
    assert framework_for(open_model(folder, trusted=True)).name == "tensorflow"


def test_over_http(tmp_path: Path) -> None:
    request = {"inputs": models.ROWS}
    scaf = truss.create(models.Iris(), tmp_path / "iris", examples=[request])
    expected = models.Iris()(tf.constant(models.ROWS)).numpy()
    with running_server(scaf.truss_dir, ready=False) as server:
        server.wait_ready(timeout=300)  # importing TensorFlow takes its time
        np.testing.assert_allclose(server.predict(request).json()["predictions"], expected, atol=1e-6)
        refused = server.predict({"inputs": [[1, 2, 3]]})
        assert refused.status == 400
        assert "4" in refused.json()["error"]["message"]


def test_a_path_is_packaged_as_a_folder(tmp_path: Path) -> None:
    source = models.saved(models.Iris(), tmp_path / "from")
    scaf = truss.create(source, tmp_path / "iris", examples=[{"inputs": models.ROWS}])
    assert scaf.spec.config.model_framework == "tensorflow"
    assert (scaf.truss_dir / "data" / "model" / "saved_model.pb").is_file()


def test_layers_of_keras_are_none_of_its_models() -> None:
    class KerasLike(tf.Module):
        pass

    KerasLike.__module__ = "keras.src.layers.layer"
    assert FRAMEWORK.recognises(Nothing())
    assert not FRAMEWORK.recognises(KerasLike())
