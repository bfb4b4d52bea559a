"""A cluster, spoken to through kubectl.

Manifests are applied server-side, under a field manager of ours, so that what others manage is left to them.
What the main resource of a deployment was before is kept in an annotation of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truss.deploy.changes import restricted
from truss.deploy.kubernetes.pods import INSTANCE, MANAGED_BY, ClusterOptions
from truss.deploy.plan import Resource
from truss.deploy.program import Program, found_program
from truss.deploy.release import PREDICT
from truss.deploy.target import Found, Revision, Status

_EARLIER = "truss.ai/earlier"
_KEPT = 5


@dataclass(frozen=True)
class Workload:
    """What tells of a kind of main resource: the one that makes pods.

    Attributes:
        kind: As `kubectl get` takes it: `Deployment`, `services.serving.knative.dev`.
        manifest_kind: As manifests call it.
        image: Its image.
        status: How it does, from what the cluster tells.
        proxy: Where it is asked through the cluster, from its name and namespace.
    """

    kind: str
    manifest_kind: str
    image: Callable[[Mapping[str, Any]], str]
    status: Callable[[Mapping[str, Any]], Status]
    proxy: Callable[[Mapping[str, Any]], str]


def connect(options: ClusterOptions, workload: Workload, others: Sequence[str]) -> Cluster:
    """A connection to the cluster of the kubeconfig.

    Args:
        options: Which context and namespace.
        workload: What its deployments mainly are.
        others: The kinds of their other resources.

    Raises:
        DeployError: kubectl is not there.
    """
    kubectl = found_program(("kubectl",), hint="install kubectl, or apply the files: --out FOLDER")
    context = ["--context", options.context] if options.context else []
    words = (*kubectl.words, *context, "--namespace", options.namespace)
    return Cluster(Program(words), workload, tuple(others))


@dataclass(frozen=True)
class Cluster:
    """A cluster, and what deployments to it mainly are.

    Attributes:
        kubectl: The program, with its context and namespace.
        workload: The kind of the main resource.
        others: The kinds of the others.
    """

    kubectl: Program
    workload: Workload
    others: tuple[str, ...]

    def find(self, resource: Resource) -> Found | None:
        """The resource as the cluster has it, without what the cluster has filled in."""
        got = self._get(self._kind(resource.kind), resource.name)
        return None if got is None else _found(resource.kind, got, resource.body)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """Apply its manifest."""
        self._apply(resource.body, [])
        return {}

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as the protocol has it
        """Apply its manifest; of the main resource, remember what it was."""
        earlier = []
        if resource.kind == self.workload.manifest_kind:
            earlier = [*self._earlier(resource.name), _applied(self._present(resource.name))]
        self._apply(resource.body, earlier)
        return {}

    def delete(self, found: Found) -> None:
        """Remove it, and what the cluster made of it."""
        words = ["delete", self._kind(found.kind), found.name, "--ignore-not-found", "--cascade=foreground"]
        self.kubectl.run([*words, "--wait"])

    def owned(self, deployment: str) -> Sequence[Found]:
        """All of our kinds with the deployment's labels; what makes pods first, secrets last."""
        kinds = ",".join([self.workload.kind, *self.others])
        selector = f"{MANAGED_BY}=truss,{INSTANCE}={deployment}"
        listed = self.kubectl.json(["get", kinds, "--selector", selector, "--output", "json"])
        items = (listed or {}).get("items", [])
        order = [self.workload.manifest_kind, *self.others]
        found = [_found(item["kind"], item, item) for item in items if not _owned_by_another(item)]
        return sorted(found, key=lambda one: order.index(one.kind))

    def deployments(self) -> Sequence[Status]:
        """All main resources that are ours."""
        words = ["get", self.workload.kind, "--selector", f"{MANAGED_BY}=truss", "--output", "json"]
        listed = self.kubectl.json(words)
        return [self.workload.status(item) for item in (listed or {}).get("items", [])]

    def status(self, deployment: str) -> Status | None:
        """What the main resource's conditions say."""
        got = self._get(self.workload.kind, deployment)
        if got is None or got["metadata"].get("labels", {}).get(MANAGED_BY) != "truss":
            return None
        return self.workload.status(got)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """The lines of all its pods, each after its pod's name."""
        words = ["logs", "--selector", f"{INSTANCE}={deployment}", "--prefix", "--tail", str(lines)]
        words += ["--max-log-requests", "50", *(["--follow"] if follow else [])]
        yield from self.kubectl.lines(words)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """What the main resource's annotation tells of, and what it is."""
        got = self._get(self.workload.kind, deployment)
        if got is None:
            return []
        bodies = [*self._earlier(deployment), got]
        return [
            Revision(str(number), self.workload.image(body), number == len(bodies))
            for number, body in enumerate(bodies, start=1)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Apply the main resource as it was; what came after it is forgotten."""
        earlier = self._earlier(deployment)
        number = int(revision.id)
        self._apply(earlier[number - 1], earlier[: number - 1])

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Through the cluster's own proxy, since nothing else need be open to this machine."""
        path = self.workload.proxy(self._present(deployment))
        return self.kubectl.run(
            ["create", "--raw", f"{path}{PREDICT}", "--filename", "-"], body.decode()
        ).encode()

    def _kind(self, kind: str) -> str:
        return self.workload.kind if kind == self.workload.manifest_kind else kind

    def _get(self, kind: str, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.kubectl.json(
            ["get", kind, name, "--output", "json", "--ignore-not-found"]
        )
        return found

    def _present(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.kubectl.json(["get", self.workload.kind, name, "--output", "json"])
        return found

    def _apply(self, body: Mapping[str, Any], earlier: Sequence[Any]) -> None:
        manifest = json.loads(json.dumps(body))
        if earlier:
            notes = manifest["metadata"].setdefault("annotations", {})
            notes[_EARLIER] = json.dumps(earlier[-_KEPT:])
        words = ["apply", "--server-side", "--field-manager", "truss", "--force-conflicts", "--filename", "-"]
        self.kubectl.run(words, json.dumps(manifest))

    def _earlier(self, name: str) -> list[Any]:
        notes = self._present(name)["metadata"].get("annotations") or {}
        found: list[Any] = json.loads(notes.get(_EARLIER, "[]"))
        return found


def _found(kind: str, got: Mapping[str, Any], like: Mapping[str, Any]) -> Found:
    """A resource of the cluster in the form of a plan's."""
    marks = got["metadata"].get("labels") or {}
    deployment = marks.get(INSTANCE, "") if marks.get(MANAGED_BY) == "truss" else ""
    return Found(kind, got["metadata"]["name"], restricted(_readable_secret(got), like), deployment)


def _readable_secret(got: Mapping[str, Any]) -> Mapping[str, Any]:
    """A secret with its values as they are written, where clusters have them in base64."""
    if got["kind"] != "Secret":
        return got
    values = {name: base64.b64decode(value).decode() for name, value in (got.get("data") or {}).items()}
    return {**got, "stringData": values}


def _applied(got: Mapping[str, Any]) -> dict[str, Any]:
    """What was applied of a resource: without its state, and what the cluster says of it."""
    head = got["metadata"]
    notes = {key: text for key, text in (head.get("annotations") or {}).items() if key != _EARLIER}
    kept = {key: head[key] for key in ("name", "namespace", "labels") if key in head}
    return {
        "apiVersion": got["apiVersion"],
        "kind": got["kind"],
        "metadata": {**kept, **({"annotations": notes} if notes else {})},
        "spec": got["spec"],
    }


def _owned_by_another(item: Mapping[str, Any]) -> bool:
    """Whether the cluster made it of another resource, and removes it with that."""
    return bool(item["metadata"].get("ownerReferences"))
