"""KServe's own Python server: a model of its protocol V1, and tensors over the V2 protocol and gRPC."""

from pathlib import Path

from benchmarks.contender import COMMON_REQUIREMENTS, Contender, Environment, Exchange, Launch, label, listed
from benchmarks.tensors import (
    INFER_CALL,
    INFERENCE_HEAD,
    first_in_message,
    first_inferred,
    inference,
    raw_message,
)

_SERVER = Path(__file__).with_name("server.py")
_V1_PATH = "/v1/models/model:predict"
# Faster than V2, which has each number of a tensor looked at by pydantic.
_V1 = listed(_V1_PATH, "instances")
# It makes a list of the bytes and an array of the list; over gRPC it does not.
_V2 = Exchange(
    "/v2/models/model/infer",
    inference,
    first_inferred,
    "application/octet-stream",
    json_size=len(INFERENCE_HEAD),
)
_EXCHANGES = dict.fromkeys(("echo", "embed", "tensor", "sleep", "sleep-async"), _V1) | {
    "logreg": listed(_V1_PATH, "instances", pick=label),
    "tensor-inference": _V2,
    "tensor-grpc": Exchange(INFER_CALL, raw_message, first_in_message, rpc=True),
}


def _command(launch: Launch) -> tuple[object, ...]:
    rpc = _EXCHANGES[launch.workload.name].rpc
    http, grpc = (launch.free_ports[0], launch.port) if rpc else (launch.port, launch.free_ports[0])
    quiet = ("--enable_latency_logging", "false", "--configure_logging", "false")
    return (launch.python, _SERVER, "--http_port", http, "--grpc_port", grpc, *quiet)


CONTENDERS = (
    Contender(
        name="kserve",
        title="KServe",
        exchanges=_EXCHANGES,
        command=_command,
        settings="1 worker, access and latency logs off",
        environment=Environment("kserve", ("kserve==0.21.0", *COMMON_REQUIREMENTS)),
        package="kserve",
    ),
)
