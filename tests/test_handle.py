"""The notebook's handle: asking, editing, and telling what it is."""

import os

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import truss
from truss.errors import ConfigError, ExamplesError, InvalidInputError, ModelDefinitionError, NotATrussError

CODE = """
from pathlib import Path
from model.words import WORD

class Model:
    def __init__(self, data_dir):
        self._data_dir = data_dir
    def load(self):
        self.count = 0
        self.data = (Path(self._data_dir) / "note.txt").read_text()
    def predict(self, request):
        self.count += 1
        return [WORD, self.data, self.count]
"""


@pytest.fixture
def handle(tmp_path):
    handle = truss.init(tmp_path / "mine")
    (handle.truss_dir / "model" / "model.py").write_text(CODE)
    (handle.truss_dir / "model" / "words.py").write_text("WORD = 'one'\n")
    (handle.truss_dir / "data" / "note.txt").write_text("data one")
    return handle


def edit(path, text):
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # the same size, a moment later


def test_the_model_stays_loaded_between_calls(handle):
    assert [handle.predict({})[2] for _ in range(3)] == [1, 2, 3]
    assert handle.server_predict({})[2] == 4


def test_edits_of_code_siblings_and_data_are_picked_up(handle):
    assert handle.predict({}) == ["one", "data one", 1]
    edit(handle.truss_dir / "model" / "words.py", "WORD = 'two'\n")
    assert handle.predict({}) == ["two", "data one", 1]
    edit(handle.truss_dir / "data" / "note.txt", "data two")
    assert handle.predict({}) == ["two", "data two", 1]
    edit(handle.truss_dir / "model" / "model.py", CODE.replace("[WORD,", "[WORD.upper(),"))
    assert handle.predict({}) == ["TWO", "data two", 1]


def test_a_broken_edit_is_told_and_a_mended_one_works_again(handle):
    handle.predict({})
    edit(handle.truss_dir / "model" / "model.py", "def broken(:\n")
    with pytest.raises(ModelDefinitionError, match=r"model.py:1: syntax error"):
        handle.predict({})
    edit(handle.truss_dir / "model" / "model.py", CODE)
    assert handle.predict({})[0] == "one"


def test_wrong_requests_are_told(handle):
    with pytest.raises(InvalidInputError, match="must be a list"):
        handle.predict({"inputs": 3})


def test_config_edits_show_in_the_spec_and_keep_comments(handle):
    handle.add_python_requirement("numpy==2.0")
    handle.add_python_requirement("scipy")
    handle.remove_python_requirement("scipy")
    handle.add_system_package("ffmpeg")
    handle.add_environment_variable("COLOUR", "blue")
    handle.add_secret("api.key", None)
    handle.enable_gpu()
    handle.update_description("Says words")
    handle.update_python_version("3.11")
    handle.live_reload()
    handle.add_external_data_item("https://example.org/w.bin", "w.bin")
    spec = handle.spec
    assert spec.requirements == ["numpy==2.0"]
    assert spec.requirements_txt == "numpy==2.0"
    assert spec.system_packages == ["ffmpeg"]
    assert spec.environment_variables == {"COLOUR": "blue"}
    assert spec.secrets == {"api.key": None}
    assert spec.use_gpu
    assert (spec.description, spec.python_version) == ("Says words", "py311")
    assert spec.config.live_reload
    assert spec.config.external_data[0].local_data_path == "w.bin"
    assert "# Python packages, as lines of a requirements file" in spec.yaml_string
    handle.remove_environment_variable("COLOUR")
    handle.remove_all_external_data()
    handle.remove_system_package("ffmpeg")
    assert handle.spec.environment_variables == {}
    assert handle.spec.config.external_data is None
    assert handle.spec.system_packages == []


def test_a_bad_edit_changes_nothing(handle):
    before = handle.spec.yaml_string
    with pytest.raises(ConfigError, match="not a name for a secret"):
        handle.add_secret("not good", "")
    with pytest.raises(ConfigError, match="python_version"):
        handle.update_python_version("2.7")
    with pytest.raises(InvalidInputError, match="would be empty"):
        handle.add_environment_variable("A", "")
    assert handle.spec.yaml_string == before


def test_requirements_come_from_a_file(handle, tmp_path):
    (tmp_path / "needs.txt").write_text("# a\nnumpy\n--extra-index-url https://example.org/simple\n")
    handle.update_requirements_from_file(tmp_path / "needs.txt")
    assert handle.spec.requirements == ["numpy", "--extra-index-url https://example.org/simple"]


