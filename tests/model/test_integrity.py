"""Data files that are not those that were packaged are named, with what they should be."""

import pytest
from sklearn.linear_model import LogisticRegression

import truss
from truss.errors import CorruptDataError, ModelLoadError
from truss.model.integrity import CHECKSUMS, Damage, checksum, damaged, read, record
from truss.model.loader import load_model


@pytest.fixture
def packaged(tmp_path):
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    extra = tmp_path / "names.txt"
    extra.write_text("one\ntwo\n")
    truss.create(model, tmp_path / "model", data_files=[extra])
    return tmp_path / "model"


def load(folder):
    return load_model(folder, truss.load(folder).spec.config)


def test_a_new_truss_knows_its_data_files(packaged):
    assert set(read(packaged)) == {"data/model/model.joblib", "data/names.txt"}
    assert damaged(packaged) == []


def test_checksums_are_those_of_xxh3_128(tmp_path):
    # Of the empty input, as the reference implementation states it.
    (tmp_path / "empty").touch()
    assert checksum(tmp_path / "empty") == "99aa06d3014798d86001c324468d497f"


def test_a_damaged_file_that_cannot_be_loaded_is_named(packaged):
    path = packaged / "data" / "model" / "model.joblib"
    expected = checksum(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptDataError) as caught:
        load(packaged)
    assert expected in caught.value.message
    assert "data/model/model.joblib is not the file that was packaged" in caught.value.message
    assert caught.value.where == str(path)
    assert CHECKSUMS in caught.value.hint


def test_a_missing_file_is_named(packaged):
    (packaged / "data" / "model" / "model.joblib").unlink()
    with pytest.raises(CorruptDataError, match=r"data/model/model.joblib is missing \(expected XXH128 "):
        load(packaged)


def test_other_failures_of_loading_are_what_they_were(packaged):
    model = packaged / "model" / "model.py"
    model.write_text(model.read_text().replace("self._check_python()", "raise RuntimeError('mine')"))
    with pytest.raises(ModelLoadError, match="mine") as caught:
        load(packaged)
    assert not isinstance(caught.value, CorruptDataError)


def test_a_truss_without_checksums_has_no_damage(packaged):
    (packaged / CHECKSUMS).unlink()
    (packaged / "data" / "names.txt").unlink()
    assert damaged(packaged) == []


def test_files_that_are_added_are_recorded(packaged, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    (tmp_path / "names.txt").write_text("three\n")
    handle = truss.load(packaged)
    handle.add_data(folder)
    handle.add_data(tmp_path / "names.txt")
    assert set(read(packaged)) == {"data/model/model.joblib", "data/names.txt", "data/tables/a.csv"}
    assert damaged(packaged) == []


def test_a_damage_says_what_was_found(tmp_path):
    file = tmp_path / "data"
    file.write_bytes(b"one")
    record(tmp_path, [file])
    expected = checksum(file)
    file.write_bytes(b"two")
    assert damaged(tmp_path) == [Damage("data", expected, checksum(file))]
