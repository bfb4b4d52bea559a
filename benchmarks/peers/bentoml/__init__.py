"""BentoML: a service with a plain API, and the same with `batchable=True`."""

from pathlib import Path

from benchmarks.contender import COMMON_REQUIREMENTS, Contender, Environment, Exchange, Launch, label, listed
from benchmarks.tensors import raw

_FOLDER = Path(__file__).parent
_ENVIRONMENT = Environment("bentoml", ("bentoml==1.4.39", *COMMON_REQUIREMENTS))


def _json(path: str, pick=lambda answer: answer) -> Exchange:
    return listed(path, answered=None, pick=pick)


def _exchanges(path: str) -> dict[str, Exchange]:
    return {
        "echo": _json(path),
        "logreg": _json(path, label),
        "embed": _json(path),
        "tensor": _json(path),
        "sleep": _json(path),
    }


def _command(launch: Launch) -> tuple[object, ...]:
    return (
        launch.python.parent / "bentoml",
        "serve",
        "server:Service",
        "--working-dir",
        _FOLDER,
        "--host",
        "127.0.0.1",
        "--port",
        launch.port,
    )


def _variables(launch: Launch) -> dict[str, str]:
    return {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(launch.workplace / "home")}


_PLAIN = _exchanges("/predict") | {
    "tensor-binary": Exchange("/upload", raw, _json("").decode, "application/octet-stream"),
    "sleep-async": _json("/wait"),
}
CONTENDERS = (
    Contender(
        name="bentoml",
        title="BentoML",
        exchanges=_PLAIN,
        command=_command,
        settings="1 worker, access log off; arrays as numpy.ndarray, the binary tensor as a file upload",
        environment=_ENVIRONMENT,
        variables=_variables,
        package="bentoml",
    ),
    Contender(
        name="bentoml-batched",
        title="BentoML, batchable",
        exchanges=_exchanges("/predict_batch"),
        command=_command,
        settings="1 worker, access log off; batchable=True, max_batch_size=128, max_latency_ms=10000",
        environment=_ENVIRONMENT,
        variables=_variables,
        package="bentoml",
        batched=True,
    ),
)
