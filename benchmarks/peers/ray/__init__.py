"""Ray Serve in its high throughput mode: a deployment with one replica, plain and with `@serve.batch`.

And a Truss that `truss deploy --to ray` has taken there, with the same settings of Ray.
"""

import tempfile
from pathlib import Path

from benchmarks.contender import COMMON_REQUIREMENTS, Contender, Environment, Exchange, Launch, label, listed
from benchmarks.peers import truss as ours
from benchmarks.places import ROOT
from benchmarks.tensors import first_json_prediction, raw

_SERVER = Path(__file__).with_name("server.py")
_DEPLOYED = Path(__file__).with_name("deployed.py")
_ENVIRONMENT = Environment("ray", ("ray[serve]==2.60.0", *COMMON_REQUIREMENTS))
_BINARY = Exchange("/", raw, first_json_prediction, "application/octet-stream")
_EXCHANGES = {
    "echo": listed("/"),
    "logreg": listed("/", pick=label),
    "embed": listed("/"),
    "tensor": listed("/"),
    "tensor-binary": _BINARY,
    "sleep": listed("/"),
}


def _variables(launch: Launch) -> dict[str, str]:
    # A socket lies in it, below a long name of Ray's, and the path of a socket must be short.
    haproxy = Path(tempfile.gettempdir()) / f"ray-{launch.port}"
    stats, metrics = launch.free_ports[:2]
    return {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }


def _contender(batched: bool) -> Contender:
    plain = dict(_EXCHANGES) | ({} if batched else {"sleep-async": listed("/")})

    def command(launch: Launch) -> tuple[object, ...]:
        return (launch.python, _SERVER, launch.port, "batched" if batched else "plain")

    return Contender(
        name="ray-batched" if batched else "ray",
        title="Ray Serve, @serve.batch" if batched else "Ray Serve",
        exchanges=plain,
        command=command,
        settings="1 replica, max_ongoing_requests=1000, its HAProxy and throughput settings on"
        + (", max_batch_size=64, batch_wait_timeout_s=0.005" if batched else ""),
        environment=_ENVIRONMENT,
        variables=_variables,
        package="ray",
        batched=batched,
    )


def _deploying(launch: Launch) -> tuple[object, ...]:
    program, dashboard = ours.PROGRAM, launch.free_ports[2]
    return (launch.python, _DEPLOYED, launch.port, dashboard, program, launch.workplace / "truss")


_TRUSS = Contender(
    name="truss-on-ray",
    title="Truss, `truss deploy --to ray`",
    exchanges={name: ours.EXCHANGES[name] for name in ("echo", "logreg", "embed")},
    command=_deploying,
    settings="1 replica of 1 worker, defaults; Ray's HAProxy and throughput settings on",
    environment=Environment("ray", script=("scripts/setup-ray",), folder=ROOT / ".venvs" / "ray"),
    prepare=ours.prepare,
    variables=_variables,
    package="ray",
    batched=True,
    everywhere=False,
)

CONTENDERS = (_contender(batched=False), _contender(batched=True), _TRUSS)
