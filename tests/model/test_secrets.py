"""Where a secret's value comes from, and in which order."""

import pytest

from truss.errors import TrussError
from truss.model import Secrets


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Fill any of the four places with a value that names it; return the resolved secret."""

    def resolve(*filled):
        folder, home = tmp_path / "secrets", tmp_path / "home"
        folder.mkdir()
        home.mkdir()
        if "file" in filled:
            (folder / "key").write_text("from file\n")
        if "environment" in filled:
            monkeypatch.setenv("TRUSS_SECRET_key", "from environment")
        if "local" in filled:
            (home / "config.yaml").write_text("secrets:\n  key: from local\n")
        return Secrets({"key": "from default"}, folder=folder, home=home)["key"]

    return resolve


@pytest.mark.parametrize(
    ("filled", "winner"),
    [
        (("file", "environment", "local"), "from file"),
        (("environment", "local"), "from environment"),
        (("local",), "from local"),
        ((), "from default"),
    ],
)
def test_file_then_environment_then_local_config_then_default(places, filled, winner):
    assert places(*filled) == winner


@pytest.mark.parametrize("variable", ["TRUSS_SECRET_api-key", "TRUSS_SECRET_api_key"])
def test_a_variable_may_have_underscores_for_what_shells_do_not_take(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "from environment")
    secrets = Secrets({"api-key": "from default"}, folder=tmp_path / "none", home=tmp_path)
    assert secrets["api-key"] == "from environment"


def test_undeclared_names_do_not_exist(monkeypatch):
    monkeypatch.setenv("TRUSS_SECRET_other", "x")
    secrets = Secrets({"key": None})
    assert list(secrets) == ["key"]
    assert "other" not in secrets
    with pytest.raises(KeyError, match="not declared"):
        secrets["other"]


def test_repr_shows_no_value():
    assert repr(Secrets({"key": "hush"})) == "Secrets(key)"


def test_a_broken_local_config_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("secrets: [unclosed\n")
    with pytest.raises(TrussError, match="cannot be read as YAML"):
        Secrets({"key": None}, folder=tmp_path / "none", home=tmp_path)["key"]


def test_rotated_files_are_seen_at_the_next_look(tmp_path):
    secrets = Secrets({"key": None}, folder=tmp_path, home=tmp_path)
    (tmp_path / "key").write_text("old")
    assert secrets["key"] == "old"
    (tmp_path / "key").write_text("new")
    assert secrets["key"] == "new"
