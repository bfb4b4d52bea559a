"""SkyPilot: a service of its replicas, on whichever of the user's clouds is cheapest.

Its form: https://docs.skypilot.co/en/latest/serving/service-yaml-spec.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

from truss.deploy.options import check_copies
from truss.deploy.plan import File, Plan
from truss.deploy.release import PORT, READY, Release
from truss.deploy.rendered.base import refuse_connection, rendered_plan
from truss.deploy.sizes import GIB
from truss.deploy.target import Feature, Options, option
from truss.deploy.yaml_text import yaml_text

_OTHER_NAMES = {"A100": "A100-80GB", "A100_40GB": "A100", "RTX_PRO_6000": "RTXPRO6000"}


class SkyPilotOptions(Options, frozen=True, kw_only=True):
    """What a deployment with SkyPilot can be told."""

    repository: Annotated[str, option("Where its image is pushed, without a tag.")] = ""
    infra: Annotated[
        str, option("Where it may run, e.g. aws, gcp/us-central1, k8s; by default anywhere.")
    ] = ""
    min_replicas: Annotated[int, option("How many copies run at least.")] = 1
    max_replicas: Annotated[int, option("How many copies run at most.")] = 3
    rate: Annotated[float, option("Requests a second at a copy, above which there are more copies.")] = 50.0
    use_spot: Annotated[bool, option("Whether it runs on machines that may be taken away.")] = False


class SkyPilotTarget:
    """See the module."""

    name = "skypilot"
    summary = "SkyPilot, a service on any of many clouds"
    options = SkyPilotOptions
    features = frozenset({Feature.GPU, Feature.AUTOSCALING, Feature.SECRETS, Feature.STREAMING})

    def repository(self, options: SkyPilotOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: SkyPilotOptions) -> Plan:
        """The service's file."""
        check_copies(options, self.name, "min_replicas", "max_replicas")
        file = File("service.yaml", yaml_text(_service(release, options)))
        return rendered_plan(self.name, release, [file], _command(release), tuple(_notes(release)))

    def connect(self, options: SkyPilotOptions) -> NoReturn:  # noqa: ARG002  # the protocol's signature
        """Raises: SkyPilot's own command line applies the plan."""
        refuse_connection(self.name, "sky serve up service.yaml")


def _command(release: Release) -> str:
    secrets = "".join(f" --secret {name}" for name in release.secret_variables)
    return f"sky serve up service.yaml --service-name {release.name}{secrets}"


def _service(release: Release, options: SkyPilotOptions) -> Mapping[str, Any]:
    resources: dict[str, Any] = {
        "ports": PORT,
        "image_id": f"docker:{release.image}",
        "cpus": f"{release.cpu:g}+",
        "memory": f"{-(-release.memory // GIB)}+",
    }
    if (gpus := release.accelerator) is not None and gpus.kind:
        resources["accelerators"] = f"{_OTHER_NAMES.get(gpus.kind, gpus.kind)}:{gpus.count}"
    if options.infra:
        resources["infra"] = options.infra
    if options.use_spot:
        resources["use_spot"] = True
    return {
        "service": {
            "readiness_probe": {"path": READY, "initial_delay_seconds": 1800},
            "replica_policy": {
                "min_replicas": options.min_replicas,
                "max_replicas": max(options.min_replicas, options.max_replicas),
                "target_qps_per_replica": options.rate,
            },
        },
        "resources": resources,
        **({"envs": release.environment} if release.environment else {}),
        **({"secrets": dict.fromkeys(release.secret_variables)} if release.secrets else {}),
        "run": "cd /app && exec python3 -m truss.runtime.container serve\n",
    }


def _notes(release: Release) -> Iterator[str]:
    gpus = release.accelerator
    if gpus is not None:
        yield (
            f"GPU: {gpus.count} {gpus.kind}" if gpus.kind else "name the kind of GPU in resources.accelerator"
        )
    if release.secrets:
        names = ", ".join(release.secret_variables)
        yield f"set {names} before the command, which hands them on"
