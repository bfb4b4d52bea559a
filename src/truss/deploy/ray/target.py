"""Ray Serve, on a cluster that runs: an application whose replicas are fronts of a Truss.

The form of an application: https://docs.ray.io/en/latest/serve/production-guide/config.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from truss.deploy.options import check_copies, refuse_unused
from truss.deploy.plan import Plan, Resource, SecretValue
from truss.deploy.ray import cluster, files
from truss.deploy.ray.dashboard import Dashboard
from truss.deploy.release import Release
from truss.deploy.target import Feature, Options, option
from truss.errors import PlanError

STORE = "gcs"
"""How Ray calls the store of a cluster's head in addresses."""

_DEPLOYMENT = "model"
"""As in `truss.runtime.ray_replica`, which is not imported here but there."""

_SERVER_NEEDS = ("httptools>=0.6.1", "msgspec>=0.18.6", "ruamel.yaml>=0.18.6", "uvicorn>=0.30", "xxhash>=3.4")
"""What the server in the archive needs, where the nodes install packages: the `runtime` extra."""

_KINDS = frozenset({"A100", "A10G", "H100", "H200", "B200", "L4", "L40S", "P100", "P4", "T4", "V100"})
"""GPUs that Ray has a name for: https://docs.ray.io/en/latest/ray-core/accelerator-types.html"""

_GROWING = ("target_ongoing_requests", "upscale_delay", "downscale_delay")
"""The options that say when there are more copies, or fewer."""

_HEALTH_SECONDS = 10
_HEALTH_TIMEOUT = 30


class RayOptions(Options, frozen=True, kw_only=True):
    """What a deployment to a Ray cluster can be told."""

    address: Annotated[str, option("The cluster's dashboard.")] = "http://127.0.0.1:8265"
    url: Annotated[
        str, option("Where Serve is reached from here; by default the dashboard's host, at Serve's port.")
    ] = ""
    route_prefix: Annotated[str, option("The path it is reached below; by default /NAME.")] = ""
    min_replicas: Annotated[
        int, option("How many copies run at least; 0: none while nobody asks, with max_replicas above.")
    ] = 1
    max_replicas: Annotated[int, option("How many copies run at most; 0: as many as min_replicas.")] = 0
    target_ongoing_requests: Annotated[
        float,
        option("Requests that a copy has on average, waiting or running; above it there are more copies."),
    ] = 16.0
    upscale_delay: Annotated[
        float,
        option("Seconds for which there must be more requests until copies are added; 0: Ray's 30."),
    ] = 0.0
    downscale_delay: Annotated[
        float, option("Seconds for which there must be fewer until some are removed; 0: Ray's 600.")
    ] = 0.0
    max_ongoing_requests: Annotated[
        int,
        option("Requests that a copy is given at most; 0: two full batches. Others wait at the proxies."),
    ] = 0
    max_replicas_per_node: Annotated[int, option("Copies that a node has at most; 0: what fits.")] = 0
    max_surge_percent: Annotated[
        int, option("Copies of a new state that start before old ones end, per cent; needs Ray 2.60.")
    ] = 0
    gpus: Annotated[float, option("GPUs of a copy, also a part of one, as 0.25; 0: as the config says.")] = (
        0.0
    )
    packages: Annotated[
        Literal["nodes", "uv", "pip"],
        option("Who brings the model's Python packages: the nodes have them, or each installs them."),
    ] = "nodes"
    secrets: Annotated[
        Literal["sent", "nodes"],
        option("Who brings the secrets' values: they are sent with it, or the nodes have their variables."),
    ] = "sent"
    repository: Annotated[
        str,
        option("Where its archive is put, s3://bucket/folder or file:///shared/folder; else on the cluster."),
    ] = ""
    host: Annotated[str, option("Where Serve listens, if it is not running yet.")] = "0.0.0.0"  # noqa: S104  # as Serve does
    port: Annotated[int, option("Serve's port, if it is not running yet.")] = 8000
    proxies: Annotated[
        Literal["EveryNode", "HeadOnly"], option("Which nodes listen, if Serve is not running yet.")
    ] = "EveryNode"
    ray_image: Annotated[
        str, option("The image of KubeRay's pods in rayservice.yaml: Ray, and the model's packages.")
    ] = "rayproject/ray:2.60.0-py311"


