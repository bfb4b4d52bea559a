"""Models given as files: each kind is told by its content, opened, and answers as the object did."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from model_files import ROWS, SAFE, X, keras_model, pickled, y
from sklearn.linear_model import LogisticRegression

from truss.errors import MissingExtraError, PackagingError, UnsupportedObjectError, UntrustedFileError
from truss.frameworks.files import open_model
from truss.frameworks.registry import framework_for


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each file once, with the object that it was written from."""
    folder = tmp_path_factory.mktemp("files")
    return {name: (folder / name, write(folder / name), kind) for name, (write, kind) in SAFE.items()}


@pytest.mark.parametrize("name", SAFE)
def test_what_a_library_saved_is_opened_and_answers_as_the_object_did(written, name):
    path, model, kind = written[name]
    opened = open_model(path)
    framework = framework_for(opened)
    assert framework.name == kind
    request = {"inputs": ROWS}
    expected, answer = framework_for(model).answer(model, request), framework.answer(opened, request)
    assert np.allclose(expected["predictions"], answer["predictions"], rtol=1e-6)
    if "probabilities" in expected:
        assert np.allclose(expected["probabilities"], answer["probabilities"], rtol=1e-6)


@pytest.mark.parametrize("ending", ["", ".bin", ".txt", ".onnx", ".pkl"])
@pytest.mark.parametrize("name", SAFE)
def test_the_name_decides_nothing(written, tmp_path, name, ending):
    path, _, kind = written[name]
    renamed = tmp_path / f"weights{ending}"
    shutil.copyfile(path, renamed)
    assert framework_for(open_model(renamed)).name == kind


@pytest.mark.parametrize("share", [0.999, 0.5, 0.1])
@pytest.mark.parametrize("name", SAFE)
def test_a_file_that_is_cut_off_is_refused_in_words(written, tmp_path, name, share):
    path, _, _ = written[name]
    content = path.read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises((PackagingError, UnsupportedObjectError)) as raised:
        open_model(cut)
    assert raised.value.where == str(cut)
    assert raised.value.hint


def test_catboosts_json_is_a_model_too(tmp_path):
    import catboost

    model = catboost.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False).fit(X, y)
    model.save_model(tmp_path / "model.json", format="json")
    opened = open_model(tmp_path / "model.json")
    assert framework_for(opened).name == "catboost"
    assert (opened.predict(X, "Class") == model.predict(X)).all()


def test_a_dump_of_lightgbm_is_told_from_its_models(tmp_path):
    import lightgbm

    booster = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, y).booster_
    (tmp_path / "model.json").write_text(json.dumps(booster.dump_model()))
    with pytest.raises(UnsupportedObjectError, match="`dump_model` of LightGBM") as raised:
        open_model(tmp_path / "model.json")
    assert "save_model" in (raised.value.hint or "")


def test_an_estimator_of_xgboost_comes_back_as_what_it_was(written):
    opened = open_model(written["model.ubj"][0])
    assert type(opened).__name__ == "XGBClassifier"
    assert type(open_model(written["model.json"][0])).__name__ == "Booster"


def test_a_text_model_without_the_names_of_its_categories_is_cut_off(tmp_path):
    import lightgbm
    import pandas as pd

    frame = pd.DataFrame({"colour": pd.Categorical(["red", "green", "blue"] * 50), "size": X[:, 0]})
    lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(frame, y).booster_.save_model(
        tmp_path / "all.txt"
    )
    text = (tmp_path / "all.txt").read_text()
    assert framework_for(open_model(tmp_path / "all.txt")).name == "lightgbm"
    for end in (text.index('"red"'), text.index("pandas_categorical"), text.index("end of parameters")):
        (tmp_path / "cut.txt").write_text(text[: end + 3])
        with pytest.raises(PackagingError, match="cut off"):
            open_model(tmp_path / "cut.txt")


# --- code ---


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)], ids=str)
def test_pickles_are_opened_when_they_are_trusted(tmp_path, capsys, compress):
    path = pickled(tmp_path / "model.bin", compress)
    with pytest.raises(UntrustedFileError, match="a pickle: reading it runs code") as refused:
        open_model(path)
    assert "--trust-pickle" in (refused.value.hint or "")
    assert framework_for(open_model(path, trusted=True)).name == "sklearn"
    assert f"note: reading {path} as trusted" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_known(tmp_path, protocol):
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(LogisticRegression(max_iter=500).fit(X, y), protocol))
    with pytest.raises(UntrustedFileError, match="a pickle"):
        open_model(path)
    assert framework_for(open_model(path, trusted=True)).name == "sklearn"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_of_a_pickle_runs_unless_it_is_trusted(tmp_path):
    import torch

    marker = tmp_path / "ran"
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    torch.save(Bomb(marker), tmp_path / "archive.pt")
    torch.save(Bomb(marker), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("plain.pkl", "archive.pt", "old.pt"):
        with pytest.raises(UntrustedFileError):
            open_model(tmp_path / name)
    assert not marker.exists()


def test_a_pickle_that_is_cut_off(tmp_path):
    path = pickled(tmp_path / "model.joblib")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(PackagingError, match="looks like a pickle, and cannot be read"):
        open_model(path, trusted=True)


def test_a_pickle_of_a_module_that_is_not_here(tmp_path):
    content = pickle.dumps(Path("x"), protocol=2).replace(b"pathlib", b"nowhere")
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(PackagingError, match="names the module 'nowhere'"):
        open_model(tmp_path / "model.pkl", trusted=True)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_whole_module_of_torch_save_is_opened_when_it_is_trusted(tmp_path, new_format):
    import torch

    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(4, 3), path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UntrustedFileError, match=r"`torch\.save` pickled"):
        open_model(path)
    assert framework_for(open_model(path, trusted=True)).name == "torch"


