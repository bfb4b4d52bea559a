"""Trusses made by hand: a model class as text, a config as text."""

import textwrap

import pytest


@pytest.fixture
def make_truss(tmp_path):
    """Write a Truss with the given model code and config text; returns its folder."""

    def make(code, config="", name="a_truss"):
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(textwrap.dedent(config))
        (folder / "model" / "__init__.py").touch()
        (folder / "model" / "model.py").write_text(textwrap.dedent(code))
        return folder

    return make
