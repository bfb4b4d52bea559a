"""MLflow: `mlflow models serve`; scikit-learn by its own flavour, the rest as Python models."""

import subprocess
from pathlib import Path

from benchmarks.contender import (
    COMMON_REQUIREMENTS,
    Contender,
    Environment,
    Exchange,
    Launch,
    compact,
    listed,
)
from benchmarks.places import MODELS, ROOT
from benchmarks.tensors import as_base64, first_json_prediction

_SAVE = Path(__file__).with_name("save.py")
_PATH = "/invocations"
_ENVIRONMENT = Environment("mlflow", ("mlflow==3.17.2", *COMMON_REQUIREMENTS))


def _prepare(launch: Launch) -> None:
    subprocess.run(
        [launch.python, _SAVE, launch.workload.name, launch.workplace / "saved"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(launch.workplace),
            "PYTHONPATH": str(ROOT / "benchmarks" / "served"),
            "BENCH_MODELS": str(MODELS),
            **_variables(launch),
        },
        cwd=launch.workplace,
        check=True,
        capture_output=True,
    )


def _command(launch: Launch) -> tuple[object, ...]:
    return (
        launch.python.parent / "mlflow",
        "models",
        "serve",
        "--model-uri",
        launch.workplace / "saved",
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        launch.port,
        "--workers",
        "1",
    )


def _variables(_: Launch) -> dict[str, str]:
    return {"MLFLOW_DISABLE_TELEMETRY": "true"}


CONTENDERS = (
    Contender(
        name="mlflow",
        title="MLflow",
        exchanges={
            "echo": listed(_PATH),
            "logreg": listed(_PATH),
            "embed": listed(_PATH),
            "tensor": listed(_PATH),
            # It takes JSON and CSV only.
            "tensor-binary": Exchange(
                _PATH, lambda item: compact({"inputs": [as_base64(item)]}), first_json_prediction
            ),
            "sleep": listed(_PATH),
        },
        command=_command,
        settings="1 worker, local environment; scikit-learn's flavour answers labels without probabilities",
        environment=_ENVIRONMENT,
        prepare=_prepare,
        variables=_variables,
        package="mlflow",
    ),
)
