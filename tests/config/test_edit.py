"""Edits: the edited lines change, and no other byte of the file."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest
from config_files import File, configs, files, names, words
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from truss.config import append_value, config_to_dict, parse_config, read_config, remove_value, set_value
from truss.config.plain import plain
from truss.config.splice import Splicer, same
from truss.config.tree import parse
from truss.errors import ConfigError, NotATrussError

# Without shrinking, which takes minutes on values of this size and finds little to take away.
quickly = settings(
    max_examples=60,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def content_of(text):
    root = parse(text, "config.yaml")
    return {} if root is None else plain(root)


def paths_of(content, path=()):
    for key, value in content.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*path, key))


def with_value(content, path, value):
    first, *rest = path
    inner = with_value(content.get(first) or {}, rest, value) if rest else value
    return {**content, first: inner}


def without(content, path):
    first, *rest = path
    if rest:
        return {**content, first: without(content[first], rest)}
    return {key: value for key, value in content.items() if key != first}


def assert_only_the_key_changed(file: File, newline: str, path, after: str):
    owner = next(path[:depth] for depth in range(len(path), 0, -1) if owned(file, path[:depth]))
    mark = "\ufeff" if file.text.startswith("\ufeff") else ""
    before, rest = file.around(owner, newline)
    assert after.startswith(mark + before)
    assert after.endswith(rest)


def owned(file, path):
    return any(line.path is not None and line.path[: len(path)] == path for line in file.lines)


scalars = st.one_of(
    words, st.integers(-5, 10**6), st.booleans(), st.none(), st.floats(allow_nan=False, width=32)
)
some_values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(names, scalars, max_size=3),
    st.lists(st.dictionaries(names, scalars, max_size=2), max_size=2),
)
free_files = files(
    st.dictionaries(
        names,
        st.recursive(
            scalars,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)


@quickly
@given(free_files, some_values, st.data())
def test_setting_a_key_changes_its_lines_only(written, value, data):
    file, newline = written
    paths = list(paths_of(file.values))
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    after = Splicer(file.text).set(path, value)
    assert same(content_of(after), with_value(file.values, path, value))
    assert_only_the_key_changed(file, newline, path, after)


@quickly
@given(free_files, some_values, st.data())
def test_a_new_key_is_added_and_nothing_else_changes(written, value, data):
    file, newline = written
    above = [path for path in paths_of(file.values) if isinstance(at(file.values, path), dict | None)]
    path = (*data.draw(st.sampled_from([(), *above])), "a new key")
    after = Splicer(file.text).set(path, value)
    assert same(content_of(after), with_value(file.values, path, value))
    if path[:-1]:
        assert_only_the_key_changed(file, newline, path, after)
    else:
        assert is_subsequence(file.text.lstrip("\ufeff").splitlines(), after.lstrip("\ufeff").splitlines())


def at(content, path):
    for part in path:
        content = content[part]
    return content


def is_subsequence(few, many):
    rest = iter(many)
    return all(line in rest for line in few)


@quickly
@given(free_files, st.data())
def test_removing_a_key_removes_its_lines_only(written, data):
    file, newline = written
    paths = list(paths_of(file.values))
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    after = Splicer(file.text).remove(path)
    assert same(content_of(after), without(file.values, path))
    alone = len(at(file.values, path[:-1])) == 1 and len(path) > 1
    assert_only_the_key_changed(file, newline, path[:-1] if alone else path, after)


@quickly
@given(free_files, scalars, st.data())
def test_inserting_into_a_list_keeps_its_other_items(written, item, data):
    file, newline = written
    paths = [path for path in paths_of(file.values) if isinstance(at(file.values, path), list)]
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    old = at(file.values, path)
    index = data.draw(st.integers(0, len(old)))
    after = Splicer(file.text).insert(path, index, item)
    assert same(content_of(after), with_value(file.values, path, [*old[:index], item, *old[index:]]))
    assert_only_the_key_changed(file, newline, path, after)


@settings(quickly, max_examples=30)
@given(files(configs), st.sampled_from(["2", "500m", "0.5"]))
def test_a_config_of_any_kind_can_be_edited(written, cpu):
    file, newline = written
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(file.text.encode())
        before = config_to_dict(read_config(Path(folder)))
        set_value(Path(folder), "resources.cpu", cpu)
        after = config_to_dict(read_config(Path(folder)))
        assert same(after, {**before, "resources": {**before["resources"], "cpu": cpu}})
        if owned(file, ("resources",)):
            assert_only_the_key_changed(file, newline, ("resources", "cpu"), path.read_bytes().decode())


@quickly
@given(free_files)
def test_lists_and_mappings_set_anew_keep_what_stays(written):
    file, _ = written
    for path in paths_of(file.values):
        value = at(file.values, path)
        if isinstance(value, dict):
            assert Splicer(file.text).set(path, dict(value)) == file.text
        if isinstance(value, list) and value:
            assert Splicer(file.text).set(path, list(value)) == file.text


BY_HAND = """\
# My model

