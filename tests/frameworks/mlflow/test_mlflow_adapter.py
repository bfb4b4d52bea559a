"""MLflow's models by address, as folders and as objects: what is kept, what is refused, what is served."""

import base64
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow_own_code
import numpy as np
import pandas as pd
import pytest
import sklearn
import yaml
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import truss
from truss.config import Column, Tensor, read_config
from truss.errors import InvalidInputError, PackagingError, UntrustedFileError
from truss.frameworks.mlflow.adapter import MlflowFramework
from truss.frameworks.mlflow.folder import MlflowFolder, describe
from truss.frameworks.mlflow.model_class import model_input, plain
from truss.frameworks.mlflow.requirements import conda_packages, stated_requirements
from truss.frameworks.mlflow.signature import signature_of
from truss.testing.server import running_server

FRAMEWORK = MlflowFramework()
TABLE, TARGET = load_diabetes(as_frame=True, return_X_y=True)
TABLE = TABLE[["bmi", "bp"]]
REQUEST = {"inputs": TABLE.head(3).to_dict("records")}
RIDGE = Ridge().fit(TABLE, TARGET)
OF_A_NOTEBOOK = """
import mlflow.pyfunc

class Roots(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        from scipy.special import cbrt
        return model_input.iloc[:, 0] ** 0.5 + 0 * cbrt(1)
"""
SIGNATURE = infer_signature(TABLE, RIDGE.predict(TABLE))
EXPECTED = RIDGE.predict(TABLE.head(3))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of MLflow with a linear model in skops' format, which runs no code."""
    folder = tmp_path_factory.mktemp("saved") / "ridge"
    requirements = [f"scikit-learn=={sklearn.__version__}", "skops"]
    mlflow.sklearn.save_model(RIDGE, folder, signature=SIGNATURE, pip_requirements=requirements)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """The same, to be changed."""
    return Path(shutil.copytree(saved, tmp_path / "ridge"))


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A registry in a database file, with one model of one run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tracking")
        patch.chdir(folder)  # where artifacts go
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        with mlflow.start_run() as run:
            info = mlflow.sklearn.log_model(
                RIDGE,
                name="model",
                signature=SIGNATURE,
                registered_model_name="progression",
                pip_requirements=["scikit-learn", "skops"],
            )
        mlflow.MlflowClient().set_registered_model_alias("progression", "best", 1)
        yield {"run": run.info.run_id, "model": info.model_id}


def edit(folder: Path, change) -> None:
    path = folder / "MLmodel"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def own_code(folder: Path, columns: list[ColSpec]) -> Path:
    mlflow.pyfunc.save_model(
        folder,
        python_model=mlflow_own_code.Summary(),
        code_paths=[mlflow_own_code.__file__],
        signature=ModelSignature(
            Schema(columns), params=ParamSchema([ParamSpec("factor", DataType.double, 1.0)])
        ),
        pip_requirements=["numpy"],
    )
    return folder


@pytest.mark.parametrize(
    "address", ["models:/progression/1", "models:/progression@best", "runs:/{run}/model"]
)
def test_a_model_is_packaged_by_its_address(registered, address, tmp_path):
    handle = truss.mk_truss_from_mlflow_uri(
        address.format(**registered), tmp_path / "made", examples=[REQUEST], name="progression"
    )
    np.testing.assert_allclose(handle.predict(REQUEST)["predictions"], EXPECTED)
    assert handle.spec.config.model_name == "progression"
    assert handle.check_examples() == {}


def test_an_address_of_nothing_is_an_error_that_names_the_servers(registered, tmp_path):
    with pytest.raises(PackagingError, match="models:/other/1") as caught:
        truss.mk_truss_from_mlflow_uri("models:/other/1", tmp_path / "made")
    assert "sqlite:///" in caught.value.where
    assert "MLFLOW_TRACKING_URI" in caught.value.hint
    assert not (tmp_path / "made").exists()


