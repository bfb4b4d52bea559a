"""A Truss as one archive with the server's code."""

import os
import subprocess
import sys
import zipfile

import pytest

from truss.build.archive import archive
from truss.errors import ImageError


def test_it_holds_the_truss_and_a_server_that_runs_from_it(small, tmp_path):
    made = archive(small("one"), tmp_path / "kept")
    with zipfile.ZipFile(made.path) as zipped:
        names = zipped.namelist()
        zipped.extractall(tmp_path / "there")
    assert {name.partition("/")[0] for name in names} == {"app", "truss"}
    assert "app/model/model.py" in names
    done = subprocess.run(
        [sys.executable, "-c", "import truss.runtime.front; print(truss.runtime.front.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "there")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path / "there" / "truss"))


def test_the_same_files_are_the_same_bytes_whenever_they_were_written(small, tmp_path):
    folder = small("one")
    first = archive(folder, tmp_path / "first")
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    again = archive(folder, tmp_path / "again")
    assert again.digest == first.digest
    assert again.path.read_bytes() == first.path.read_bytes()


def test_what_is_there_is_not_made_again_and_another_model_has_another_name(small, tmp_path):
    folder = small("one")
    first = archive(folder, tmp_path / "kept")
    before = first.path.stat().st_ino
    assert archive(folder, tmp_path / "kept").path.stat().st_ino == before
    (folder / "truss.lock").write_text("")
    (folder / "model" / "model.py").write_text("class Model: ...\n")
    assert archive(folder, tmp_path / "kept").digest != first.digest


def test_a_folder_that_cannot_be_made_is_named(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError) as caught:
        archive(small("one"), tmp_path / "file" / "kept")
    assert str(tmp_path / "file") in str(caught.value)