model_name: 'old'   # shown in the catalogue
requirements:   # pinned by hand
- numpy==1.0  # do not touch
- pandas

resources:
    # half of what it had
    cpu: "500m"

    memory: 1Gi
description: |
  Two
  lines

environment_variables: {A: one, B: "two"}   # inline
secrets:
system_packages: []  # none
unknown_key:
  - {deep: [1, 2]}
"""


@pytest.fixture
def truss(tmp_path):
    """Write a Truss's config, byte for byte."""

    def write(text=BY_HAND):
        (tmp_path / "config.yaml").write_bytes(text.encode())
        return tmp_path

    return write


def text_of(folder):
    return (folder / "config.yaml").read_bytes().decode()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (lambda d: set_value(d, "model_name", "new"), "model_name: 'old'   #", "model_name: 'new'   #"),
        (lambda d: set_value(d, "model_name", None), "model_name: 'old'   #", "model_name: null   #"),
        (lambda d: set_value(d, "resources.cpu", "2"), 'cpu: "500m"', 'cpu: "2"'),
        (lambda d: set_value(d, "resources.use_gpu", True), "1Gi\n", "1Gi\n    use_gpu: true\n"),
        (lambda d: set_value(d, ("environment_variables", "C.D"), "on"), '"two"}', '"two", C.D: "on"}'),
        (lambda d: set_value(d, ("secrets", "key"), None), "secrets:\n", "secrets:\n    key: null\n"),
        (lambda d: set_value(d, "description", "One"), "|\n  Two\n  lines\n", "One\n"),
        (lambda d: append_value(d, "requirements", "scipy"), "- pandas\n", "- pandas\n- scipy\n"),
        (lambda d: append_value(d, "system_packages", "git"), " []  # none\n", "  # none\n- git\n"),
        (lambda d: set_value(d, "requirements", ["numpy==1.0", "scipy"]), "- pandas\n", "- scipy\n"),
        (lambda d: set_value(d, "requirements", ["pandas"]), "- numpy==1.0  # do not touch\n", ""),
        (lambda d: remove_value(d, "resources.memory"), "    memory: 1Gi\n", ""),
        (lambda d: remove_value(d, "environment_variables.A"), "{A: one, B", "{B"),
        (lambda d: remove_value(d, "description"), "description: |\n  Two\n  lines\n", ""),
        (lambda d: remove_value(d, "nothing.here"), "", ""),
        (lambda d: set_value(d, "resources.cpu", "500m"), "", ""),
    ],
)
def test_a_file_written_by_hand(truss, edit, old, new, newline):
    folder = truss(BY_HAND.replace("\n", newline))
    edit(folder)
    assert text_of(folder) == BY_HAND.replace(old, new, 1).replace("\n", newline)