def test_weights_without_code_are_called_that(tmp_path):
    import torch
    from safetensors.torch import save_file

    weights = torch.nn.Linear(4, 3).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    save_file(weights, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        with pytest.raises(PackagingError) as raised:
            open_model(tmp_path / name)
        assert "weights" in raised.value.message
        assert "package the module" in (raised.value.hint or "")


def test_a_function_in_a_keras_model_is_code(tmp_path):
    import keras

    factor = 3
    keras_model(keras.layers.Lambda(lambda rows: rows * factor)).save(tmp_path / "model.keras")
    with pytest.raises(UntrustedFileError, match="with code in it"):
        open_model(tmp_path / "model.keras")


def test_hdf5_is_opened_when_it_is_trusted(tmp_path):
    model = keras_model()
    model.save(tmp_path / "model.h5")
    model.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(UntrustedFileError, match="HDF5"):
        open_model(tmp_path / "model.h5")
    assert framework_for(open_model(tmp_path / "model.h5", trusted=True)).name == "keras"
    with pytest.raises(PackagingError, match="weights without their model"):
        open_model(tmp_path / "only.weights.h5", trusted=True)


# --- what nobody recognises ---


def zipped() -> bytes:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes.txt", "hello")
    return buffer.getvalue()


STRANGE = {
    b"": "an empty file",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n": "pointer of Git LFS",
    b"GGUF\3\0\0\0": "GGUF",
    b"\x93NUMPY\1\0": "NumPy",
    b"PAR1": "Parquet",
    b"\x1c\0\0\0TFL3": "TensorFlow Lite",
    b'{"weights": [1, 2]}': "JSON of something else",
    b"tree: yes\n": "text that begins with 'tree: yes'",
    b"\x08\x01\xff\xff\xff": "binary data that begins with 08 01 ff ff ff",
    bytes(64): "binary data that begins with 00 00",
    "é".encode() * 3000: "text that begins with",
    struct.pack("<Q", 9) + b"{not json}": "binary data",
    zipped(): "a zip archive of something else",
}


@pytest.mark.parametrize("content", STRANGE, ids=STRANGE.values())
def test_a_stranger_is_described_and_the_known_are_listed(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnsupportedObjectError) as raised:
        open_model(path)
    assert STRANGE[content] in raised.value.message
    for known in ("ONNX", "XGBoost", "LightGBM", "CatBoost", "TorchScript", "Keras", "pickles"):
        assert known in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "an empty folder"),
        (["config.yaml", "model/model.py"], "a Truss already"),
        (["config.json"], "a configuration without weights"),
        (["a", "b", "c", "d", "e", "f"], "a folder with a, b, c, d and 2 more"),
    ],
)
def test_a_strange_folder_is_described(tmp_path, names, said):
    for name in names:
        (tmp_path / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "given" / name).write_text("{}")
    (tmp_path / "given").mkdir(exist_ok=True)
    with pytest.raises(UnsupportedObjectError, match=said):
        open_model(tmp_path / "given")


def test_what_is_not_there(tmp_path):
    with pytest.raises(UnsupportedObjectError, match="there is no file or folder"):
        open_model(tmp_path / "missing.onnx")


def test_a_library_that_is_not_installed_is_named_with_its_extra(written, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "catboost", None)
    with pytest.raises(MissingExtraError) as raised:
        open_model(written["model.cbm"][0])
    assert "truss[catboost]" in (raised.value.hint or "")


# --- folders ---


def test_a_folder_of_transformers(tmp_path):
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=30, dim=8, hidden_dim=8, n_layers=1, n_heads=2)
    model = DistilBertForSequenceClassification(config)
    model.save_pretrained(tmp_path)
    opened = open_model(tmp_path)
    assert framework_for(opened).name == "transformers"
    assert type(opened) is type(model)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PackagingError, match="save_pretrained"):
        open_model(tmp_path)


def test_a_folder_of_spacy(tmp_path):
    import spacy

    language = spacy.blank("en")
    language.add_pipe("sentencizer")
    language.to_disk(tmp_path / "saved")
    assert framework_for(open_model(tmp_path / "saved")).name == "spacy"


def test_a_large_json_is_no_model_and_is_not_read_whole(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "x" * 2**24}))
    with pytest.raises(UnsupportedObjectError):
        open_model(tmp_path)
