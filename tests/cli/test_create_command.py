"""`truss create`: a model's file becomes a Truss that serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from model_files import ROWS, SAFE, X, pickled, write_mlflow, write_pickle, write_transformers, y

from truss.frameworks.registry import framework_for
from truss.model import to_plain
from truss.testing.frameworks import assert_same
from truss.testing.server import running_server

TEXTS = ["a kind film", "a film"]
KINDS = {
    **{name: (write, ROWS, ()) for name, (write, _) in SAFE.items()},
    "model.joblib": (write_pickle, ROWS, ("--trust-pickle",)),
    "transformers": (write_transformers, TEXTS, ()),
    "mlflow": (write_mlflow, ROWS, ("--trust-pickle",)),
}


@pytest.fixture
def booster(tmp_path: Path) -> Path:
    import xgboost

    xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(X, y).save_model(tmp_path / "model.ubj")
    return tmp_path / "model.ubj"


def test_a_file_becomes_a_truss_that_answers_as_the_file_does(truss, booster, tmp_path):
    import xgboost

    (tmp_path / "requests.json").write_text(json.dumps({"inputs": X[::50].tolist()}))
    ran = truss("create", booster, "iris", "--examples", "requests.json", "--name", "Iris")
    assert ran.code == 0, ran.err
    assert ran.out == f"{tmp_path / 'iris'}\n"
    assert "truss serve iris" in ran.err
    checked = truss("run-example", "iris", "--check")
    assert checked.code == 0, checked.err
    model = xgboost.XGBClassifier()
    model.load_model(booster)
    with running_server(tmp_path / "iris") as server:
        answer = server.predict({"inputs": X.tolist()}).json()
    assert answer["predictions"] == model.predict(X).tolist()


@pytest.mark.parametrize(
    "misnamed",
    [
        pytest.param(False, id="by its name"),
        pytest.param(
            True, id="by another name", marks=pytest.mark.thorough
        ),  # see tests/frameworks/test_files.py
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_known_by_its_content_and_answers_as_its_object(truss, tmp_path, name, misnamed):
    write, rows, words = KINDS[name]
    model, request = write(tmp_path / name), {"inputs": rows}
    wrong = "weights.onnx" if name == "model.txt" else "weights.txt"
    given = (tmp_path / name).rename(tmp_path / (wrong if misnamed else name))
    (tmp_path / "requests.json").write_text(json.dumps(request))
    ran = truss("create", given, "made", "--examples", "requests.json", *words)
    assert ran.code == 0, ran.err
    (example,) = yaml.safe_load((tmp_path / "made" / "examples.yaml").read_text())
    assert example["input"] == request
    live = framework_for(model).answer(model, request)
    assert_same(to_plain(live), example["expected"], 1e-5, "answer")


def test_it_prints_json_for_scripts(truss, booster, tmp_path):
    ran = truss("create", booster, "iris", "--json")
    assert ran.json() == {"directory": str(tmp_path / "iris")}


def test_a_pickle_needs_a_word_of_trust(truss, tmp_path):
    path = pickled(tmp_path / "model.joblib")
    refused = truss("create", path, "iris")
    assert (refused.code, refused.out) == (2, "")
    assert "--trust-pickle" in refused.err
    assert not (tmp_path / "iris").exists()
    trusted = truss("create", path, "iris", "--trust-pickle")
    assert trusted.code == 0, trusted.err
    assert "runs now" in trusted.err
    assert "scikit-learn==" in (tmp_path / "iris" / "config.yaml").read_text()


def test_a_taken_folder_is_replaced_only_when_asked(truss, booster, tmp_path):
    assert truss("create", booster, "iris").code == 0
    assert truss("create", booster, "iris").code != 0
    assert truss("create", booster, "iris", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "an empty file"), (b"GGUF\3", "GGUF"), (b"\x80\x04N.", "--trust-pickle")],
)
def test_what_is_not_packaged_is_described(truss, tmp_path, content, said):
    (tmp_path / "model.onnx").write_bytes(content)
    ran = truss("create", "model.onnx", "out", "--json")
    assert ran.code == 2
    error = ran.json()["error"]
    assert said in error["message"] + error["hint"]
    assert not (tmp_path / "out").exists()


def test_what_is_not_there(truss, tmp_path):
    ran = truss("create", "missing.onnx", "out")
    assert (ran.code, ran.out) == (2, "")
    assert "missing.onnx" in ran.err


def test_examples_that_are_no_json(truss, booster, tmp_path):
    (tmp_path / "requests.json").write_text("{inputs}")
    ran = truss("create", booster, "out", "--examples", "requests.json")
    assert (ran.code, ran.out) == (2, "")
    assert "requests.json is not JSON" in ran.err