def test_a_folder_without_a_model_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackagingError, match="no MLmodel file"):
        truss.mk_truss_from_mlflow_uri(str(tmp_path / "empty"), tmp_path / "made")


def test_an_object_that_was_logged_is_packaged_from_its_address(registered, tmp_path):
    model = mlflow.pyfunc.load_model(f"models:/{registered['model']}")
    handle = truss.create(model, tmp_path / "made", examples=[REQUEST])
    np.testing.assert_allclose(handle.predict(REQUEST)["predictions"], EXPECTED)


def test_an_object_that_is_no_longer_at_its_address_is_refused(registered, tmp_path):
    model = mlflow.pyfunc.load_model(f"models:/{registered['model']}")
    model.metadata.model_uuid = "another"
    with pytest.raises(PackagingError, match="not the one in memory"):
        truss.create(model, tmp_path / "made")


def test_an_object_that_was_never_logged_is_saved_again(saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "ridge"))
    model = mlflow.pyfunc.load_model(str(folder))
    shutil.rmtree(folder)
    handle = truss.create(model, tmp_path / "made", examples=[REQUEST])
    np.testing.assert_allclose(handle.predict(REQUEST)["predictions"], EXPECTED)
    config = read_config(tmp_path / "made")
    assert config.model_type == "sklearn"
    assert [column.name for column in config.signature.columns] == ["bmi", "bp"]
    assert config.requirements == sorted(
        f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
    )
    described = describe(tmp_path / "made" / "data" / "model")
    assert described.metadata.flavors["sklearn"]["serialization_format"] == "skops"


def test_the_function_that_it_answers_by_is_kept(tmp_path):
    classifier = LogisticRegression().fit(TABLE, TARGET.gt(TARGET.mean()))
    mlflow.sklearn.save_model(
        classifier, tmp_path / "saved", pyfunc_predict_fn="predict_proba", pip_requirements=["scikit-learn"]
    )
    model = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    shutil.rmtree(tmp_path / "saved")
    handle = truss.create(model, tmp_path / "made", examples=[REQUEST])
    expected = classifier.predict_proba(TABLE.head(3))
    np.testing.assert_allclose(handle.predict(REQUEST)["predictions"], expected)


def test_an_object_with_files_takes_them_along(tmp_path):
    (tmp_path / "words.txt").write_text("ein\nzwei\n")
    mlflow.pyfunc.save_model(
        tmp_path / "saved",
        python_model=mlflow_own_code.Words(),
        artifacts={"words": str(tmp_path / "words.txt")},
        model_config={"ending": "!"},
        pip_requirements=["numpy"],
    )
    handle = truss.create(mlflow.pyfunc.load_model(str(tmp_path / "saved")), tmp_path / "made")
    shutil.rmtree(tmp_path / "saved")
    assert handle.predict({"inputs": [[1], [0]]}) == {"predictions": ["zwei!", "ein!"]}


INFERRED = ("pandas", "psutil", "pytest", "scikit-learn", "scipy", "torch")
"""What MLflow may state for an estimator: whatever was imported while it loaded the model."""


def inferred(*more: str) -> list[str]:
    pins = [f"{name}=={version(name).partition('+')[0]}" for name in (*INFERRED, *more)]
    return [f"mlflow=={version('mlflow-skinny')}", *pins]


@pytest.mark.parametrize("kind", ["skops", "cloudpickle"])
def test_what_is_stated_without_need_is_left_out_and_named(kind, tmp_path, capsys):
    mlflow.sklearn.save_model(
        make_pipeline(StandardScaler(), RIDGE),
        tmp_path / "saved",
        serialization_format=kind,
        pip_requirements=inferred(kind),
    )
    handle = truss.create(tmp_path / "saved", tmp_path / "made", trust_pickle=True)
    assert [line.partition("==")[0] for line in handle.spec.config.requirements] == sorted(
        ["mlflow-skinny", "numpy", "pandas", "scikit-learn", "scipy", kind]
    )
    note = capsys.readouterr().err
    assert all(f"{name}==" in note for name in ("psutil", "pytest", "torch"))
    assert "scipy==" not in note


