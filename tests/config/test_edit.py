"""Edits change the line they are about, and nothing else."""

import stat

import pytest
from config_files import configs, layouts, sections, words
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from truss.config import append_value, config_to_dict, parse_config, read_config, remove_value, set_value
from truss.config.edit import append_in, remove_in, set_in
from truss.config.schema import Resources
from truss.errors import ConfigError

texts = configs.flatmap(layouts)
quickly = settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)


def changed_lines(before, after):
    """The lines that an edit took away, by position from both ends."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return old, new


@quickly
@given(texts, words)
def test_setting_a_scalar_changes_one_line(text, value):
    before = parse_config(text)
    assume(isinstance(before.model_name, str) or before.model_name is None)
    after = set_in(text, ("model_name",), value)
    kept = {line.rstrip("\r\n") for line in after.splitlines(keepends=True)}
    gone = [line for line in text.splitlines() if line not in kept]
    assert len(gone) <= 1
    assert all(line.startswith("model_name:") for line in gone)
    assert len(after.splitlines()) - len(text.splitlines()) == (0 if "\nmodel_name:" in f"\n{text}" else 1)
    expected = {**config_to_dict(before), "model_name": value}
    assert config_to_dict(parse_config(after)) == expected


@quickly
@given(texts, st.sampled_from(["2", "500m", "0.5"]))
def test_setting_a_nested_key_keeps_everything_else(text, cpu):
    before = config_to_dict(parse_config(text))
    after = set_in(text, ("resources", "cpu"), cpu)
    expected = {**before, "resources": {**before["resources"], "cpu": cpu}}
    assert config_to_dict(parse_config(after)) == expected
    assert comments_of(after) == comments_of(text)


def comments_of(text):
    return [line for line in text.splitlines() if line.lstrip().startswith("#")]


@quickly
@given(texts, words)
def test_appending_adds_one_item(text, item):
    before = config_to_dict(parse_config(text))
    assume(before["requirements_file"] is None)
    after = append_in(text, ("requirements",), item)
    expected = {**before, "requirements": [*before["requirements"], item]}
    assert config_to_dict(parse_config(after)) == expected
    assert comments_of(after) == comments_of(text)


@quickly
@given(
    texts, st.sampled_from(["model_name", "requirements", "resources", "environment_variables", "data_dir"])
)
def test_removing_takes_away_only_the_key(text, key):
    before = config_to_dict(parse_config(text))
    after = remove_in(text, (key,))
    default = config_to_dict(parse_config(""))[key]
    assert config_to_dict(parse_config(after)) == {**before, key: default}


@quickly
@given(texts)
def test_setting_and_removing_a_new_key_gives_the_text_back(text):
    assume("zz_new" not in text)
    after = remove_in(set_in(text, ("zz_new",), "x"), ("zz_new",))
    assert after.rstrip() == text.rstrip() or after.replace("{}", "") == text.replace("{}", "")


@quickly
@given(sections(Resources).flatmap(lambda content: layouts({"resources": content})))
def test_an_edit_that_sets_what_is_there_changes_nothing_that_is_read(text):
    before = parse_config(text)
    assert parse_config(set_in(text, ("resources", "memory"), before.resources.memory)) == before


KEPT = """\
# My model

model_name: 'old'   # shown in the catalogue
requirements:   # pinned by hand
- numpy==1.0  # do not touch
- pandas

resources:
    # half of what it had
    cpu: "500m"

    memory: 1Gi
environment_variables: {A: one, B: "two"}   # inline
secrets:
unknown_key:
  - {deep: [1, 2]}
"""


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (lambda d: set_value(d, "model_name", "new"), ["model_name: 'old'   # shown in the catalogue"],
         ["model_name: new   # shown in the catalogue"]),
        (lambda d: set_value(d, "resources.cpu", "2"), ['    cpu: "500m"'], ['    cpu: "2"']),
        (lambda d: set_value(d, "resources.use_gpu", True), [], ["    use_gpu: true"]),
        (lambda d: set_value(d, ("environment_variables", "C.D"), "x y"), None,
         ['environment_variables: {A: one, B: "two", C.D: x y}   # inline']),
        (lambda d: set_value(d, ("secrets", "key"), None), [], ["  key: null"]),
        (lambda d: append_value(d, "requirements", "scipy"), [], ["- scipy"]),
        (lambda d: append_value(d, "system_packages", "git"), [], ["system_packages:", "  - git"]),
        (lambda d: remove_value(d, "resources.memory"), ["    memory: 1Gi"], []),
        (lambda d: remove_value(d, ("environment_variables", "A")), None,
         ['environment_variables: {B: "two"}   # inline']),
        (lambda d: remove_value(d, "nothing.here"), [], []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_written_by_hand(tmp_path, edit, old, new, line_end):
    path = tmp_path / "config.yaml"
    before = KEPT.replace("\n", line_end)
    path.write_bytes(before.encode())
    path.chmod(0o640)
    edit(tmp_path)
    after = path.read_bytes().decode()
    taken, added = changed_lines(before, after)
    assert [line.rstrip("\r\n") for line in added] == new
    if old is not None:
        assert [line.rstrip("\r\n") for line in taken] == old
    assert all(line.endswith(line_end) for line in after.splitlines(keepends=True))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


def test_a_bad_value_changes_nothing(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(KEPT)
    with pytest.raises(ConfigError, match=r"resources.memory: 'lots' does not fit"):
        set_value(tmp_path, "resources.memory", "lots")
    assert path.read_text() == KEPT
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


def test_a_byte_order_mark_survives(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfmodel_name: a\n")
    set_value(tmp_path, "model_name", "b")
    assert path.read_bytes() == b"\xef\xbb\xbfmodel_name: b\n"


def test_an_alias_is_replaced_where_it_stands(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("base: &b [numpy]\nrequirements: *b # shared\n")
    append_value(tmp_path, "requirements", "scipy")
    assert read_config(tmp_path).requirements == ["numpy", "scipy"]
    assert path.read_text().startswith("base: &b [numpy]\nrequirements:")


def test_an_empty_file_gets_its_first_key(tmp_path):
    (tmp_path / "config.yaml").write_text("# only a comment")
    set_value(tmp_path, "runtime.batching.mode", "rows")
    assert (
        tmp_path / "config.yaml"
    ).read_text() == "# only a comment\nruntime:\n  batching:\n    mode: rows\n"
