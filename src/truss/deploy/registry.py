"""The table of targets.

A built-in target is one line of `BUILT_IN`. Others come from installed packages, through the entry point
group `truss.targets`; the environment variable `TRUSS_PLUGINS` limits which of those are used.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint
from types import MappingProxyType

from truss.deploy.target import Target
from truss.errors import DeployError
from truss.plugins import plugins

ENTRY_POINT_GROUP = "truss.targets"
"""Where an installed package declares its target class: `name = "package.module:Class"`."""

BUILT_IN = MappingProxyType(
    {
        "compose": "truss.deploy.compose:ComposeTarget",
        "ssh": "truss.deploy.ssh.unit:SshTarget",
        "kubernetes": "truss.deploy.kubernetes.plain:KubernetesTarget",
        "knative": "truss.deploy.kubernetes.knative:KnativeTarget",
        "kserve": "truss.deploy.kubernetes.kserve:KServeTarget",
        "ecs": "truss.deploy.aws.ecs:EcsTarget",
        "sagemaker": "truss.deploy.aws.sagemaker:SageMakerTarget",
        "lambda": "truss.deploy.aws.functions:LambdaTarget",
        "cloud-run": "truss.deploy.google.cloud_run:CloudRunTarget",
        "vertex": "truss.deploy.google.vertex:VertexTarget",
        "container-apps": "truss.deploy.azure.container_apps:ContainerAppsTarget",
        "azureml": "truss.deploy.azure.machine_learning:MachineLearningTarget",
        "ray": "truss.deploy.ray.target:RayTarget",
        "baseten": "truss.deploy.baseten.target:BasetenTarget",
        "fly": "truss.deploy.rendered.fly:FlyTarget",
        "modal": "truss.deploy.rendered.modal:ModalTarget",
        "skypilot": "truss.deploy.rendered.skypilot:SkyPilotTarget",
        "huggingface-spaces": "truss.deploy.rendered.huggingface:SpacesTarget",
        "huggingface-endpoints": "truss.deploy.rendered.endpoints:EndpointsTarget",
    }
)
"""The targets that come with Truss, by name."""


def targets() -> tuple[Target, ...]:
    """Every target: those that come with Truss, then those of installed packages."""
    built_in = tuple(_built_in(name, place) for name, place in BUILT_IN.items())
    return (*built_in, *(target for _, target in plugins(ENTRY_POINT_GROUP, "target", BUILT_IN)))


def target_named(name: str) -> Target:
    """The target of a name.

    Raises:
        DeployError: there is none.
    """
    if name in BUILT_IN:
        return _built_in(name, BUILT_IN[name])
    found = {target.name: target for target in targets()}
    if name in found:
        return found[name]
    raise DeployError(
        f"there is no target '{name}'", where="--to", hint=f"one of {', '.join(found)}; see `truss targets`"
    )


@cache
def _built_in(name: str, place: str) -> Target:
    target: Target = EntryPoint(name, place, ENTRY_POINT_GROUP).load()()
    return target
