"""A Truss to fill in by hand: it works as it is."""

import pytest

import truss
from truss.errors import TargetDirectoryError
from truss.model import check_model


def test_a_new_truss_answers_its_example(tmp_path):
    handle = truss.init(tmp_path / "mine", name="Mine")
    assert handle.spec.config.model_name == "Mine"
    check_model(handle.truss_dir, handle.spec.config)
    assert handle.predict({"inputs": [1]}) == {"predictions": [1]}
    assert handle.check_examples() == {}


def test_its_parts_survive_git(tmp_path):
    folder = truss.init(tmp_path / "mine").truss_dir
    for part in ("data", "packages"):
        assert (folder / part / ".gitkeep").is_file()
    assert (folder / ".gitignore").is_file()


def test_an_existing_truss_is_refused(tmp_path):
    truss.init(tmp_path / "mine")
    with pytest.raises(TargetDirectoryError, match="a Truss already"):
        truss.init(tmp_path / "mine")


def test_files_go_along(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"w")
    (tmp_path / "needs.txt").write_text("numpy\n")
    handle = truss.init(
        tmp_path / "mine", data_files=[tmp_path / "weights.bin"], requirements_file=tmp_path / "needs.txt"
    )
    assert (handle.spec.data_dir / "weights.bin").read_bytes() == b"w"
    assert handle.spec.requirements == ["numpy"]
    assert "# Python packages" in handle.spec.yaml_string
