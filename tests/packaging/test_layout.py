"""Folders: how a new one takes its place, what is copied into it, what Git is told."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from truss.errors import PackagingError, TargetDirectoryError
from truss.packaging import layout


def built(target, text):
    with layout.built_beside(target) as folder:
        (folder / "config.yaml").write_text(text)
        return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_is_built_next_to_its_place(tmp_path):
    assert built(tmp_path / "a" / "b", "new").parent == tmp_path / "a"
    assert (tmp_path / "a" / "b" / "config.yaml").read_text() == "new"
    assert names(tmp_path / "a") == ["b"]


def test_an_empty_folder_is_built_in_and_stays_the_same_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    before = (tmp_path / "empty").stat().st_ino
    assert built(tmp_path / "empty", "new").parent == tmp_path / "empty"  # it may be a mount point
    assert names(tmp_path / "empty") == ["config.yaml"]
    assert (tmp_path / "empty").stat().st_ino == before


def interrupted(target):
    with layout.built_beside(target) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt


def test_the_models_own_error_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), layout.built_beside(tmp_path / "target"):
        (tmp_path / "vocabulary").read_text()
    assert names(tmp_path) == []


@pytest.mark.parametrize("there", ["nothing", "empty", "old"])
def test_a_failure_leaves_what_was_there(tmp_path, there):
    target = tmp_path / "above" / "target"
    if there != "nothing":
        target.mkdir(parents=True)
    if there == "old":
        (target / "config.yaml").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(target)
    expected = {"nothing": [], "empty": ["above", "target"], "old": ["above", "config.yaml", "target"]}
    assert sorted(path.name for path in tmp_path.rglob("*")) == expected[there]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "config.yaml").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    built(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "config.yaml").read_text() == "new"


def test_what_the_system_refuses_while_building_is_told_with_the_place(tmp_path):
    with (
        pytest.raises(TargetDirectoryError, match="cannot be written: No space left") as caught,
        layout.built_beside(tmp_path / "target"),
    ):
        Path("/dev/full").write_text("x")
    assert caught.value.where == str(tmp_path / "target")
    assert names(tmp_path) == []


def test_a_file_is_never_overwritten_by_a_copy(tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "x.csv").write_text(part)
    sources = [tmp_path / "a" / "x.csv", tmp_path / "b" / "x.csv"]
    with pytest.raises(PackagingError, match=r"there is a 'x.csv' in data/ already"):
        layout.copy_into(sources, tmp_path / "data")
    layout.copy_into(sources, tmp_path / "data", replace=True)
    assert (tmp_path / "data" / "x.csv").read_text() == "b"


def test_the_same_source_twice_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("x")
    layout.copy_into([*layout.matching("x.csv", "file"), tmp_path / "x.csv"], tmp_path / "data")
    assert names(tmp_path / "data") == ["x.csv"]


def test_a_folder_is_not_copied_into_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackagingError, match="holds the Truss itself"):
        layout.copy_into(layout.matching(".", "file"), tmp_path / "truss" / "data")


def test_what_cannot_be_copied_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PackagingError, match="No such file") as caught:
        layout.copy_into([tmp_path / "folder"], tmp_path / "data")
    assert caught.value.where == str(tmp_path / "folder")


def is_in_lfs(truss_dir, *paths):
    subprocess.run(["git", "init", "-q", truss_dir], check=True)
    command = ["git", "-C", truss_dir, "check-attr", "-z", "filter", *paths]
    fields = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [value == "lfs" for value in fields[2::3]]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(r"ab *?[]\!#-é", min_size=1, max_size=8), st.text("abc", min_size=9, max_size=12))
def test_git_lfs_gets_exactly_the_large_files_whatever_their_names(tmp_path_factory, large, small):
    truss_dir = tmp_path_factory.mktemp("truss")
    data = truss_dir / "data"
    data.mkdir()
    with (data / large).open("wb") as file:
        file.truncate(layout.LARGE)
    (data / small).write_bytes(b"small")
    layout.write_git_files(truss_dir, data)
    assert is_in_lfs(truss_dir, f"data/{large}", f"data/{small}") == [True, False]


def test_lines_for_git_are_added_once_and_to_what_is_there(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    layout.write_git_files(tmp_path, data)
    (tmp_path / ".gitattributes").write_text("*.png binary")
    (data / "big.bin").write_bytes(bytes(layout.LARGE))
    for _ in range(2):
        layout.mark_large_files(tmp_path, data)
    text = (tmp_path / ".gitattributes").read_text()
    assert text == "*.png binary\ndata/big.bin filter=lfs diff=lfs merge=lfs -text\n"
    (tmp_path / ".gitattributes").unlink()
    layout.mark_large_files(tmp_path, data)
    assert not (tmp_path / ".gitattributes").exists()
