"""MLServer over the V2 protocol, plain and with its batching; scikit-learn by its own runtime."""

import json
from pathlib import Path
from typing import Any

from benchmarks.contender import COMMON_REQUIREMENTS, Contender, Environment, Exchange, Launch, compact
from benchmarks.tensors import INFER_CALL, as_base64, bytes_message, first_in_message

_FOLDER = Path(__file__).parent
_PATH = "/v2/models/model/infer"
# Its worker processes ask for an event loop in a way that later uvloops refuse.
_ENVIRONMENT = Environment(
    "mlserver", ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop<0.22", *COMMON_REQUIREMENTS)
)


def _flat(item: Any) -> list[float]:
    return [number for part in item for number in _flat(part)] if isinstance(item, list) else [item]


def _shape(item: Any) -> list[int]:
    return [len(item), *_shape(item[0])] if isinstance(item, list) else []


def _numbers(item: Any, kind: str, **more: Any) -> bytes:
    tensor = {"name": "inputs", "shape": [1, *_shape(item)], "datatype": kind, "data": _flat(item)}
    return compact({"inputs": [tensor], **more})


def _text(value: str, content_type: str) -> bytes:
    parameters = {"content_type": content_type}
    tensor = {
        "name": "inputs",
        "shape": [1, 1],
        "datatype": "BYTES",
        "data": [value],
        "parameters": parameters,
    }
    return compact({"inputs": [tensor]})


def _row(body: bytes) -> Any:
    return json.loads(body)["outputs"][0]["data"]


def _label(body: bytes) -> Any:
    return _row(body)[0]


_BOTH_OUTPUTS = {"outputs": [{"name": "predict"}, {"name": "predict_proba"}]}
_EXCHANGES = {
    "echo": Exchange(_PATH, lambda item: _numbers(item, "FP64"), _row),
    "logreg": Exchange(_PATH, lambda item: _numbers(item, "FP64", **_BOTH_OUTPUTS), _label),
    "embed": Exchange(_PATH, lambda item: _text(item, "str"), _row),
    "tensor": Exchange(_PATH, lambda item: _numbers(item, "FP32"), _row),
    # Its REST interface has no binary tensors.
    "tensor-binary": Exchange(_PATH, lambda item: _text(as_base64(item), "base64"), _row),
    "tensor-inference": Exchange(_PATH, lambda item: _text(as_base64(item), "base64"), _row),
    # It would make numbers of raw contents, one by one.
    "tensor-grpc": Exchange(INFER_CALL, bytes_message, first_in_message, rpc=True),
    "sleep": Exchange(_PATH, lambda item: _numbers(item, "FP64"), _row),
}


def _prepare(batched: bool):
    def prepare(launch: Launch) -> None:
        other, metrics = launch.free_ports[:2]
        rpc = _EXCHANGES[launch.workload.name].rpc
        server = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": other if rpc else launch.port,
            "grpc_port": launch.port if rpc else other,
            "metrics_port": metrics,
            "parallel_workers": 1,
        }
        sklearn = launch.workload.name == "logreg"
        model = {
            "name": "model",
            "implementation": "mlserver_sklearn.SKLearnModel" if sklearn else "server.Runtime",
            "parameters": {"uri": str(Path("{models}") / "logreg.joblib")} if sklearn else {},
        }
        if batched:
            model |= {"max_batch_size": 64, "max_batch_time": 0.005}
        text = json.dumps(model).replace("{models}", str(_models()))
        (launch.workplace / "settings.json").write_text(json.dumps(server))
        (launch.workplace / "model-settings.json").write_text(text)
        (launch.workplace / "server.py").write_bytes((_FOLDER / "server.py").read_bytes())

    return prepare


def _models() -> Path:
    from benchmarks.places import MODELS

    return MODELS


def _contender(batched: bool) -> Contender:
    return Contender(
        name="mlserver-batched" if batched else "mlserver",
        title="MLServer, batched" if batched else "MLServer",
        exchanges=_EXCHANGES,
        command=lambda launch: (launch.python.parent / "mlserver", "start", launch.workplace),
        settings="parallel_workers=1, debug off"
        + (", max_batch_size=64, max_batch_time=0.005" if batched else ""),
        environment=_ENVIRONMENT,
        prepare=_prepare(batched),
        package="mlserver",
        batched=batched,
    )


CONTENDERS = (_contender(batched=False), _contender(batched=True))
