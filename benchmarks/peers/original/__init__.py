"""The original Truss: its server, without Docker, over the very folder that ours serves."""

from benchmarks.contender import Contender, Environment, Exchange, Launch
from benchmarks.peers import truss as ours
from benchmarks.places import ROOT
from benchmarks.tensors import first_packed_prediction, packed

_PREDICT = "/v1/models/model:predict"
_ENVIRONMENT = Environment(
    "original", script=("scripts/setup-original",), folder=ROOT / ".venvs" / "original"
)


def _command(launch: Launch) -> tuple[object, ...]:
    return (
        "sh",
        ROOT / "scripts" / "serve-original",
        launch.workplace / "truss",
        launch.port,
        launch.workplace / "original",
    )


CONTENDERS = (
    Contender(
        name="original",
        title="original Truss",
        exchanges={name: ours.EXCHANGES[name] for name in ("echo", "logreg", "embed", "tensor", "sleep")}
        | {
            "tensor-binary": Exchange(
                _PREDICT + "_binary", packed, first_packed_prediction, "application/octet-stream"
            )
        },
        command=_command,
        settings="1 process, predict_concurrency=1; the folder that truss.create wrote",
        environment=_ENVIRONMENT,
        prepare=ours.prepare,
        package="truss",
    ),
)
