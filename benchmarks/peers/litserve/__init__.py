"""LitServe: a `LitAPI`, plain and with batching."""

from pathlib import Path

from benchmarks.contender import (
    COMMON_REQUIREMENTS,
    Contender,
    Environment,
    Exchange,
    Launch,
    compact,
    label,
    listed,
)
from benchmarks.tensors import as_base64, first_json_prediction

_SERVER = Path(__file__).with_name("server.py")
_ENVIRONMENT = Environment("litserve", ("litserve==0.2.19", *COMMON_REQUIREMENTS))


def _exchange(pick=lambda answer: answer) -> Exchange:
    return listed("/predict", pick=pick)


_EXCHANGES = {
    "echo": _exchange(),
    "logreg": _exchange(label),
    "embed": _exchange(),
    "tensor": _exchange(),
    # Form uploads do not cross to its worker process, and other bodies are read as JSON.
    "tensor-binary": Exchange(
        "/predict", lambda item: compact({"base64": as_base64(item)}), first_json_prediction
    ),
    "sleep": _exchange(),
}


def _contender(batched: bool) -> Contender:
    def command(launch: Launch) -> tuple[object, ...]:
        return (launch.python, _SERVER, launch.port, 64 if batched else 1, 0.005 if batched else 0)

    return Contender(
        name="litserve-batched" if batched else "litserve",
        title="LitServe, batched" if batched else "LitServe",
        exchanges=_EXCHANGES,
        command=command,
        settings="1 worker, 1 API server" + (", max_batch_size=64, batch_timeout=0.005" if batched else ""),
        environment=_ENVIRONMENT,
        package="litserve",
        batched=batched,
    )


CONTENDERS = (_contender(batched=False), _contender(batched=True))
