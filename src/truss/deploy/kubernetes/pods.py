"""What a model's pod is, whoever makes it.

Its form: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from truss.deploy.options import refuse_unused
from truss.deploy.plan import Resource, SecretValue
from truss.deploy.release import LIVE, PORT, READY, Release
from truss.deploy.target import Options, option

MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"

CONTAINER = "model"


class ClusterOptions(Options, frozen=True, kw_only=True):
    """What every deployment to a cluster can be told."""

    repository: Annotated[str, option("Where its image is pushed, without a tag.")] = ""
    namespace: Annotated[str, option("The namespace.")] = "default"
    context: Annotated[str, option("The context of the kubeconfig; by default the current one.")] = ""
    min_replicas: Annotated[int, option("How many copies run at least.")] = 1
    max_replicas: Annotated[int, option("How many copies run at most.")] = 1
    image_pull_secret: Annotated[str, option("The cluster's secret that images are pulled with.")] = ""
    gpu_resource: Annotated[str, option("What the cluster calls a GPU.")] = "nvidia.com/gpu"
    node_selector: Annotated[
        dict[str, str], option("Labels of the nodes that it runs on, e.g. of those with a kind of GPU.")
    ] = msgspec.field(default_factory=dict)


def check(release: Release, options: ClusterOptions, target: str) -> None:
    """Refuse what no pod of the release would heed.

    Raises:
        PlanError: it asks for nothing that the option would name.
    """
    if release.accelerator is None:
        hint = "leave it out, or ask for GPUs: `resources: {accelerator: T4}`"
        refuse_unused(options, target, ["gpu_resource"], "without GPUs", hint)


def labels(release: Release) -> dict[str, str]:
    """What tells resources of a deployment from all others."""
    return {
        "app.kubernetes.io/name": release.name,
        INSTANCE: release.name,
        MANAGED_BY: "truss",
    }


def metadata(release: Release, options: ClusterOptions, name: str = "") -> dict[str, Any]:
    """The head of a resource of the deployment; named after it unless another name is given."""
    return {"name": name or release.name, "namespace": options.namespace, "labels": labels(release)}


def manifest(resource: Mapping[str, Any]) -> Resource:
    """A manifest as a resource of a plan."""
    kind = resource["kind"]
    return Resource(kind, resource["metadata"]["name"], resource, "kubectl apply --server-side")


def secret(release: Release, options: ClusterOptions) -> Iterator[Resource]:
    """The cluster's secret with the values of the model's, if it has any."""
    if release.secrets:
        yield manifest(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata(release, options, secret_name(release)),
                "type": "Opaque",
                "stringData": {name: SecretValue(name) for name in release.secrets},
            }
        )


def secret_name(release: Release) -> str:
    """The name of that secret."""
    return f"{release.name}-secrets"


def pod_spec(release: Release, options: ClusterOptions, container: Mapping[str, Any]) -> dict[str, Any]:
    """A pod of one container."""
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [dict(container)],
        "volumes": _volumes(release),
    }
    if options.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": options.image_pull_secret}]
    if options.node_selector:
        spec["nodeSelector"] = dict(options.node_selector)
    return spec


def container_spec(
    release: Release, options: ClusterOptions, *, name: str = CONTAINER, port_name: str = "http"
) -> dict[str, Any]:
    """The container that serves the model; without probes, which not every maker of pods takes alike."""
    return {
        "name": name,
        "image": release.image,
        "ports": [{"name": port_name, "containerPort": PORT}],
        "env": [{"name": key, "value": value} for key, value in sorted(release.environment.items())],
        "resources": _resources(release, options),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": _mounts(release),
    }


def probes() -> dict[str, Any]:
    """When the model is started, ready, and to be started anew."""
    ready, live = ({"httpGet": {"path": path, "port": PORT}} for path in (READY, LIVE))
    return {
        # Large models take minutes to load: half an hour, looked at every five seconds.
        "startupProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 360},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**live, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
    }


def notes(release: Release, options: ClusterOptions) -> Iterator[str]:
    """What holds for every cluster."""
    gpus = release.accelerator
    if gpus is not None and gpus.kind and not options.node_selector:
        yield (
            f"{gpus.count} {options.gpu_resource} is asked for, of any kind: name the nodes that have a "
            f"{gpus.kind} with node_selector in the config"
        )
    if release.secrets:
        values = " ".join(f"--from-literal={name}=VALUE" for name in release.secrets)
        yield (
            "the files hold no values of secrets; with other tools: kubectl -n "
            f"{options.namespace} create secret generic {secret_name(release)} {values}"
        )


KNATIVE_WITHOUT_HTTP2 = "Knative passes on no gRPC"
"""What becomes of gRPC where Knative is told nothing of it: what it passes on is in HTTP/1.1."""


def knative_notes(options: ClusterOptions) -> Iterator[str]:
    """What holds where Knative makes the pods, which takes some fields only when its cluster was told to.

    Its switches: https://knative.dev/docs/serving/configuration/feature-flags/
    """
    if options.node_selector:
        yield (
            "node_selector is refused by Knative unless the cluster's config-features has "
            "kubernetes.podspec-nodeselector: enabled"
        )


def _resources(release: Release, options: ClusterOptions) -> dict[str, Any]:
    memory = release.config.resources.memory
    limits: dict[str, Any] = {"memory": memory}
    if (gpus := release.accelerator) is not None:
        limits[options.gpu_resource] = str(gpus.count)
    # No limit of CPU: a copy may use what its node has left, and is slowed down for nothing otherwise.
    return {"requests": {"cpu": _cpu(release.cpu), "memory": memory}, "limits": limits}


def _cpu(cores: float) -> str:
    """Cores as clusters write them: whole ones, else thousandths."""
    return str(int(cores)) if cores == int(cores) else f"{round(cores * 1000)}m"


def _volumes(release: Release) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if release.secrets:
        found.append({"name": "secrets", "secret": {"secretName": secret_name(release)}})
    return found


def _mounts(release: Release) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108  # of the container
    if release.secrets:
        found.append({"name": "secrets", "mountPath": "/secrets", "readOnly": True})
    return found