def test_examples(handle):
    handle.update_examples([truss.Example("a", {"x": 1})])
    handle.add_example("b", {"x": 2}, expected=["wrong"])
    assert [example.name for example in handle.examples()] == ["a", "b"]
    assert handle.example("a").input == handle.example(0).input == {"x": 1}
    assert "the answer: expected 1 items, got 3" in handle.check_examples()["b"]
    handle.add_example("b", {"x": 3}, expected=["one", "data one", 9])
    assert handle.example("b").input == {"x": 3}
    for missing in ("c", 2):
        with pytest.raises(ExamplesError, match="no example"):
            handle.example(missing)


def test_an_example_without_an_answer_records_the_models(handle):
    edit(handle.truss_dir / "model" / "model.py", CODE.replace("self.count]", "request['inputs']]"))
    handle.add_example("a", {"inputs": [1]})
    assert handle.example("a").expected == ["one", "data one", [1]]


def test_a_recorded_answer_keeps_the_precision_of_its_numbers(handle):
    code = CODE.replace("[WORD, self.data, self.count]", "__import__('numpy').float32(request.get('x', 0))")
    edit(handle.truss_dir / "model" / "model.py", code)
    handle.add_example("a", {"x": 0.1})
    assert handle.example("a").tolerance == 1e-4
    edit(handle.truss_dir / "model" / "model.py", code.replace("0))", "0) * 1.00001)"))
    assert "a" not in handle.check_examples()


def test_null_is_an_expected_answer(handle):
    handle.add_example("a", {}, expected=None)
    assert "expected None" in handle.check_examples()["a"]


def test_data_and_packages_are_added(handle, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f.txt").write_text("f")
    (tmp_path / "helper.py").write_text("VALUE = 'from package'\n")
    handle.add_data(tmp_path / "folder")
    handle.add_bundled_package(str(tmp_path / "help*.py"))
    assert (handle.spec.data_dir / "folder" / "f.txt").read_text() == "f"
    edit(handle.truss_dir / "model" / "model.py", CODE.replace("[WORD,", "[__import__('helper').VALUE,"))
    assert handle.predict({})[0] == "from package"


def test_large_data_that_is_added_goes_to_git_lfs(handle, tmp_path):
    (tmp_path / "big.bin").write_bytes(bytes(2 << 20))
    handle.add_data(tmp_path / "big.bin")
    assert "data/big.bin filter=lfs" in (handle.truss_dir / ".gitattributes").read_text()


def test_a_handle_shows_what_is_broken_meanwhile(handle):
    handle.spec.config_path.write_text("requirements: [\n")
    assert "is not YAML" in repr(handle)
    assert "is not YAML" in handle._repr_html_()
    assert str(handle.truss_dir) in repr(handle)


def test_the_spec_names_its_places(handle):
    spec = handle.spec
    assert spec.model_class_filepath == handle.truss_dir / "model" / "model.py"
    assert (spec.model_module_name, spec.model_module_fullname, spec.model_class_name) == (
        "model",
        "model.model",
        "Model",
    )
    assert (spec.cpu, spec.memory, spec.model_framework_type) == ("1", "2Gi", "custom")
    assert spec.examples_path.is_file()
    assert '"model_class_name": "Model"' in spec.json_string


def test_the_readme_has_the_commands(tmp_path):
    rows, classes = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(rows, classes)
    handle = truss.create(model, tmp_path / "iris", name="Iris <&>", examples={"inputs": rows[:1].tolist()})
    text = handle.generate_readme()
    assert text.startswith("# Iris <&>\n")
    assert "truss predict iris -d '{\"inputs\": [[5.1, 3.5, 1.4, 0.2]]}'" in text
    assert "curl http://127.0.0.1:8080/v1/models/model:predict -d" in text
    assert "truss run-example iris --check" in text
    assert "Iris <&>" in repr(handle)
    assert "Iris &lt;&amp;&gt;" in handle._repr_html_()
    assert "scikit-learn==" in repr(handle)


def test_the_readme_installs_what_the_config_lists(handle):
    handle.update_requirements(["numpy>=1.20", "--extra-index-url https://example.org/simple"])
    command = "pip install 'numpy>=1.20' --extra-index-url https://example.org/simple"
    assert f"\n{command}\n" in handle.generate_readme()


def test_the_readme_installs_the_requirements_file(handle):
    (handle.truss_dir / "needs.txt").write_text("numpy\n")
    handle.spec.config_path.write_text("requirements_file: needs.txt\n")
    assert "\npip install -r mine/needs.txt\n" in handle.generate_readme()


def test_a_folder_that_is_no_truss_gets_no_handle(tmp_path):
    with pytest.raises(NotATrussError):
        truss.load(tmp_path)
    assert truss.from_directory is truss.load