class RayTarget:
    """See the module."""

    name = "ray"
    summary = "a Ray cluster, with Ray Serve"
    options = RayOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.STREAMING,
            Feature.APPLIES,
        }
    )

    def repository(self, options: RayOptions) -> str | None:
        """None: no images go there."""
        del options
        return None

    def archive(self, digest: str, options: RayOptions) -> str:
        """In the folder that was named, else in the cluster's own store, by a name of Ray's form."""
        name = f"_ray_pkg_{digest[:32]}.zip"
        return f"{options.repository.rstrip('/')}/{name}" if options.repository else f"{STORE}://{name}"

    def plan(self, release: Release, options: RayOptions) -> Plan:
        """An application; and what keeps its archive, where that is in the cluster's own store."""
        _check(release, options)
        body = application(release, options)
        keeper = Resource(cluster.KEEPER, release.name, {"archive": release.image}, "POST /api/jobs/")
        resource = Resource(cluster.APPLICATION, release.name, body, "PUT /api/serve/applications/")
        kept = (keeper,) if is_in_store(release.image) else ()
        return Plan(
            self.name,
            release.name,
            (*kept, resource),
            files.files(release, options, body),
            tuple(_notes(release, options)),
        )

    def connect(self, options: RayOptions) -> cluster.RayCluster:
        """The cluster of the dashboard."""
        instance = {
            "proxy_location": options.proxies,
            "http_options": {"host": options.host, "port": options.port},
        }
        return cluster.RayCluster(Dashboard(options.address), options.url, instance)


def is_in_store(archive: str) -> bool:
    """Whether an archive is in the cluster's own store, which forgets what nobody runs."""
    return urlsplit(archive).scheme == STORE


def application(release: Release, options: RayOptions) -> dict[str, Any]:
    """The application, as Serve's configs have it."""
    sent = release.secret_variables if options.secrets == "sent" else {}
    variables = {variable: SecretValue(name) for variable, name in sent.items()}
    runtime: dict[str, Any] = {"working_dir": release.image}
    if variables or release.environment:
        runtime["env_vars"] = {**release.environment, **variables}
    if options.packages != "nodes":
        runtime[options.packages] = _installed(release, options)
    return {
        "name": release.name,
        "route_prefix": prefix(release, options),
        "import_path": cluster.IMPORT_PATH,
        "runtime_env": runtime,
        "args": {"deployment": release.name, "secrets": sorted(variables)},
        "deployments": [_deployment(release, options)],
    }


def _installed(release: Release, options: RayOptions) -> Any:
    """The packages that the nodes install: those of PyTorch for CPUs where no GPU is asked for, as in images.

    https://docs.astral.sh/uv/guides/integration/pytorch/#automatic-backend-selection; pip has no such option.
    """
    packages = [*_SERVER_NEEDS, *release.config.requirements]
    if options.packages != "uv" or options.gpus or release.accelerator is not None:
        return packages
    return {"packages": packages, "uv_pip_install_options": ["--no-cache", "--torch-backend", "cpu"]}


def prefix(release: Release, options: RayOptions) -> str:
    """The path that it is reached below."""
    return options.route_prefix or f"/{release.name}"


def _deployment(release: Release, options: RayOptions) -> dict[str, Any]:
    runtime = release.config.runtime
    return {
        "name": _DEPLOYMENT,
        **_copies(options),
        "max_ongoing_requests": options.max_ongoing_requests or 2 * runtime.batching.max_requests,
        "max_queued_requests": runtime.queue.max_requests,
        "graceful_shutdown_timeout_s": release.stop_seconds,
        "health_check_period_s": _HEALTH_SECONDS,
        "health_check_timeout_s": _HEALTH_TIMEOUT,
        "ray_actor_options": _resources(release, options),
        **({"max_replicas_per_node": options.max_replicas_per_node} if options.max_replicas_per_node else {}),
        **({"max_surge_percent": options.max_surge_percent} if options.max_surge_percent else {}),
    }


