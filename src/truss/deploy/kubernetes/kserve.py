"""KServe: an InferenceService whose predictor is the model's own container.

Its form: https://kserve.github.io/website/docs/reference/crd-api
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from truss.deploy import http2
from truss.deploy.kubernetes import cluster, pods
from truss.deploy.kubernetes.conditions import conditions_state
from truss.deploy.kubernetes.files import manifest_files
from truss.deploy.kubernetes.permissions import role
from truss.deploy.options import check_copies, refuse_unused
from truss.deploy.plan import File, Plan, Resource
from truss.deploy.release import Release
from truss.deploy.target import Feature, Status, option

CONTAINER = "kserve-container"
"""What KServe calls the container that it routes requests to."""


class KServeOptions(pods.ClusterOptions, frozen=True, kw_only=True):
    """What a deployment to KServe can be told."""

    mode: Annotated[
        Literal["Standard", "Knative"],
        option("Whether KServe makes a Deployment or a Knative Service of it."),
    ] = "Standard"
    timeout: Annotated[int, option("Seconds that an answer may take.")] = 300
    http2: http2.Http2 = False


class KServeTarget:
    """See the module."""

    name = "kserve"
    summary = "a Kubernetes cluster with KServe"
    options = KServeOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.GRPC,
            Feature.APPLIES,
        }
    )

    def repository(self, options: KServeOptions) -> str | None:
        """What the user says: clusters have no registry of their own."""
        return options.repository

    def plan(self, release: Release, options: KServeOptions) -> Plan:
        """The manifests."""
        check_copies(options, self.name, "min_replicas", "max_replicas")
        if options.mode != "Knative":
            why = "in this mode, which passes on HTTP/1.1 and HTTP/2 alike"
            refuse_unused(options, self.name, ["http2"], why, "leave it out, or give --mode Knative")
        http2.check(release, options.http2, self.name)
        pods.check(release, options, self.name)
        resources = tuple(_resources(release, options))
        files = manifest_files(resources, options.namespace)
        notes = tuple(_notes(release, options))
        return Plan(self.name, release.name, resources, files, notes, asked=not options.http2)

    def connect(self, options: KServeOptions) -> cluster.Cluster:
        """The cluster of the kubeconfig."""
        return cluster.connect(options, WORKLOAD, _OTHERS)

    def permissions(self) -> File:
        """A Role for whoever deploys there."""
        return role(WORKLOAD, _OTHERS)


def _resources(release: Release, options: KServeOptions) -> Iterator[Resource]:
    yield from pods.secret(release, options)
    yield pods.manifest(_inference_service(release, options))


def _inference_service(release: Release, options: KServeOptions) -> dict[str, Any]:
    knative = options.mode == "Knative"
    port_name = http2.port_name(options.http2) if knative else "http"
    container = pods.container_spec(release, options, name=CONTAINER, port_name=port_name)
    every = pods.probes()
    wanted = ("readinessProbe", "livenessProbe") if knative else tuple(every)
    predictor = {
        **pods.pod_spec(release, options, {**container, **{name: every[name] for name in wanted}}),
        "minReplicas": options.min_replicas,
        "maxReplicas": max(options.min_replicas, options.max_replicas),
        "timeout": options.timeout,
        **({} if knative else {"terminationGracePeriodSeconds": release.stop_seconds}),
    }
    metadata = {
        **pods.metadata(release, options),
        "annotations": {"serving.kserve.io/deploymentMode": _MODES[options.mode]},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }


def _notes(release: Release, options: KServeOptions) -> Iterator[str]:
    if options.mode == "Knative":
        yield from http2.notes(release, options.http2, pods.KNATIVE_WITHOUT_HTTP2)
        yield from pods.knative_notes(options)
    yield from pods.notes(release, options)


_MODES = {"Standard": "RawDeployment", "Knative": "Serverless"}
"""The names that versions before 0.16 know too."""


def _status(got: Mapping[str, Any]) -> Status:
    said = got.get("status") or {}
    state, detail = conditions_state(got)
    # Its `Ready` is false, not unknown, while the pods are on their way.
    if state == "failed" and said.get("modelStatus", {}).get("transitionStatus") == "InProgress":
        state = "starting"
    return Status(
        got["metadata"]["name"],
        KServeTarget.name,
        state,
        said.get("url", ""),
        _image(got),
        int(state == "healthy"),
        got["spec"]["predictor"].get("minReplicas", 1),
        detail,
    )


def _image(body: Mapping[str, Any]) -> str:
    found: str = body["spec"]["predictor"]["containers"][0]["image"]
    return found


def _proxy(got: Mapping[str, Any]) -> str:
    head = got["metadata"]
    return f"/api/v1/namespaces/{head['namespace']}/services/{head['name']}-predictor:80/proxy"


_OTHERS = ("Secret",)
WORKLOAD = cluster.Workload(
    "inferenceservices.serving.kserve.io", "InferenceService", _image, _status, _proxy
)
