"""Plain Kubernetes: a Deployment, a Service, and what scales and protects them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from truss.deploy.kubernetes import cluster, pods
from truss.deploy.kubernetes.files import manifest_files
from truss.deploy.kubernetes.permissions import role
from truss.deploy.options import check_copies
from truss.deploy.plan import File, Plan, Resource
from truss.deploy.release import PORT, Release
from truss.deploy.target import Feature, State, Status, option

SERVICE_PORT = 80


class KubernetesOptions(pods.ClusterOptions, frozen=True, kw_only=True):
    """What a deployment to plain Kubernetes can be told."""

    target_cpu: Annotated[
        int, option("Per cent of the CPU that copies ask for, above which there are more of them.")
    ] = 70
    service_type: Annotated[
        Literal["ClusterIP", "NodePort", "LoadBalancer"],
        option("How it is reached from outside the cluster."),
    ] = "ClusterIP"


class KubernetesTarget:
    """See the module."""

    name = "kubernetes"
    summary = "any Kubernetes cluster, through kubectl"
    options = KubernetesOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.GRPC,
            Feature.APPLIES,
        }
    )

    def repository(self, options: KubernetesOptions) -> str | None:
        """What the user says: clusters have no registry of their own."""
        return options.repository

    def plan(self, release: Release, options: KubernetesOptions) -> Plan:
        """The manifests."""
        check_copies(options, self.name, "min_replicas", "max_replicas", by=["target_cpu"])
        pods.check(release, options, self.name)
        resources = tuple(_resources(release, options))
        return Plan(
            self.name,
            release.name,
            resources,
            manifest_files(resources, options.namespace),
            tuple(_notes(release, options)),
        )

    def connect(self, options: KubernetesOptions) -> cluster.Cluster:
        """The cluster of the kubeconfig."""
        return cluster.connect(options, WORKLOAD, _OTHERS)

    def permissions(self) -> File:
        """A Role for whoever deploys there."""
        return role(WORKLOAD, _OTHERS)


def _resources(release: Release, options: KubernetesOptions) -> Iterator[Resource]:
    yield from pods.secret(release, options)
    yield pods.manifest(_deployment(release, options))
    yield pods.manifest(_service(release, options))
    if options.max_replicas > options.min_replicas:
        yield pods.manifest(_autoscaler(release, options))
    if options.min_replicas > 1:
        yield pods.manifest(_disruption_budget(release, options))


def _selector(release: Release) -> dict[str, str]:
    return {pods.INSTANCE: release.name, pods.MANAGED_BY: "truss"}


def _deployment(release: Release, options: KubernetesOptions) -> dict[str, Any]:
    container = {**pods.container_spec(release, options), **pods.probes()}
    spec = pods.pod_spec(release, options, container)
    spec["terminationGracePeriodSeconds"] = release.stop_seconds
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": _selector(release)},
        }
    ]
    # The number of copies is left to the autoscaler where there is one.
    fixed = {} if options.max_replicas > options.min_replicas else {"replicas": options.min_replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": pods.metadata(release, options),
        "spec": {
            **fixed,
            "selector": {"matchLabels": _selector(release)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": 1800,
            "template": {"metadata": {"labels": pods.labels(release)}, "spec": spec},
        },
    }


def _service(release: Release, options: KubernetesOptions) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": pods.metadata(release, options),
        "spec": {
            "type": options.service_type,
            "selector": _selector(release),
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT}],
        },
    }


def _autoscaler(release: Release, options: KubernetesOptions) -> dict[str, Any]:
    use = {"type": "Utilization", "averageUtilization": options.target_cpu}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": pods.metadata(release, options),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": release.name},
            "minReplicas": options.min_replicas,
            "maxReplicas": options.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": use}}],
        },
    }


def _disruption_budget(release: Release, options: KubernetesOptions) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": pods.metadata(release, options),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(release)}},
    }


def _notes(release: Release, options: KubernetesOptions) -> Iterator[str]:
    if options.service_type == "ClusterIP":
        yield (
            f"reached inside the cluster as http://{release.name}.{options.namespace}; from here: kubectl -n "
            f"{options.namespace} port-forward service/{release.name} 8080:{SERVICE_PORT}"
        )
    if options.max_replicas > options.min_replicas and release.accelerator is not None:
        yield "copies are counted by their use of the CPU, which says little of a model on a GPU"
    yield from pods.notes(release, options)


def _status(got: Mapping[str, Any]) -> Status:
    """How a Deployment does, by https://kubernetes.io/docs/concepts/workloads/controllers/deployment/."""
    said = got.get("status") or {}
    wanted = got["spec"].get("replicas", 1)
    ready = min(said.get("readyReplicas", 0), said.get("updatedReplicas", 0))
    seen = said.get("observedGeneration", 0) >= got["metadata"].get("generation", 0)
    gone = said.get("replicas", 0) == said.get("updatedReplicas", 0)
    conditions = {one["type"]: one for one in said.get("conditions", ())}
    failed = conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"
    state: State = "failed" if failed else "starting"
    if seen and gone and wanted and ready >= wanted:
        state = "healthy"
    elif not wanted:
        state = "stopped"
    detail = [one["message"] for one in conditions.values() if one["status"] != "True" and one.get("message")]
    head = got["metadata"]
    url = f"http://{head['name']}.{head['namespace']}"
    return Status(head["name"], KubernetesTarget.name, state, url, _image(got), ready, wanted, tuple(detail))


def _image(body: Mapping[str, Any]) -> str:
    found: str = body["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def _proxy(got: Mapping[str, Any]) -> str:
    head = got["metadata"]
    return f"/api/v1/namespaces/{head['namespace']}/services/{head['name']}:{SERVICE_PORT}/proxy"


_OTHERS = ("Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Secret")
WORKLOAD = cluster.Workload("Deployment", "Deployment", _image, _status, _proxy)
