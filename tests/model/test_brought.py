"""Which Truss a container serves, where a platform brings files of its own."""

import logging
import sys

import pytest

from truss.errors import ConfigError, MissingExtraError
from truss.model.brought import truss_dir_of, truss_in

TRUSS = {"model/model.py": "class Model: ..."}
AZURE = {"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/iris/1"}


@pytest.fixture
def image(write, tmp_path):
    """The root of an image that has a Truss of its own."""
    write(TRUSS, name="app")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "variables"),
    [
        ("opt/ml/model", {}),
        ("mnt/models", {}),
        ("repository", {}),
        ("var/azureml-app/azureml-models/iris/1", AZURE),
        ("var/azureml-app/azureml-models/iris/1/my_model", AZURE),  # the folder that was registered
        ("opt/ml/model/my_model", {}),  # as `tar czf model.tar.gz my_model` packs it
    ],
)
def test_a_truss_that_the_platform_brings_goes_before_the_image_s_own(image, write, place, variables):
    assert truss_dir_of(variables, image) == image / "app"
    brought = write(TRUSS, name=place)
    assert truss_dir_of(variables, image) == brought
    assert truss_dir_of({**variables, "TRUSS_DIR": "/app"}, image) == brought  # as images of ours say it
    assert truss_dir_of({**variables, "TRUSS_DIR": "/elsewhere"}, image).as_posix() == "/elsewhere"


def test_an_image_without_a_truss_takes_what_is_brought(write, tmp_path):
    assert truss_dir_of({}, tmp_path) == tmp_path / "app"  # which the server then says is none
    brought = write(TRUSS, name="mnt/models")
    assert truss_dir_of({}, tmp_path) == brought
    assert truss_dir_of({}, tmp_path) != write(TRUSS, name="repository")  # SageMaker, KServe, Hugging Face


@pytest.mark.parametrize(
    "files",
    [
        {"weights.bin": "", "config.json": "{}"},
        {"config.yaml": "name: of another program\n"},
        {"config.yaml": "- no\n- mapping\n"},
        {"a/config.yaml": "", "a/model/model.py": "", "b/config.yaml": "", "b/model/model.py": ""},
    ],
    ids=["weights", "another config", "another file", "two of them"],
)
def test_what_is_no_truss_is_left_to_the_model_s_code(image, write, files):
    folder = image / "opt/ml/model"
    folder.mkdir(parents=True)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    assert truss_dir_of({}, image) == image / "app"


def test_a_wrapped_server_and_a_model_of_another_name_are_trusses(write):
    server = {"start_command": "run", "server_port": 9000, "predict_endpoint": "/"}
    words = "".join(f"  {name}: {value}\n" for name, value in server.items())
    probes = "  readiness_endpoint: /\n  liveness_endpoint: /\n"
    wrapped = write({"config.yaml": f"docker_server:\n{words}{probes}"}, name="wrapped")
    assert truss_in(wrapped) == wrapped
    named = write({"config.yaml": "model_module_dir: code\n", "code/model.py": ""}, name="named")
    assert truss_in(named) == named


def test_a_truss_with_a_wrong_config_is_not_passed_over(image, write):
    write({**TRUSS, "config.yaml": "resources: {cpu: many}\n"}, name="opt/ml/model")
    with pytest.raises(ConfigError, match=r"resources\.cpu"):
        truss_dir_of({}, image)


def test_an_address_that_cannot_be_asked_matters_where_nothing_else_is_there(
    image, tmp_path, monkeypatch, caplog
):
    """Without the package that speaks to Google's storage, as in most images."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    variables = {"AIP_STORAGE_URI": "gs://bucket/model", "TRUSS_WEIGHTS_DIR": str(tmp_path / "weights")}
    with caplog.at_level(logging.WARNING):
        assert truss_dir_of(variables, image) == image / "app"
    assert "gs://bucket/model" in caplog.text
    with pytest.raises(MissingExtraError, match="gcsfs"):
        truss_dir_of(variables, tmp_path / "empty")


def test_a_folder_that_may_not_be_read_is_passed_over_aloud(image, caplog):
    place = image / "opt/ml/model"
    place.parent.mkdir(parents=True)
    place.symlink_to(place)  # which root cannot read either
    with caplog.at_level(logging.WARNING):
        assert truss_dir_of({}, image) == image / "app"
    assert str(place) in caplog.text