def test_an_empty_file_gets_its_first_key(truss):
    folder = truss("# only a comment")
    set_value(folder, "runtime.batching.mode", "rows")
    assert text_of(folder) == "# only a comment\nruntime:\n  batching:\n    mode: rows\n"


def test_a_byte_order_mark_stays(truss):
    folder = truss("\ufeffmodel_name: a\n")
    set_value(folder, "model_name", "b")
    assert text_of(folder) == "\ufeffmodel_name: b\n"
    remove_value(folder, "model_name")
    assert text_of(folder) == "\ufeff"


def test_a_bad_value_changes_nothing(truss):
    folder = truss()
    with pytest.raises(ConfigError) as caught:
        set_value(folder, "resources.memory", "lots")
    assert [problem.key for problem in caught.value.problems] == ["resources.memory"]
    assert text_of(folder) == BY_HAND
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_a_value_that_yaml_does_not_have_is_refused(truss):
    with pytest.raises(ConfigError, match="a set cannot be written"):
        set_value(truss(), "model_metadata", {"classes": {1, 2}})


@pytest.mark.parametrize("key", ["base.cpu", "resources.cpu"])
def test_what_an_anchor_shares_is_not_changed_behind_its_back(truss, key):
    text = "base: &base\n  cpu: '1'\nresources: *base\n"
    folder = truss(text)
    with pytest.raises(ConfigError) as caught:
        set_value(folder, key, "2")
    assert caught.value.problems[0].hint == "edit the file by hand"
    assert text_of(folder) == text


def test_a_merged_key_is_overridden_where_it_is_merged(truss):
    folder = truss("base: &base\n  cpu: '1'\nresources:\n  <<: *base\n")
    set_value(folder, "resources.cpu", "2")
    assert text_of(folder) == "base: &base\n  cpu: '1'\nresources:\n  <<: *base\n  cpu: \"2\"\n"


def test_an_alias_gives_way_where_it_stands(truss):
    folder = truss("base: &base [numpy]\nrequirements: *base  # shared\n")
    append_value(folder, "requirements", "scipy")
    assert read_config(folder).requirements == ["numpy", "scipy"]
    assert text_of(folder).startswith("base: &base [numpy]\nrequirements:")


def test_appending_to_something_else_is_refused(truss):
    with pytest.raises(ConfigError, match="not a list"):
        append_value(truss(), "model_name", "x")


@pytest.mark.parametrize("key", ["", "a..b", ".", ()])
def test_a_key_without_a_name_is_refused(truss, key):
    with pytest.raises(ConfigError, match="not the name of a key"):
        set_value(truss(), key, 1)


def test_the_mode_of_the_file_stays_and_a_link_stays_a_link(tmp_path):
    real = tmp_path / "real.yaml"
    real.write_text("model_name: a\n")
    real.chmod(0o640)
    folder = tmp_path / "truss"
    folder.mkdir()
    (folder / "config.yaml").symlink_to(real)
    set_value(folder, "model_name", "b")
    assert (folder / "config.yaml").is_symlink()
    assert real.read_text() == "model_name: b\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.yaml", "truss"]


def test_a_config_with_mistakes_is_not_edited(truss):
    folder = truss("model_name: [1]\n")
    with pytest.raises(ConfigError):
        set_value(folder, "description", "x")
    assert text_of(folder) == "model_name: [1]\n"


def test_a_folder_without_config(tmp_path):
    with pytest.raises(NotATrussError):
        set_value(tmp_path, "model_name", "x")


def test_the_result_is_what_the_reader_reads(truss):
    folder = truss()
    set_value(folder, "model_metadata", {"labels": ["yes", "010", "a: b"], "nested": {"x": [1, {"y": None}]}})
    assert parse_config(text_of(folder)).model_metadata == {
        "labels": ["yes", "010", "a: b"],
        "nested": {"x": [1, {"y": None}]},
    }
