"""Knative: a Service that scales with its requests, down to nothing.

Its form: https://github.com/knative/specs/blob/main/specs/serving/knative-api-specification-1.0.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from truss.deploy import http2
from truss.deploy.kubernetes import cluster, pods
from truss.deploy.kubernetes.conditions import conditions_state
from truss.deploy.kubernetes.files import manifest_files
from truss.deploy.kubernetes.permissions import role
from truss.deploy.options import check_copies
from truss.deploy.plan import File, Plan, Resource
from truss.deploy.release import Release
from truss.deploy.target import Feature, Status, option


class KnativeOptions(pods.ClusterOptions, frozen=True, kw_only=True):
    """What a deployment to Knative can be told."""

    min_replicas: Annotated[int, option("How many copies run at least; 0 lets it scale to nothing.")] = 0
    max_replicas: Annotated[int, option("How many copies run at most.")] = 10
    concurrency: Annotated[
        int, option("Requests at a copy at a time, above which there are more copies.")
    ] = 32
    timeout: Annotated[int, option("Seconds that an answer may take.")] = 300
    internal: Annotated[bool, option("Whether it is reached inside the cluster only.")] = False
    http2: http2.Http2 = False


class KnativeTarget:
    """See the module."""

    name = "knative"
    summary = "a Kubernetes cluster with Knative Serving"
    options = KnativeOptions
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

    def repository(self, options: KnativeOptions) -> str | None:
        """What the user says: clusters have no registry of their own."""
        return options.repository

    def plan(self, release: Release, options: KnativeOptions) -> Plan:
        """The manifests."""
        check_copies(options, self.name, "min_replicas", "max_replicas")
        http2.check(release, options.http2, self.name)
        pods.check(release, options, self.name)
        resources = tuple(_resources(release, options))
        files = manifest_files(resources, options.namespace)
        notes = tuple(_notes(release, options))
        return Plan(self.name, release.name, resources, files, notes, asked=not options.http2)

    def connect(self, options: KnativeOptions) -> cluster.Cluster:
        """The cluster of the kubeconfig."""
        return cluster.connect(options, WORKLOAD, _OTHERS)

    def permissions(self) -> File:
        """A Role for whoever deploys there."""
        return role(WORKLOAD, _OTHERS)


def _resources(release: Release, options: KnativeOptions) -> Iterator[Resource]:
    yield from pods.secret(release, options)
    yield pods.manifest(_service(release, options))


def _service(release: Release, options: KnativeOptions) -> dict[str, Any]:
    # Its default probe takes an open port for a ready model: ours is open at once, so the routes are asked.
    container = {
        **pods.container_spec(release, options, port_name=http2.port_name(options.http2)),
        **{name: probe for name, probe in pods.probes().items() if name != "startupProbe"},
    }
    metadata = pods.metadata(release, options)
    if options.internal:
        metadata["labels"] = {**metadata["labels"], "networking.knative.dev/visibility": "cluster-local"}
    scale = {
        "autoscaling.knative.dev/min-scale": str(options.min_replicas),
        "autoscaling.knative.dev/max-scale": str(max(options.min_replicas, options.max_replicas)),
        "autoscaling.knative.dev/target": str(options.concurrency),
        "serving.knative.dev/progress-deadline": "1800s",
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "template": {
                "metadata": {"labels": pods.labels(release), "annotations": scale},
                "spec": {
                    **pods.pod_spec(release, options, container),
                    "containerConcurrency": 0,
                    "timeoutSeconds": options.timeout,
                },
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }


def _notes(release: Release, options: KnativeOptions) -> Iterator[str]:
    if options.min_replicas == 0:
        yield "the first request after a pause waits for a copy to load the model; --min-replicas 1 keeps one"
    if release.grace > options.timeout:
        yield f"a copy that stops has {options.timeout} s, Knative's timeout, and not {release.grace:g} s"
    yield from http2.notes(release, options.http2, pods.KNATIVE_WITHOUT_HTTP2)
    yield from pods.knative_notes(options)
    yield from pods.notes(release, options)


def _status(got: Mapping[str, Any]) -> Status:
    said = got.get("status") or {}
    state, detail = conditions_state(got)
    return Status(
        got["metadata"]["name"],
        KnativeTarget.name,
        state,
        said.get("url", ""),
        _image(got),
        int(state == "healthy"),
        1,
        detail,
    )


def _image(body: Mapping[str, Any]) -> str:
    found: str = body["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def _proxy(got: Mapping[str, Any]) -> str:
    """A private service of the newest revision, past the gateway, whose name need not resolve here."""
    head = got["metadata"]
    revision = got["status"]["latestReadyRevisionName"]
    return f"/api/v1/namespaces/{head['namespace']}/services/{revision}-private:80/proxy"


_OTHERS = ("Secret",)
WORKLOAD = cluster.Workload("services.serving.knative.dev", "Service", _image, _status, _proxy)
