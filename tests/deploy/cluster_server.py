"""A stand-in for a cluster's API server, for kubectl to talk to.

It keeps what is applied and tells it back as a cluster does, and says at once that everything is ready. It
shows that our calls are ones kubectl makes and understands. It does not show that a cluster takes our
manifests (the schemas of Kubernetes show that), nor that pods run: nothing runs here.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

KINDS = {
    ("", "v1"): {"services": "Service", "secrets": "Secret", "pods": "Pod"},
    ("apps", "v1"): {"deployments": "Deployment"},
    ("autoscaling", "v2"): {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    ("policy", "v1"): {"poddisruptionbudgets": "PodDisruptionBudget"},
    ("serving.knative.dev", "v1"): {"services": "Service"},
    ("serving.kserve.io", "v1beta1"): {"inferenceservices": "InferenceService"},
}


@dataclass
class Cluster:
    """What the server keeps.

    Attributes:
        port: Where it listens.
        objects: What there is, by the path of each.
        answers: What a model answers, in order, through the cluster's proxy.
        conditions: What is said of every resource's state; None: that it is ready.
        refuses: A status that every request is answered with; 403, that every change is.
        says: What it says then.
        log: The lines of every pod.
        asked: What was changed, in order.
        rights: What a cluster would have had to allow so far: groups, resources, and what was done to them.
    """

    port: int = 0
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)
    conditions: list[dict[str, str]] | None = None
    refuses: int = 0
    says: str = "forbidden: exceeded quota: pods"
    log: str = "2026-01-01 the server is ready\n"
    asked: list[str] = field(default_factory=list)
    rights: set[tuple[str, str, str]] = field(default_factory=set)

    def kubeconfig(self, folder: Path) -> Path:
        """Write a file that points kubectl here."""
        file = folder / "kubeconfig"
        file.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                    "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "users": [{"name": "me", "user": {"token": "t0ken"}}],
                }
            )
        )
        return file


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run one until the block ends."""
    cluster = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    server.daemon_threads = True
    cluster.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def parse_request(self) -> bool:
            parsed = super().parse_request()
            if parsed:
                cluster.rights.update(_rights(self.command, self.path, cluster.objects))
            return parsed

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if self._refused():
                return
            found = _discovery(parts.path)
            if found is not None:
                self._answer(200, found)
            elif parts.path.endswith("/log"):
                self._answer(200, cluster.log, "text/plain")
            elif parts.path in cluster.objects:
                self._answer(200, _with_state(cluster, cluster.objects[parts.path]))
            elif _is_collection(parts.path):
                selector = parse_qs(parts.query).get("labelSelector", [""])[0]
                self._answer(200, _listed(cluster, parts.path, selector))
            else:
                self._missing()

        def do_PATCH(self) -> None:
            path = urlsplit(self.path).path
            manifest = yaml.safe_load(self._body())
            if self._refused():
                return
            before = cluster.objects.get(path, {})
            made = {**manifest, **({"data": _encoded(manifest)} if manifest["kind"] == "Secret" else {})}
            made.pop("stringData", None)
            made["metadata"] = {
                **manifest["metadata"],
                "uid": path,
                "generation": before.get("metadata", {}).get("generation", 0) + 1,
            }
            cluster.objects[path] = made
            cluster.asked.append(f"apply {manifest['kind']}/{manifest['metadata']['name']}")
            self._answer(200 if before else 201, made)

        def do_POST(self) -> None:
            body = self._body()
            if self._refused():
                return
            assert "/proxy/" in self.path
            json.loads(body)
            self._answer(200, cluster.answers.pop(0))

        def do_DELETE(self) -> None:
            path = urlsplit(self.path).path
            self._body()
            if self._refused():
                return
            gone = cluster.objects.pop(path, None)
            if gone is None:
                self._missing()
                return
            cluster.asked.append(f"delete {gone['kind']}/{gone['metadata']['name']}")
            self._answer(
                200, {"kind": "Status", "apiVersion": "v1", "status": "Success", "details": {"uid": path}}
            )

        def _refused(self) -> bool:
            if not cluster.refuses or (cluster.refuses == 403 and self.command == "GET"):
                return False
            said = {401: "Unauthorized", 403: cluster.says}[cluster.refuses]
            self._answer(cluster.refuses, _failure(cluster.refuses, said))
            return True

        def _missing(self) -> None:
            self._answer(404, _failure(404, "not found", "NotFound"))

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, status: int, content: Any, kind: str = "application/json") -> None:
            body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _rights(method: str, target: str, objects: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What a request has to be allowed.

    https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
    """
    place, question = urlsplit(target).path, parse_qs(urlsplit(target).query)
    match = re.fullmatch(
        r"/(?:api|apis/(?P<group>[^/]+))/v\w+/namespaces/[^/]+/(?P<kind>\w+)(?P<name>/[^/]+)?(?:/(?P<part>\w+).*)?",
        place,
    )
    if match is None:
        return
    verb = {"GET": "get" if match["name"] else "list", "POST": "create"}.get(method, method.lower())
    if question.get("watch", ["false"]) != ["false"]:
        verb = "watch"
    what = "/".join(filter(None, (match["kind"], match["part"])))
    yield match["group"] or "", what, verb
    if method == "PATCH" and place not in objects:
        yield match["group"] or "", what, "create"


def _failure(code: int, message: str, reason: str = "") -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason or {401: "Unauthorized", 403: "Forbidden"}[code],
        "code": code,
    }


def _discovery(path: str) -> dict[str, Any] | None:
    """What a cluster says it has."""
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [
            {
                "name": group,
                "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
            }
            for group, version in KINDS
            if group
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "/openapi/v3":
        places = [_place(*one) for one in KINDS]
        return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in places}}
    for (group, version), kinds in KINDS.items():
        if path == f"/openapi/v3/{_place(group, version)}":
            return _operations(group, version, kinds)
        if path == (f"/apis/{group}/{version}" if group else f"/api/{version}"):
            resources = [
                {
                    "name": name,
                    "singularName": kind.lower(),
                    "namespaced": True,
                    "kind": kind,
                    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                }
                for name, kind in kinds.items()
            ]
            full = f"{group}/{version}" if group else version
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": full,
                "resources": resources,
            }
    return None


def _place(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _operations(group: str, version: str, kinds: dict[str, str]) -> dict[str, Any]:
    """What kubectl looks at to see that the server itself validates what is applied."""
    names = ("fieldValidation", "dryRun", "fieldManager", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": {
            f"/{_place(group, version)}/namespaces/{{namespace}}/{plural}/{{name}}": {
                "patch": {
                    "parameters": parameters,
                    "responses": {"200": {"description": "OK"}},
                    "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
                }
            }
            for plural, kind in kinds.items()
        },
    }


def _is_collection(path: str) -> bool:
    return any(path.endswith(f"/{name}") for kinds in KINDS.values() for name in kinds)


def _listed(cluster: Cluster, path: str, selector: str) -> dict[str, Any]:
    wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
    if path.endswith("/pods"):
        return {"kind": "PodList", "apiVersion": "v1", "items": [_pod(wanted)]}
    items = [
        _with_state(cluster, found)
        for place, found in cluster.objects.items()
        if place.rpartition("/")[0] == path and wanted.items() <= found["metadata"].get("labels", {}).items()
    ]
    return {"kind": "List", "apiVersion": "v1", "items": items}


def _pod(labels: dict[str, str]) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "one", "namespace": "default", "labels": labels, "uid": "1"},
        "spec": {"containers": [{"name": "model", "image": "i"}]},
        "status": {"phase": "Running"},
    }


def _encoded(manifest: dict[str, Any]) -> dict[str, str]:
    import base64

    return {name: base64.b64encode(text.encode()).decode() for name, text in manifest["stringData"].items()}


def _with_state(cluster: Cluster, found: dict[str, Any]) -> dict[str, Any]:
    """A resource with what a cluster fills in, and how it does."""
    generation = found["metadata"]["generation"]
    conditions = cluster.conditions
    if found["kind"] == "Deployment":
        count = found["spec"].get("replicas", 1)
        ready = count if conditions is None else 0
        filled = {"revisionHistoryLimit": 10, "replicas": count}
        status: dict[str, Any] = {
            "observedGeneration": generation,
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas": ready,
            "conditions": conditions or [{"type": "Available", "status": "True"}],
        }
        return {**found, "spec": {**filled, **found["spec"]}, "status": status}
    if "serving" in found["apiVersion"]:
        name = found["metadata"]["name"]
        status = {
            "observedGeneration": generation,
            "conditions": conditions or [{"type": "Ready", "status": "True"}],
            "url": f"http://{name}.default.example.com",
            "latestReadyRevisionName": f"{name}-00001",
        }
        return {**found, "status": status}
    return found
