"""Trusses made by hand, for the in-process loader."""

import textwrap

import pytest

from truss.config import read_config
from truss.model import load_model


@pytest.fixture
def write(tmp_path):
    """Write files of a Truss (path -> text) and return its folder; called again, it edits."""

    def write_files(files, name="a_truss"):
        folder = tmp_path / name
        for path, text in {"config.yaml": "", **files}.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if path in files or not file.exists():
                file.write_text(textwrap.dedent(text))
        return folder

    return write_files


@pytest.fixture
def load():
    """Load a Truss from its folder."""

    def load_folder(folder, **options):
        return load_model(folder, read_config(folder), **options)

    return load_folder
