"""The same for other pipelines: a config for Serve, and a RayService for KubeRay.

The form of a RayService: https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayservice-quick-start.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from truss.deploy.plan import File, SecretValue
from truss.deploy.release import Release
from truss.deploy.yaml_text import yaml_text

if TYPE_CHECKING:
    from truss.deploy.ray.target import RayOptions

_HEAD_PORTS = {"gcs": 6379, "dashboard": 8265, "client": 10001, "serve": 8000}

_HEAD = {"cpu": "2", "memory": "4Gi"}
"""The head schedules and keeps the books; replicas go to workers."""

_RAY_CPU = 0.5
_RAY_MEMORY = 2 << 30
"""What Ray's own processes take of a worker's pod, beside a replica."""


def files(release: Release, options: RayOptions, application: Mapping[str, Any]) -> tuple[File, ...]:
    """The files of a plan.

    Args:
        release: What is deployed.
        options: How.
        application: The application, as Serve's configs have it.
    """
    config = {
        "proxy_location": options.proxies,
        "http_options": {"host": options.host, "port": options.port},
        "applications": [_without_secrets(application)],
    }
    service = _service(release, options, yaml_text({"applications": config["applications"]}))
    return (File("serve_config.yaml", yaml_text(config)), File("rayservice.yaml", yaml_text(service)))


def _without_secrets(application: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of secrets are left out: replicas have those of the nodes they run on."""
    runtime = dict(application["runtime_env"])
    variables = runtime.pop("env_vars", {})
    open_ones = {key: value for key, value in variables.items() if not isinstance(value, SecretValue)}
    return {**application, "runtime_env": {**runtime, **({"env_vars": open_ones} if open_ones else {})}}


def _service(release: Release, options: RayOptions, config: str) -> dict[str, Any]:
    most = max(options.max_replicas, options.min_replicas, 1)
    worker = {
        "groupName": "workers",
        "replicas": max(options.min_replicas, 1),
        "minReplicas": options.min_replicas,
        "maxReplicas": most,
        "rayStartParams": {},
        "template": _pod("ray-worker", release, options, _worker_size(release, options)),
    }
    head = _pod("ray-head", release, options, _HEAD)
    head["spec"]["containers"][0]["ports"] = [
        {"name": name, "containerPort": port} for name, port in _HEAD_PORTS.items()
    ]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": release.name, "labels": {"app.kubernetes.io/managed-by": "truss"}},
        "spec": {
            "serveConfigV2": config,
            "rayClusterConfig": {
                **({"enableInTreeAutoscaling": True} if most > options.min_replicas else {}),
                # No replicas on the head: when that is lost, more is than requests.
                "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": head},
                "workerGroupSpecs": [worker],
            },
        },
    }


def _pod(container: str, release: Release, options: RayOptions, size: Mapping[str, Any]) -> dict[str, Any]:
    variables = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": f"{release.name}-secrets", "key": name}}}
        for variable, name in release.secret_variables.items()
    ]
    spec: dict[str, Any] = {
        "name": container,
        "image": options.ray_image,
        "resources": {"requests": dict(size), "limits": dict(size)},
    }
    return {"spec": {"containers": [{**spec, **({"env": variables} if variables else {})}]}}


def _worker_size(release: Release, options: RayOptions) -> dict[str, Any]:
    """One replica a pod: the cluster's scheduler, not Ray, then decides what shares a machine."""
    size: dict[str, Any] = {
        "cpu": f"{round((release.cpu + _RAY_CPU) * 1000)}m",
        # Ray counts a part of a pod's memory as its own store's.
        "memory": f"{round((release.memory / 0.7 + _RAY_MEMORY) / (1 << 20))}Mi",
    }
    gpus = release.accelerator
    number = max(1, round(options.gpus)) if options.gpus else (gpus.count if gpus is not None else 0)
    return {**size, **({"nvidia.com/gpu": str(number)} if number else {})}