def test_what_is_stated_stays_where_code_may_import_it(tmp_path):
    own_code(tmp_path / "class", [ColSpec(DataType.long, "count")])
    in_process = make_pipeline(FunctionTransformer(lambda table: table * 2), Ridge()).fit(TABLE, TARGET)
    mlflow.sklearn.save_model(
        in_process, tmp_path / "lambda", serialization_format="cloudpickle", pip_requirements=inferred()
    )
    (tmp_path / "class" / "requirements.txt").write_text("\n".join(inferred()))
    for name in ("class", "lambda"):
        truss.create(tmp_path / name, tmp_path / f"{name}-made", trust_pickle=True)
        requirements = read_config(tmp_path / f"{name}-made").requirements
        assert set(INFERRED) <= {line.partition("==")[0] for line in requirements}


def test_what_is_stated_stays_where_versions_are_others(folder, tmp_path):
    (folder / "requirements.txt").write_text("\n".join([*inferred("skops"), "rich==1.0.0"]))
    handle = truss.create(folder, tmp_path / "made")
    assert {"torch", "rich"} <= {line.partition("==")[0] for line in handle.spec.config.requirements}


@pytest.mark.parametrize(("pin", "here"), [("==2.0", True), ("==2.0+cu128", True), ("==2.1+cpu", False)])
def test_another_build_of_what_is_stated_is_the_same_version(folder, tmp_path, monkeypatch, pin, here):
    (tmp_path / "mine-2.0+cpu.dist-info").mkdir()
    (tmp_path / "mine-2.0+cpu.dist-info" / "METADATA").write_text("Name: mine\nVersion: 2.0+cpu\n")
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "requirements.txt").write_text("\n".join([*inferred(), f"mine{pin}"]))
    assert stated_requirements(describe(folder)).are_here is here


def test_a_model_of_ones_own_needs_no_saving_before(tmp_path):
    handle = truss.create(mlflow_own_code.Total(), tmp_path / "made", examples={"inputs": [[1, 2], [3, 4]]})
    assert handle.predict({"inputs": [[5, 6]]}) == {"predictions": [11.0]}
    assert (tmp_path / "made" / "packages" / "mlflow_own_code.py").is_file()
    named = [line.partition("==")[0] for line in read_config(tmp_path / "made").requirements]
    assert named == ["mlflow-skinny", "numpy", "pandas"]


def test_code_of_this_process_goes_along_by_value_with_what_it_imports(tmp_path, capsys):
    space: dict[str, Any] = {}
    exec(OF_A_NOTEBOOK, space)
    handle = truss.create(space["Roots"](), tmp_path / "made", examples={"inputs": [[4.0], [9.0]]})
    assert handle.predict({"inputs": [[16.0]]}) == {"predictions": [4.0]}
    assert "bytecode of Python" in capsys.readouterr().err
    assert any(line.startswith("scipy==") for line in read_config(tmp_path / "made").requirements)


