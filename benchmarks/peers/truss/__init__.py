"""Truss: what `truss.create` writes, served by `truss serve`, every default as it is."""

import subprocess
from pathlib import Path

from benchmarks.contender import Contender, Exchange, Launch, listed
from benchmarks.places import MODELS, PYTHON, ROOT
from benchmarks.tensors import (
    INFER_CALL,
    INFERENCE_HEAD,
    first_in_message,
    first_inferred,
    first_packed_prediction,
    inference,
    packed,
    raw_message,
)

_MAKE = Path(__file__).with_name("make.py")
PROGRAM = PYTHON.parent / "truss"
"""The command line."""

_PREDICT = "/v1/models/model:predict"

EXCHANGES = {
    name: listed(_PREDICT) for name in ("echo", "logreg", "embed", "tensor", "sleep", "sleep-async")
} | {
    "tensor-binary": Exchange(f"{_PREDICT}_binary", packed, first_packed_prediction, "application/msgpack"),
    "tensor-inference": Exchange(
        "/v2/models/model/infer",
        inference,
        first_inferred,
        "application/octet-stream",
        json_size=len(INFERENCE_HEAD),
    ),
    "tensor-grpc": Exchange(INFER_CALL, raw_message, first_in_message, rpc=True),
}


def prepare(launch: Launch) -> None:
    """Write the Truss of a workload."""
    subprocess.run(
        [PYTHON, _MAKE, launch.workload.name, launch.workplace / "truss", MODELS, *_grpc_port(launch)],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )


def _command(launch: Launch) -> tuple[object, ...]:
    program = launch.python.parent / "truss"
    port = launch.free_ports[0] if _grpc_port(launch) else launch.port
    return (program, "serve", launch.workplace / "truss", "--host", "127.0.0.1", "--port", port)


def _grpc_port(launch: Launch) -> tuple[str, ...]:
    return (str(launch.port),) if EXCHANGES[launch.workload.name].rpc else ()


CONTENDERS = (
    Contender(
        name="ours",
        title="Truss",
        exchanges=EXCHANGES,
        command=_command,
        settings="1 worker, defaults; for the sleeping models batching.mode: rows, predict_concurrency: 64",
        prepare=prepare,
        package="truss",
        batched=True,
    ),
)
