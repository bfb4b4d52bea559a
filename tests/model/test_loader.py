"""Finding and constructing the model class, and what a wrong one is told."""

import pytest

from truss.config import read_config
from truss.errors import ModelDefinitionError, ModelLoadError
from truss.model import check_model

GIVEN = """
    class Model:
        def __init__(self, {parameters}):
            self.given = {{key: value for key, value in locals().items() if key != "self"}}
        def predict(self, request):
            return self.given
"""


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ("config", {"config"}),
        ("data_dir, secrets", {"data_dir", "secrets"}),
        ("*, environment, config", {"environment", "config"}),
        ("config, extra=3", {"config", "extra"}),
    ],
)
def test_a_constructor_gets_what_it_names(write, load, parameters, names):
    model = load(write({"model/model.py": GIVEN.format(parameters=parameters)}))
    assert set(model.predict({})) == names


def test_keyword_arguments_get_everything(write, load):
    folder = write(
        {"model/model.py": GIVEN.format(parameters="**kwargs"), "config.yaml": "data_dir: files\n"}
    )
    given = load(folder).predict({})["kwargs"]
    assert set(given) == {"config", "data_dir", "secrets", "environment"}
    assert given["data_dir"] == folder.resolve() / "files"
    assert given["config"]["model_class_name"] == "Model"


def test_a_class_without_a_constructor_will_do(write, load):
    assert load(
        write({"model/model.py": "class Model:\n    def predict(self, request):\n        return 1\n"})
    ).predict({})


@pytest.mark.parametrize(
    ("code", "where", "message"),
    [
        ("class Model:\n    def load(self): ...\n", "model.py:1", "no method `predict`"),
        ("x = 1\nclass Other: ...\n", "model.py", "no class named 'Model'"),
        ("def broken(:\n", "model.py:1", "syntax error"),
        ("import nothing_of_this_name\n", "model.py:1", "which is not installed here"),
        ("x = 1\nraise RuntimeError('at import')\n", "model.py:2", "RuntimeError: at import"),
        (GIVEN.format(parameters="weights"), "model.py", "requires 'weights'"),
    ],
)
def test_a_wrong_class_is_told_what_where_and_how(write, code, where, message):
    folder = write({"model/model.py": code})
    with pytest.raises(ModelDefinitionError) as caught:
        check_model(folder, read_config(folder))
    assert message in caught.value.message
    assert where in caught.value.where
    assert caught.value.hint


def test_a_missing_file_and_a_missing_package_say_what_to_do(write):
    folder = write({})
    with pytest.raises(ModelDefinitionError, match="no model class file"):
        check_model(folder, read_config(folder))
    folder = write(
        {"model/model.py": "import nothing_of_this_name\n", "config.yaml": "requirements: [abc==1]\n"}
    )
    with pytest.raises(ModelDefinitionError) as caught:
        check_model(folder, read_config(folder))
    assert caught.value.hint == "install what the Truss needs: pip install 'abc==1'"


@pytest.mark.parametrize("method", ["__init__", "load"])
def test_what_raises_while_loading_is_located(write, load, method):
    raising = f"    def {method}(self):\n        raise OSError('no file')\n"
    code = f"class Model:\n{raising}    def predict(self, request): ...\n"
    with pytest.raises(ModelLoadError) as caught:
        load(write({"model/model.py": code}))
    assert "OSError: no file" in caught.value.message
    assert f"model.py:3, in {method}" in caught.value.where


def test_checking_does_not_construct(write):
    code = "class Model:\n    def __init__(self):\n        1 / 0\n    def predict(self, request): ...\n"
    folder = write({"model/model.py": code})
    check_model(folder, read_config(folder))