def test_a_model_of_ones_own_that_cannot_be_pickled_is_told_where(tmp_path):
    model = mlflow_own_code.Total()
    model.stream = (number for number in range(3))
    with pytest.raises(PackagingError, match="its attribute 'stream'"):
        truss.create(model, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_flavour_that_gives_no_whole_model_back_asks_for_the_folder(saved, tmp_path):
    model = mlflow.pyfunc.load_model(str(saved))
    model.metadata.flavors["python_function"]["loader_module"] = "mlflow.onnx"
    with pytest.raises(PackagingError, match=r"never logged, and loaded by mlflow\.onnx") as caught:
        truss.create(model, tmp_path / "made")
    assert 'truss.create("FOLDER"' in caught.value.hint


def test_a_folder_is_opened_by_its_content_and_kept_whole(saved, tmp_path):
    made = truss.create(saved, tmp_path / "made", examples=[REQUEST])
    names = {path.name for path in saved.iterdir()}
    assert {path.name for path in (made.spec.data_dir / "model").iterdir()} == names
    config = read_config(tmp_path / "made")
    assert (config.model_framework, config.model_type) == ("mlflow", "sklearn")
    assert config.python_version == f"py{sys.version_info.major}{sys.version_info.minor}"
    assert config.signature.columns == [Column(name=name, dtype="float64") for name in ("bmi", "bp")]
    assert config.requirements == sorted(
        f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
    )
    assert config.runtime.batching.mode == "rows"


def test_a_folder_whose_loading_runs_code_must_be_trusted(tmp_path):
    folder = own_code(tmp_path / "own", [ColSpec(DataType.string, "who"), ColSpec(DataType.double, "x")])
    with pytest.raises(UntrustedFileError, match=r"mlflow\.pyfunc\.model"):
        truss.create(folder, tmp_path / "made")
    request = {"inputs": [{"who": "Ada", "x": 2}], "params": {"factor": 1.5}}
    made = truss.create(folder, tmp_path / "made", examples=[request], trust_pickle=True)
    assert made.predict(request) == {"predictions": [{"total": 3.0, "who": "Ada"}]}
    assert made.predict({"inputs": [["Ada", 2]]}) == {"predictions": [{"total": 2.0, "who": "Ada"}]}


@pytest.mark.parametrize(
    ("flavor", "settings"),
    [
        ("sklearn", {"serialization_format": "cloudpickle"}),
        ("sklearn", {"skops_trusted_types": ["builtins.eval"]}),
        ("python_function", {"code": "code"}),
        ("python_function", {"loader_module": "mlflow.xgboost"}),
        ("python_function", {"loader_module": "mine"}),
    ],
)
def test_settings_that_may_run_code_ask_for_trust(folder, flavor, settings):
    assert not describe(folder).runs_code
    edit(folder, lambda content: content["flavors"][flavor].update(settings))
    assert describe(folder).runs_code


def test_a_model_of_another_environment_keeps_its_pins_and_python(folder, tmp_path):
    (folder / "requirements.txt").write_text("mlflow==2.9.2\nscikit-learn==1.0.2  # old\nsix\n")
    edit(folder, lambda content: content["flavors"]["python_function"].update(python_version="3.10.4"))
    truss.create(folder, tmp_path / "made")
    config = read_config(tmp_path / "made")
    # What is stated without a version, or not at all, has to go with the old ones: it stays open.
    assert config.requirements == ["mlflow-skinny==2.9.2", "numpy", "pandas", "scikit-learn==1.0.2", "six"]
    assert config.python_version == "py310"


def test_requirements_may_refer_to_other_files(folder):
    (folder / "requirements.txt").write_text("-r more.txt\n--constraint=limits.txt\nscikit-learn\nsix>=1\n")
    (folder / "more.txt").write_text("joblib==1.3.0\n")
    (folder / "limits.txt").write_text("scikit_learn==1.2.0\nscipy==1.9.0\n")
    lines = stated_requirements(describe(folder)).lines
    assert lines[:3] == ("joblib==1.3.0", "scikit_learn==1.2.0", "six>=1")
    (folder / "more.txt").unlink()
    with pytest.raises(PackagingError, match="requirements cannot be read"):
        stated_requirements(describe(folder))


def test_older_models_state_requirements_for_conda(folder):
    (folder / "requirements.txt").unlink()
    environment = {"dependencies": ["python=3.8", "libgomp=1.2", "pip", {"pip": ["scikit-learn==0.23.1"]}]}
    (folder / "conda.yaml").write_text(yaml.safe_dump(environment))
    described = describe(folder)
    assert stated_requirements(described).lines[0] == "scikit-learn==0.23.1"
    assert conda_packages(described) == ("libgomp=1.2",)
    (folder / "conda.yaml").write_text("- [")
    with pytest.raises(PackagingError, match="conda environment cannot be read"):
        stated_requirements(described)


@pytest.mark.parametrize(
    ("loader", "kept"), [("mlflow.sklearn", "mlflow-skinny"), ("mlflow.langchain", "mlflow")]
)
def test_mlflow_is_slim_where_that_loads_the_model(folder, loader, kept):
    edit(folder, lambda content: content["flavors"]["python_function"].update(loader_module=loader))
    (folder / "requirements.txt").write_text("mlflow==2.9.2\n")
    assert f"{kept}==2.9.2" in stated_requirements(describe(folder)).lines


def test_a_damaged_or_unfit_mlmodel_file_is_named(folder, tmp_path):
    edit(folder, lambda content: content["flavors"].pop("python_function"))
    with pytest.raises(PackagingError, match="lacks the flavour python_function") as caught:
        truss.create(folder, tmp_path / "made")
    assert caught.value.where == str(folder / "MLmodel")
    (folder / "MLmodel").write_text("flavors: [")
    with pytest.raises(PackagingError, match="cannot be read"):
        truss.create(folder, tmp_path / "made")


def test_a_server_answers_records_and_says_which_column_is_missing(saved, tmp_path):
    truss.create(saved, tmp_path / "made")
    with running_server(tmp_path / "made") as server:
        answer = server.predict(REQUEST)
        lacking = server.predict({"inputs": [{"bmi": 0.1}]})
        split = server.predict({"dataframe_split": TABLE.head(3).to_dict("split")})
    np.testing.assert_allclose(answer.json()["predictions"], EXPECTED)
    assert split.json() == answer.json()
    assert lacking.status == 400
    assert "'bp'" in lacking.json()["error"]["message"]


OFFLINE = """
import importlib.util, json, socket, sys
asked = []
def refuse(*arguments):
    asked.append(arguments)
    raise OSError("no network here")
socket.getaddrinfo = socket.socket.connect = refuse
spec = importlib.util.spec_from_file_location("model", sys.argv[1] + "/model/model.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = module.Model(data_dir=sys.argv[1] + "/data", config={"model_metadata": {}}, secrets={})
model.load()
answer = model.predict({"inputs": [{"bmi": 0.0, "bp": 0.0}]})
print(json.dumps({"asked": [str(item) for item in asked], "count": len(answer["predictions"])}))
"""


def test_loading_and_answering_ask_no_network_and_write_nothing(saved, tmp_path):
    truss.create(saved, tmp_path / "made")
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path / "made")],
        cwd=tmp_path / "empty",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == '{"asked": [], "count": 1}'
    assert list((tmp_path / "empty").iterdir()) == []


