"""What the ONNX adapter saves, joins, refuses and says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphs as graphs
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import truss
from truss.errors import PackagingError
from truss.frameworks.onnx import files, model_class
from truss.frameworks.onnx.adapter import OnnxFramework
from truss.frameworks.registry import framework_for
from truss.testing.server import running_server

FRAMEWORK = OnnxFramework()
ROWS = load_iris().data[::25].tolist()


def load(saved: Any, folder: Path) -> Any:
    model = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata}, secrets={})
    model.load()
    return model


def answer(model: Any, **request: Any) -> Any:
    return FRAMEWORK.answer(model, request)


def exported(folder: Path, location: str = "tensors/iris.bin") -> Path:
    """A model whose tensors lie in a file of their own."""
    path = folder / "iris.onnx"
    (folder / location).parent.mkdir(exist_ok=True, parents=True)
    onnx.save_model(
        graphs.iris_network(), path, save_as_external_data=True, location=location, size_threshold=0
    )
    return path


def test_a_network_answers_as_the_model_its_weights_come_from():
    trained = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    predictions = answer(graphs.iris_network(), inputs=ROWS)["predictions"]
    np.testing.assert_allclose(predictions, trained.predict_proba(ROWS), atol=1e-6)


def test_a_classifier_answers_classes_and_probabilities():
    given = answer(graphs.iris_classifier(), inputs=ROWS)
    assert given["predictions"] == ["setosa"] * 2 + ["versicolor"] * 2 + ["virginica"] * 2
    for label, probabilities in zip(given["predictions"], given["probabilities"], strict=True):
        assert max(probabilities, key=probabilities.get) == label


def test_several_inputs_are_records_or_columns():
    rows = answer(graphs.two_by_two(), inputs=[{"word": 1, "scale": [2.0]}, {"word": 0, "scale": [0.5]}])
    assert rows == {
        "predictions": [{"scaled": [6.0, 8.0], "total": 14.0}, {"scaled": [0.5, 1.0], "total": 1.5}]
    }
    assert answer(graphs.two_by_two(), word=[1, 0], scale=[[2.0], [0.5]]) == rows


def test_a_model_without_rows_takes_and_gives_whole_arrays():
    given = answer(graphs.whole_matrix(), a=[[1, 2], [3, 4]], b=[[0, 1], [1, 0]])
    assert given == {"predictions": {"product": [[2.0, 1.0], [4.0, 3.0]], "sum": 10.0}}


def test_no_rows_are_no_predictions():
    assert answer(graphs.iris_network(), inputs=[]) == {"predictions": []}


@pytest.mark.parametrize(
    ("make", "mode", "note"),
    [
        (graphs.iris_network, "rows", None),
        (graphs.iris_classifier, "rows", None),
        (graphs.two_by_two, "rows", None),
        (graphs.whole_matrix, "none", "fixed length"),
        (graphs.centred, "none", "depended on the other rows"),
        (graphs.quantized, "none", "DynamicQuantizeLinear"),
        (graphs.random, "none", "draws at random"),
    ],
)
def test_rows_are_joined_where_each_is_answered_by_itself(make, mode, note, tmp_path):
    saved = FRAMEWORK.save(make(), tmp_path)
    assert saved.batching == mode
    assert saved.repeatable is (make is not graphs.random)
    assert [note in line for line in saved.notes] == ([True] if note else [])


def test_a_model_in_memory_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_MESSAGE", files._ROOM_FOR_GRAPH)
    model = graphs.wide()
    before = model.SerializeToString()
    saved = FRAMEWORK.save(model, tmp_path)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.onnx", "model.onnx.data"]
    assert model.SerializeToString() == before
    rows = np.random.default_rng(0).standard_normal((2, 64)).astype("float32").tolist()
    assert load(saved, tmp_path).predict({"inputs": rows}) == answer(model, inputs=rows)


def test_tensors_beside_the_graph_are_kept_in_their_place(tmp_path):
    path = exported(tmp_path / "from")
    target = tmp_path / "to"
    target.mkdir()
    saved = FRAMEWORK.save(path, target)
    expected = answer(graphs.iris_network(), inputs=ROWS)
    for file in sorted((tmp_path / "from").rglob("*.*")):
        file.unlink()
    assert (target / "model" / "tensors" / "iris.bin").is_file()
    assert load(saved, target).predict({"inputs": ROWS}) == expected


def refused(model: Any, folder: Path) -> str:
    """What saving the model to a folder says, of which nothing may be left."""
    target = folder / "target"
    target.mkdir()
    with pytest.raises(PackagingError) as caught:
        FRAMEWORK.save(model, target)
    assert list(target.iterdir()) == []
    assert caught.value.hint
    return str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.onnx", tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("not a graph, whatever its name says")
    text = refused(path, tmp_path)
    assert "no ONNX model" in text
    assert "text.onnx" in text


def test_missing_tensors_are_named(tmp_path):
    path = exported(tmp_path)
    (tmp_path / "tensors" / "iris.bin").unlink()
    assert "'tensors/iris.bin'" in refused(path, tmp_path)


@pytest.mark.parametrize("location", ["../iris.bin", "/etc/hostname", ""])
def test_tensors_outside_of_the_folder_are_refused(location, tmp_path):
    path = exported(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    assert "outside of the model's folder" in refused(path, tmp_path)


def test_a_model_in_memory_whose_tensors_are_on_disk_is_refused(tmp_path):
    model = onnx.load(exported(tmp_path), load_external_data=False)
    text = refused(model, tmp_path)
    assert "tensors/iris.bin" in text
    assert "path of the .onnx file" in text


def test_an_operator_that_the_runtime_does_not_know_is_named(tmp_path):
    model = graphs.model(
        [helper.make_node("Frobnicate", ["x"], ["y"])],
        [graphs.value("x", ["n"])],
        [graphs.value("y", ["n"])],
    )
    assert "Frobnicate" in refused(model, tmp_path)


def test_an_input_that_a_request_cannot_hold_is_refused(tmp_path):
    model = graphs.model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [graphs.value("x", ["n"], TensorProto.BFLOAT16)],
        [graphs.value("y", ["n"])],
    )
    assert "'x' is of the type tensor(bfloat16)" in refused(model, tmp_path)


def test_a_model_that_takes_nothing_is_refused(tmp_path):
    constant = helper.make_node("Constant", [], ["y"], value_float=1.0)
    assert "takes no input" in refused(graphs.model([constant], [], [graphs.value("y", [])]), tmp_path)


@pytest.mark.parametrize(
    ("make", "request_", "message"),
    [
        (graphs.iris_network, {"inputs": [[1.0, 2.0]]}, r"'features' has the shape \(1, 2\).*\('any', 4\)"),
        (graphs.iris_network, {"inputs": [[1.0] * 4, [1.0]]}, "rows of input 'features' differ in length"),
        (graphs.iris_network, {"rows": [[1.0] * 4]}, r"lacks the inputs \['features'\]"),
        (graphs.two_by_two, {"inputs": [[1, 2]]}, r"record with the keys \['word', 'scale'\]"),
        (graphs.two_by_two, {"inputs": [{"word": 1}]}, r"row 0 lacks the inputs \['scale'\]"),
        (graphs.two_by_two, {"word": [0.5], "scale": [[1.0]]}, "'word' takes whole numbers"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_by_name(make, request_, message):
    with pytest.raises(ValueError, match=message):
        FRAMEWORK.answer(make(), request_)


def test_the_session_runs_on_the_first_provider_that_is_here(tmp_path):
    saved = FRAMEWORK.save(graphs.iris_network(), tmp_path)
    assert saved.model_metadata["providers"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    used = load(saved, tmp_path).session.get_providers()
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert used == saved.model_metadata["providers"][0 if has_cuda else 1 :]


def test_a_session_is_no_model_and_the_advice_says_what_is():
    session = onnxruntime.InferenceSession(graphs.iris_network().SerializeToString())
    with pytest.raises(truss.errors.UnsupportedObjectError, match=r"path.*\.onnx"):
        framework_for(session)


def test_it_serves_over_http(tmp_path):
    path = exported(tmp_path)
    target = tmp_path / "iris"
    truss.create(str(path), target, examples=[{"inputs": ROWS}])
    config = (target / "config.yaml").read_text()
    assert f"onnxruntime=={onnxruntime.__version__}" in config
    assert "onnx==" not in config
    with running_server(target) as server:
        response = server.predict({"inputs": ROWS})
    assert response.status == 200
    np.testing.assert_allclose(
        response.json()["predictions"], answer(path, inputs=ROWS)["predictions"], rtol=1e-6
    )
