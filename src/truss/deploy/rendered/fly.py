"""Fly.io: an app of machines that start with a request.

Its form: https://fly.io/docs/reference/configuration/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

from truss.deploy.plan import File, Plan, Price
from truss.deploy.release import LIVE, PORT, READY, Release
from truss.deploy.rendered.base import refuse_connection, rendered_plan
from truss.deploy.sizes import GIB, Size, enough
from truss.deploy.target import Feature, Options, option
from truss.deploy.toml_text import toml_text
from truss.errors import PlanError

_COMMAND = "fly deploy --config fly.toml"
_LONGEST_STOP = 300
"""Seconds: the most that a machine may take to stop."""

# https://fly.io/docs/about/pricing/: a machine of one core and 2 GB costs $32.19 a month, a further GB $5.
SIZES = tuple(
    Size(f"performance-{cpus}x with {memory} GB", cpus, memory * GIB, hourly=cpus * 0.0304 + memory * 0.00685)
    for cpus in (1, 2, 4, 8, 16)
    for memory in (2 * cpus, 4 * cpus, 8 * cpus)
)


class FlyOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Fly.io can be told."""

    repository: Annotated[str, option("Where its image is pushed, e.g. registry.fly.io/NAME.")] = ""
    region: Annotated[str, option("The region where it runs, e.g. ams.")] = "ams"
    min_machines: Annotated[int, option("How many machines run without requests.")] = 0
    concurrency: Annotated[int, option("Requests at a machine at a time, above which another starts.")] = 32


class FlyTarget:
    """See the module."""

    name = "fly"
    summary = "Fly.io, a fly.toml for flyctl"
    options = FlyOptions
    features = frozenset({Feature.AUTOSCALING, Feature.SCALE_TO_ZERO, Feature.SECRETS, Feature.STREAMING})

    def repository(self, options: FlyOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: FlyOptions) -> Plan:
        """The fly.toml."""
        if release.accelerator is not None:
            raise PlanError(
                "Fly.io rents out no GPUs any more",
                where="resources.accelerator",
                hint="deploy to modal or skypilot",
            )
        size, note = enough(release, SIZES, "Fly.io")
        price = Price(size.hourly * 730, f"one {size.name}, if it ran all the time", "2025-11")
        file = File("fly.toml", toml_text(_app(release, options, size)))
        notes = (note, *_notes(release))
        return rendered_plan(self.name, release, [file], _COMMAND, notes, price=price)

    def connect(self, options: FlyOptions) -> NoReturn:  # noqa: ARG002  # the protocol's signature
        """Raises: flyctl applies the plan."""
        refuse_connection(self.name, _COMMAND)


def _app(release: Release, options: FlyOptions, size: Size) -> Mapping[str, Any]:
    grace = min(round(release.grace), _LONGEST_STOP)
    return {
        "app": release.name,
        "primary_region": options.region,
        "kill_signal": "SIGTERM",
        "kill_timeout": grace,
        "build": {"image": release.image},
        # Without it the server keeps within the 5 seconds that Fly.io waits by default.
        "env": {"TRUSS_GRACE_SECONDS": str(grace), **release.environment, "PORT": str(PORT)},
        "http_service": {
            "internal_port": PORT,
            "force_https": True,
            "auto_stop_machines": "stop",
            "auto_start_machines": True,
            "min_machines_running": options.min_machines,
            "concurrency": {
                "type": "requests",
                "soft_limit": options.concurrency,
                "hard_limit": 4 * options.concurrency,
            },
            "checks": [_check(READY, "10s"), _check(LIVE, "30s")],
        },
        "vm": [{"cpu_kind": "performance", "cpus": int(size.cpu), "memory": f"{size.memory // GIB}gb"}],
    }


def _check(path: str, interval: str) -> dict[str, str]:
    return {"method": "GET", "path": path, "interval": interval, "timeout": "5s", "grace_period": "60s"}


def _notes(release: Release) -> Iterator[str]:
    if release.secrets:
        values = " ".join(f"{variable}=VALUE" for variable in release.secret_variables)
        yield f"secrets are Fly.io's, which it gives as variables: fly secrets set {values}"
    if release.grace > _LONGEST_STOP:
        yield f"a machine that stops has {_LONGEST_STOP} s, not {release.grace:g} s"
    yield "the app has to exist: fly apps create " + release.name