def columns(*specs: ColSpec) -> Schema:
    return Schema(list(specs))


def test_values_of_json_get_the_types_of_the_columns():
    schema = columns(
        ColSpec(DataType.boolean, "flag"),
        ColSpec(DataType.integer, "count"),
        ColSpec(DataType.float, "size"),
        ColSpec(DataType.datetime, "when"),
        ColSpec(DataType.binary, "blob"),
        ColSpec(DataType.string, "who", required=False),
    )
    row = {"flag": True, "count": 3.0, "size": 1, "when": "2026-01-02T03:04:05", "more": 1}
    table = model_input([{**row, "blob": base64.b64encode(b"abc").decode()}], schema)
    assert list(table.columns) == ["flag", "count", "size", "when", "blob"]
    assert [str(table[name].dtype) for name in ("flag", "count", "size")] == ["bool", "int32", "float32"]
    assert table["when"][0] == pd.Timestamp("2026-01-02T03:04:05")
    assert table["blob"][0] == b"abc"


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"a": 1.5}], "whole numbers"),
        ([{"b": 1}], r"lacks \['a'\]"),
        ([{"a": 1}, [1]], "either all records or all lists"),
        ([{"a": "x"}], "x"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, complaint):
    with pytest.raises((ValueError, TypeError), match=complaint):
        model_input(rows, columns(ColSpec(DataType.long, "a")))


