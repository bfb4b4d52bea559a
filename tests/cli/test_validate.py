"""`truss validate`: every problem at once, none of them a traceback."""

import re

import pytest

from truss.model.integrity import record

FIVE_MISTAKES = """\
model_name: [not, a, name]
resources:
  cpu: lots
  use_gpu: perhaps
secrets:
  ../key: null
runtime:
  workers: many
"""


def test_a_good_truss(truss, make_truss):
    ran = truss("validate", make_truss(examples="- {name: one, input: {inputs: [1]}}"))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "0 problems, 0 warnings\n"


def test_a_good_truss_for_a_script(truss, make_truss):
    assert truss("validate", make_truss(), "--json").json() == {"valid": True, "findings": []}


def test_five_mistakes_are_five_problems_with_their_lines(truss, make_truss):
    folder = make_truss(config=FIVE_MISTAKES)
    ran = truss("validate", folder)
    assert ran.code == 1
    assert [int(line) for line in re.findall(r"config\.yaml:(\d+): ", ran.out)] == [1, 3, 4, 6, 8]
    assert "5 problems" in ran.err
    report = truss("validate", folder, "--json").json()
    assert [finding["line"] for finding in report["findings"]] == [1, 3, 4, 6, 8]
    assert not report["valid"]


@pytest.mark.parametrize("command", [["predict", "-d", "{}"], ["serve", "--port", "0"], ["run-example"]])
def test_other_commands_report_all_five_too(truss, make_truss, command):
    folder = make_truss(config=FIVE_MISTAKES)
    ran = truss(*command, cwd=folder)
    assert (ran.code, ran.out) == (2, "")
    assert "5 problems" in ran.err
    assert [int(line) for line in re.findall(r"config\.yaml:(\d+): ", ran.err)] == [1, 3, 4, 6, 8]


def test_a_folder_without_config(truss, tmp_path):
    ran = truss("validate", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "config.yaml" in ran.err


def test_a_config_with_the_other_suffix(truss, tmp_path):
    (tmp_path / "config.yml").touch()
    ran = truss("validate", tmp_path)
    assert ran.code == 2
    assert "config.yml" in ran.err


def test_an_unknown_key_is_a_warning(truss, make_truss):
    folder = make_truss(config="model_name: x\nresourses:\n  cpu: '1'\nruntime:\n  wrokers: 2\n")
    ran = truss("validate", folder)
    assert ran.code == 0
    assert "config.yaml:2: resourses: " in ran.out
    assert "`resources`" in ran.out
    assert "config.yaml:5: runtime.wrokers: " in ran.out
    assert "`workers`" in ran.out
    assert "0 problems, 2 warnings" in ran.err


def test_a_class_without_predict(truss, make_truss):
    ran = truss("validate", make_truss("class Model:\n    def load(self): ...\n"))
    assert ran.code == 1
    assert "predict" in ran.out
    assert "model.py:1" in ran.out


def test_a_syntax_error(truss, make_truss):
    ran = truss("validate", make_truss("class Model:\n    def predict(self, request)\n        return 1\n"))
    assert ran.code == 1
    assert "syntax error" in ran.out
    assert "model.py:2" in ran.out
    assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize("command", [["predict", "-d", "{}"], ["run-example"]])
@pytest.mark.parametrize("model", ["class Model: ...", "class Model\n", "Model = 3", "import absent_package"])
def test_a_broken_model_class_is_explained_by_other_commands(truss, make_truss, command, model):
    ran = truss(*command, cwd=make_truss(model, examples="- {name: one, input: {}}"))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert "model.py" in ran.err
    assert "\nhint: " in ran.err
    assert "Traceback" not in ran.err


def test_a_missing_data_folder(truss, make_truss):
    ran = truss("validate", make_truss(config="data_dir: weights"))
    assert ran.code == 1
    assert "weights" in ran.out


def test_a_data_file_that_git_has_not_fetched(truss, make_truss):
    folder = make_truss()
    (folder / "data").mkdir()
    (folder / "data" / "weights.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    ran = truss("validate", folder)
    assert ran.code == 1
    assert "weights.bin" in ran.out
    assert "git lfs pull" in ran.out


def test_broken_examples(truss, make_truss):
    ran = truss("validate", make_truss(examples="name: not a list"))
    assert ran.code == 1
    assert "examples.yaml" in ran.out


def test_problems_of_different_files_come_together(truss, make_truss):
    folder = make_truss("class Model: ...", config="external_package_dirs: [absent]", examples="3")
    ran = truss("validate", folder, "--json")
    wheres = [finding["where"] for finding in ran.json()["findings"]]
    assert len(wheres) == 3
    for name, where in zip(("absent", "model.py", "examples.yaml"), wheres, strict=True):
        assert name in where


def test_nothing_is_constructed_or_loaded(truss, make_truss):
    folder = make_truss(
        """
        class Model:
            def __init__(self): raise AssertionError("constructed")
            def load(self): raise AssertionError("loaded")
            def predict(self, request): ...
        """
    )
    assert truss("validate", folder).code == 0


def test_data_files_that_are_not_those_that_were_packaged(truss, make_truss):
    folder = make_truss()
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "names.txt").write_text("one\n")
    record(folder, [data])
    assert truss("validate", folder).code == 0
    (data / "names.txt").write_text("two\n")
    ran = truss("validate", folder)
    assert ran.code == 1
    assert "data/names.txt is not the file that was packaged: XXH128 " in ran.out
