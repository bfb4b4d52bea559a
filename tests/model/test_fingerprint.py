"""A Truss's fingerprint changes exactly when something that loading reads changes."""

import os

import pytest

from truss.config import read_config
from truss.model import fingerprint


@pytest.fixture
def folder(write):
    return write(
        {
            "config.yaml": "model_name: a\n",
            "model/model.py": "x = 1\n",
            "model/sibling.py": "y = 1\n",
            "packages/p.py": "z = 1\n",
            "data/weights.bin": "w",
            "README.md": "text",
        }
    )


def take(folder):
    return fingerprint(folder, read_config(folder))


@pytest.mark.parametrize(
    "path", ["config.yaml", "model/model.py", "model/sibling.py", "packages/p.py", "data/weights.bin"]
)
def test_an_edit_shows(folder, path):
    before = take(folder)
    assert take(folder) == before
    file = folder / path
    facts = file.stat()
    file.write_text(file.read_text().replace("1", "2") + " ")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert take(folder) != before


def test_new_and_removed_files_show(folder):
    before = take(folder)
    (folder / "data" / "more.bin").touch()
    assert take(folder) != before
    (folder / "data" / "more.bin").unlink()
    assert take(folder) == before


def test_what_loading_does_not_read_does_not_show(folder):
    before = take(folder)
    (folder / "README.md").write_text("other")
    (folder / "model" / "__pycache__").mkdir()
    (folder / "model" / "__pycache__" / "model.pyc").touch()
    assert take(folder) == before