def test_lists_need_one_value_per_column():
    schema = columns(ColSpec(DataType.long, "a"), ColSpec(DataType.long, "b"))
    with pytest.raises(ValueError, match="row 1 does not have the 2 values"):
        model_input([[1, 2], [1]], schema)
    assert model_input([[1, 2]], schema).to_dict("list") == {"a": [1], "b": [2]}


def test_tensors_have_their_type_and_names():
    one = Schema([TensorSpec(np.dtype("uint8"), (-1, 2))])
    array = model_input([[1, 2]], one)
    assert (array.dtype, array.tolist()) == (np.uint8, [[1, 2]])
    assert model_input([], one).shape == (0, 2)
    with pytest.raises(ValueError, match="whole numbers"):
        model_input([[1.5, 2]], one)
    with pytest.raises(ValueError, match="differ in length"):
        model_input([[1], [1, 2]], one)
    named = Schema([TensorSpec(np.dtype("float32"), (-1,), "x")])
    assert model_input([1, 2], named)["x"].dtype == model_input([{"x": 1}], named)["x"].dtype == np.float32


def test_a_model_without_a_signature_gets_a_table_or_the_rows_as_they_came():
    assert model_input([{"a": 1}, {"a": 2}], None).to_dict("list") == {"a": [1, 2]}
    assert model_input([[1, 2]], None).shape == (1, 2)
    assert model_input(["one", "two"], None) == ["one", "two"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (pd.DataFrame({"a": [1], "b": ["x"]}), [{"a": 1, "b": "x"}]),
        (pd.Series([1.5]), [1.5]),
        ([np.float32(0.5), np.array([1])], [0.5, [1]]),
        ({"a": np.array([1, 2]), "b": np.array([[3], [4]])}, [{"a": 1, "b": [3]}, {"a": 2, "b": [4]}]),
        ({"a": np.array([1, 2]), "b": np.array([3])}, {"a": [1, 2], "b": [3]}),
        ({"text": "plain"}, {"text": "plain"}),
    ],
)
def test_answers_are_plain(output: Any, expected: Any):
    assert plain(output) == expected


def test_signatures_of_columns_tensors_and_neither():
    assert signature_of(columns(ColSpec(DataType.long, "a"), ColSpec(DataType.datetime, "b"))).columns == [
        Column(name="a", dtype="int64"),
        Column(name="b"),
    ]
    assert signature_of(Schema([TensorSpec(np.dtype("float32"), (-1, 2, -1))])).tensors == [
        Tensor(dtype="float32", shape=[None, 2, None])
    ]
    assert signature_of(Schema([ColSpec(DataType.long)] * 3)).tensors == [Tensor(shape=[None, 3])]
    assert not signature_of(Schema([TensorSpec(np.dtype("float32"), (8, 2))]))
    assert not signature_of(None)


def test_a_handle_says_what_does_not_fit(saved, tmp_path):
    handle = truss.create(MlflowFolder(saved), tmp_path / "made")
    with pytest.raises(InvalidInputError, match="lacks the column 'bp'"):
        handle.predict({"inputs": [{"bmi": 0.1}]})


def test_nulls_among_numbers_are_missing_numbers_where_no_signature_says_so():
    rows = [{"a": None, "b": 1, "c": "x", "d": True}, {"a": None, "b": None, "c": None, "d": None}]
    table = model_input(rows, None)
    assert [kind.kind for kind in table.dtypes[["a", "b"]]] == ["f", "f"]
    assert table["b"].tolist()[0] == 1
    assert table["b"].isna().tolist() == [False, True]
    assert table["d"].tolist() == [True, None]
    assert table["c"].tolist()[0] == "x"