def _copies(options: RayOptions) -> dict[str, Any]:
    if options.max_replicas <= options.min_replicas:
        return {"num_replicas": options.min_replicas}
    scaling = {
        "min_replicas": options.min_replicas,
        # One at first in any case: a deployment is asked its examples.
        "initial_replicas": max(1, options.min_replicas),
        "max_replicas": options.max_replicas,
        "target_ongoing_requests": options.target_ongoing_requests,
        **({"upscale_delay_s": options.upscale_delay} if options.upscale_delay else {}),
        **({"downscale_delay_s": options.downscale_delay} if options.downscale_delay else {}),
    }
    return {"autoscaling_config": scaling}


def _resources(release: Release, options: RayOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"num_cpus": release.cpu, "memory": release.memory}
    gpus = release.accelerator
    number = options.gpus or (float(gpus.count) if gpus is not None else 0.0)
    if number:
        found["num_gpus"] = number
    if gpus is not None and gpus.kind in _KINDS:
        found["accelerator_type"] = gpus.kind
    return found


def _check(release: Release, options: RayOptions) -> None:
    if release.config.docker_server is not None:
        raise PlanError(
            "a wrapped server is a program of its image, and Ray runs Python",
            where="docker_server",
            hint="deploy it to kubernetes, knative or compose",
        )
    if options.min_replicas < 1 and options.max_replicas <= options.min_replicas:
        raise PlanError(
            "no copy would ever run",
            where="deploy.ray.min_replicas",
            hint="give --max-replicas as well, or --min-replicas 1",
        )
    check_copies(options, RayTarget.name, "min_replicas", "max_replicas", by=_GROWING)
    if not release.secrets:
        refuse_unused(options, RayTarget.name, ["secrets"], "for a model without secrets", "leave it out")
    if options.gpus > 1 and options.gpus != int(options.gpus):
        raise PlanError(
            f"Ray gives parts of one GPU, or whole ones, not {options.gpus:g}", where="deploy.ray.gpus"
        )
    if not prefix(release, options).startswith("/"):
        raise PlanError("a path begins with /", where="deploy.ray.route_prefix", hint="for example /iris")
    if options.packages != "nodes" and release.config.requirements_file:
        raise PlanError(
            "nodes install packages that are listed in the config, not those of a file",
            where="requirements_file",
            hint="list them under `requirements`, or have them on the nodes: --packages nodes",
        )


def _notes(release: Release, options: RayOptions) -> Iterator[str]:
    yield f"reached below {prefix(release, options)}, at Serve's port of the cluster"
    if options.packages == "nodes":
        needed = ", ".join((*_SERVER_NEEDS, *release.config.requirements))
        yield f"the nodes have to have {needed}; --packages uv has them install it"
    if release.config.system_packages or release.config.base_image or release.config.build_commands:
        yield "Ray runs no image of the Truss: the nodes have to have its system packages and base themselves"
    if release.secrets:
        names = ", ".join(sorted(release.secret_variables))
        yield (
            f"Ray keeps no secrets: {names} are variables of the replicas, which everybody can read who can "
            "reach the dashboard or run code on the cluster; --secrets nodes sends none"
            if options.secrets == "sent"
            else f"the nodes have to have the variables {names}"
        )
    gpus = release.accelerator
    if gpus is not None and gpus.kind and gpus.kind not in _KINDS:
        yield f"a GPU is asked for, of any kind: Ray has no name for a {gpus.kind}"
    if 0 < options.gpus < 1:
        yield "copies that share a GPU share its memory as well, which nothing divides between them"
    if is_in_store(release.image):
        yield (
            "its archive is in the cluster's own store, where a job keeps it from being forgotten; for "
            "rayservice.yaml, put it where a new cluster finds it: --repository"
        )
