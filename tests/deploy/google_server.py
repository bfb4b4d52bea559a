"""What Google's APIs do that deploying needs, over HTTP, written after their references.

Bodies are read with the APIs' own message types, so that a field that is not theirs, or of another type, is
refused as there; so is a service of Cloud Run beyond the limits that are documented for what we tell it. What
does not happen here: nothing runs, nobody's rights are looked at, names are not checked, operations are over
when they are asked for once, and an address that Google gives is a path of this server, told with its scheme.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.aiplatform_v1 import types as vertex
from google.cloud.run_v2 import types as run
from google.cloud.secretmanager_v1 import types as secretmanager
from google.protobuf import json_format


class RefusedError(Exception):
    """An error as https://google.aip.dev/193 has it."""

    def __init__(self, http: int, status: str, message: str) -> None:
        super().__init__(message)
        self.http, self.status, self.message = http, status, message


class Told(dict[str, Any]):
    """An answer that has headers of its own."""

    def __init__(self, answer: dict[str, Any], headers: dict[str, str]) -> None:
        super().__init__(answer)
        self.headers = headers


def read(kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """A body as the API's message type reads and writes it."""
    try:
        message = json_format.ParseDict(body, kind.pb(kind()))
    except json_format.ParseError as error:
        raise RefusedError(400, "INVALID_ARGUMENT", str(error)) from error
    return dict(json_format.MessageToDict(message))


class GoogleApis(ThreadingHTTPServer):
    """The APIs, with what was made by them.

    Attributes:
        things: By full name.
        refuse: A method and a pattern of paths -> what they are refused with.
        fail: A pattern of paths -> the code and message that operations end in which begin there.
        answers: An image -> what a version of it on Vertex AI predicts; others give back what they are asked.
        tells: Whether Vertex AI says which version answered.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.reset()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.entries: list[dict[str, Any]] = []
        self.refuse: dict[tuple[str, str], RefusedError] = {}
        self.fail: dict[str, tuple[int, str]] = {}
        self.answers: dict[str, Any] = {}
        self.tells = True
        self.turn = 0
        self.asked: list[tuple[str, bytes]] = []
        self.count = 0

    def credentials(self, folder: Path) -> Path:
        """The key file of a service account that logs in here."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = folder / "credentials.json"
        told = {
            "type": "service_account",
            "project_id": "greenhouse",
            "private_key_id": "1",
            "private_key": key.decode(),
            "client_email": "deployer@greenhouse.iam.gserviceaccount.com",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps(told))
        return path

    def number(self) -> int:
        self.count += 1
        return self.count

    def now(self) -> str:
        return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")

    def get(self, name: str) -> dict[str, Any]:
        if name not in self.things:
            raise RefusedError(404, "NOT_FOUND", f"{name} was not found")
        return self.things[name]

    def put(self, name: str, thing: dict[str, Any]) -> dict[str, Any]:
        if name in self.things:
            raise RefusedError(409, "ALREADY_EXISTS", f"{name} exists already")
        self.things[name] = {"name": name, "createTime": self.now(), **thing}
        return self.things[name]

    def remove(self, name: str) -> dict[str, Any]:
        self.get(name)
        for one in [key for key in self.things if key == name or key.startswith(f"{name}/")]:
            del self.things[one]
        return {}

    def operation(self, place: str, response: dict[str, Any]) -> dict[str, Any]:
        """One that is not over yet when it is told of."""
        name = f"{place}/operations/{self.number()}"
        self.operations[name] = {"name": name, "done": True, "response": response}
        return {"name": name, "done": False}

    def failing(self, path: str, told: dict[str, Any]) -> dict[str, Any]:
        """An operation that began at a path: made one that fails, if that is to be."""
        for pattern, (code, message) in self.fail.items():
            if re.search(pattern, path):
                del self.operations[told["name"]]["response"]
                self.operations[told["name"]]["error"] = {"code": code, "message": message}
        return told

    def under(self, prefix: str) -> list[dict[str, Any]]:
        """What is directly below a name."""
        return [
            thing
            for name, thing in self.things.items()
            if name.startswith(prefix) and "/" not in name[len(prefix) :]
        ]


Answer = Callable[[GoogleApis, Any, dict[str, Any], dict[str, str]], Any]
ROUTES: list[tuple[str, re.Pattern[str], Answer]] = []


def route(method: str, pattern: str) -> Callable[[Answer], Answer]:
    def register(answer: Answer) -> Answer:
        ROUTES.append((method, re.compile(pattern), answer))
        return answer

    return register


@route("GET", r"/v[12]/(?P<name>projects/.*/operations/\d+)")
def _operation(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    return apis.operations[found["name"]]


# --- IAM: https://cloud.google.com/iam/docs/reference/rest ---


@route("POST", r"/v1/projects/(?P<project>[^/]+)/serviceAccounts")
def _make_account(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    assert body.keys() <= {"accountId", "serviceAccount"}
    assert re.fullmatch(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])", body["accountId"])
    email = f"{body['accountId']}@{found['project']}.iam.gserviceaccount.com"
    return apis.put(
        f"projects/{found['project']}/serviceAccounts/{email}", {"email": email, **body["serviceAccount"]}
    )


# --- Secret Manager: https://cloud.google.com/secret-manager/docs/reference/rest ---


@route("POST", r"/v1/(?P<parent>projects/[^/]+)/secrets")
def _make_secret(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    return apis.put(f"{found['parent']}/secrets/{query['secretId']}", read(secretmanager.Secret, body))


@route("GET", r"/v1/(?P<parent>projects/[^/]+)/secrets")
def _list_secrets(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    label, _, value = query["filter"].removeprefix("labels.").partition("=")
    secrets = apis.under(f"{found['parent']}/secrets/")
    return {"secrets": [one for one in secrets if one.get("labels", {}).get(label) == value]}


@route("POST", r"/v1/(?P<secret>projects/[^/]+/secrets/[^/:]+):addVersion")
def _add_version(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    apis.get(found["secret"])
    payload = read(secretmanager.AddSecretVersionRequest, body)["payload"]
    number = len(apis.under(f"{found['secret']}/versions/")) + 1
    made = apis.put(f"{found['secret']}/versions/{number}", {"state": "ENABLED", "payload": payload})
    return {key: value for key, value in made.items() if key != "payload"}


@route("GET", r"/v1/(?P<secret>projects/[^/]+/secrets/[^/:]+)/versions")
def _list_versions(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    return {"versions": list(reversed(apis.under(f"{found['secret']}/versions/")))}


@route("GET", r"/v1/(?P<version>projects/[^/]+/secrets/[^/]+/versions/[^/:]+):access")
def _access(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    version = apis.get(found["version"])
    return {"name": version["name"], "payload": version["payload"]}


@route("GET", r"/v[12]/(?P<name>projects/[^:]+):getIamPolicy")
def _policy(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    apis.get(found["name"])
    return apis.policies.get(found["name"], {"etag": "ACAB"})


@route("POST", r"/v[12]/(?P<name>projects/[^:]+):setIamPolicy")
def _set_policy(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    apis.get(found["name"])
    policy = apis.policies[found["name"]] = {"etag": "ACAB", **body["policy"]}
    return policy


# --- Cloud Run: https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services ---


# By CPU, MiB of memory from and to; with what we run, of the second generation:
# https://cloud.google.com/run/docs/configuring/services/cpu, .../memory-limits and, with a GPU, .../gpu
MEMORY = {"1": (512, 4096), "2": (512, 8192), "4": (2048, 16384), "6": (4096, 24576), "8": (4096, 32768)}
MEMORY_WITH_GPU = {"4": (16384, 16384), "8": (16384, 32768)}


def _service(body: dict[str, Any]) -> dict[str, Any]:
    """A service as it is asked for, if it may be."""
    service = read(run.Service, body)
    for container in service.get("template", {}).get("containers", ()):
        limits = container["resources"]["limits"]
        gpu = "nvidia.com/gpu" in limits
        sizes = MEMORY_WITH_GPU if gpu else MEMORY
        if limits["cpu"] not in sizes:
            raise RefusedError(400, "INVALID_ARGUMENT", f"cpu: {limits['cpu']} is not one of {list(sizes)}")
        least, most = sizes[limits["cpu"]]
        if not least <= int(limits["memory"].removesuffix("Mi")) <= most:
            raise RefusedError(400, "INVALID_ARGUMENT", f"memory: {least} to {most} MiB with this cpu")
        _check_startup(container["startupProbe"], 1800 if gpu else 600)
    return service


def _check_startup(probe: dict[str, Any], most: int) -> None:
    """https://cloud.google.com/run/docs/configuring/healthchecks; the stricter limit of one period is the
    API's own, https://cloud.google.com/run/docs/reference/rest/v2/Container#Probe
    """
    if not probe["timeoutSeconds"] <= probe["periodSeconds"] <= 240:
        raise RefusedError(400, "INVALID_ARGUMENT", "startup_probe: period_seconds: timeout_seconds to 240")
    if probe["failureThreshold"] * probe["periodSeconds"] > most:
        raise RefusedError(400, "INVALID_ARGUMENT", f"startup_probe: at most {most} s in all")


def _revise(apis: GoogleApis, service: dict[str, Any]) -> None:
    """Another revision of a service, when its template is another one."""
    name = service["name"]
    revisions = apis.under(f"{name}/revisions/")
    if not revisions or revisions[-1]["of"] != service["template"]:
        short = f"{name.rpartition('/')[2]}-{len(revisions) + 1:05}-abc"
        told = {**service["template"], "of": json.loads(json.dumps(service["template"]))}
        apis.put(f"{name}/revisions/{short}", told)
        service["latestReadyRevision"] = f"{name}/revisions/{short}"
    # As Google does, which tells what it filled in.
    service["template"]["containers"][0].setdefault("name", "model-1")
    service["template"].setdefault("sessionAffinity", False)
    service.setdefault("traffic", [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}])
    service["terminalCondition"] = {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
    service["uri"] = f"{apis.url}/services/{name.rpartition('/')[2]}"


@route("POST", r"/v2/(?P<place>projects/[^/]+/locations/[^/]+)/services")
def _make_service(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    service = apis.put(f"{found['place']}/services/{query['serviceId']}", _service(body))
    _revise(apis, service)
    return apis.operation(found["place"], service)


@route("PATCH", r"/v2/(?P<place>projects/[^/]+/locations/[^/]+)/services/(?P<name>[^/]+)")
def _change_service(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    service = apis.get(f"{found['place']}/services/{found['name']}")
    service |= _service(body)
    if "updateMask" not in query:
        _revise(apis, service)
    return apis.operation(found["place"], service)


@route("DELETE", r"/v2/(?P<place>projects/[^/]+/locations/[^/]+)/services/(?P<name>[^/]+)")
def _remove_service(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    name = f"{found['place']}/services/{found['name']}"
    apis.policies.pop(name, None)
    return apis.operation(found["place"], apis.remove(name))


@route("GET", r"/v[12]/(?P<parent>projects/.*)/(?P<kind>services|revisions|endpoints)")
def _list(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    """A page at a time, of one each."""
    every = apis.under(f"{found['parent']}/{found['kind']}/")
    start = int(query.get("pageToken", 0))
    following = {"nextPageToken": str(start + 1)} if start + 1 < len(every) else {}
    return {found["kind"]: every[start : start + 1], **following}


@route("POST", r"/services/(?P<name>[^/]+)/v1/models/model:predict")
def _ask_service(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    return {"predictions": [found["name"]]}


# --- Vertex AI: https://cloud.google.com/vertex-ai/docs/reference/rest ---


@route("POST", r"/v1/(?P<place>projects/[^/]+/locations/[^/]+)/models:upload")
def _upload(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    asked = read(vertex.UploadModelRequest, {"parent": found["place"], **body})
    name = asked.get("parentModel") or f"{found['place']}/models/{asked['modelId']}"
    number = str(len([one for one in apis.things if one.startswith(f"{name}@")]) + 1)
    model = {**asked["model"], "versionId": number}
    if "parentModel" in asked:
        apis.get(name)
        apis.things[name] |= model
    else:
        apis.put(name, model)
    apis.put(f"{name}@{number}", {**model, "name": name})
    return apis.operation(found["place"], {"model": name, "modelVersionId": number})


@route("GET", r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/models/[^/:]+):listVersions")
def _list_model_versions(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    return {"models": [one for name, one in apis.things.items() if name.startswith(f"{found['name']}@")]}


@route("DELETE", r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/models/[^/:]+):deleteVersion")
def _remove_version(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    model = found["name"].partition("@")[0]
    del apis.things[found["name"]]
    last = [one for name, one in apis.things.items() if name.startswith(f"{model}@")][-1]
    apis.things[model] |= last
    return apis.operation(model.partition("/models")[0], {})


@route("DELETE", r"/v1/(?P<place>projects/[^/]+/locations/[^/]+)/models/(?P<name>[^/:]+)")
def _remove_model(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    full = f"{found['place']}/models/{found['name']}"
    for version in [name for name in apis.things if name.startswith(f"{full}@")]:
        del apis.things[version]
    return apis.operation(found["place"], apis.remove(full))


@route("POST", r"/v1/(?P<place>projects/[^/]+/locations/[^/]+)/endpoints")
def _make_endpoint(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    asked = read(vertex.Endpoint, body)
    return apis.operation(
        found["place"], apis.put(f"{found['place']}/endpoints/{query['endpointId']}", asked)
    )


@route("PATCH", r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/endpoints/[^/:]+)")
def _change_endpoint(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    """https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/patch"""
    endpoint, asked = apis.get(found["name"]), read(vertex.Endpoint, body)
    if query["updateMask"] == "trafficSplit":
        _check_split(endpoint, asked["trafficSplit"])
    for name in query["updateMask"].split(","):
        endpoint.pop(name, None)
        endpoint |= {name: asked[name]} if name in asked else {}
    return _addressed(apis, endpoint)


def _check_split(endpoint: dict[str, Any], split: dict[str, int]) -> None:
    known = {one["id"] for one in endpoint["deployedModels"]}
    if not split.keys() <= known or sum(split.values()) != 100:
        raise RefusedError(400, "INVALID_ARGUMENT", f"traffic_split: 100 in all, of {sorted(known)}")


def _addressed(apis: GoogleApis, endpoint: dict[str, Any]) -> dict[str, Any]:
    """An endpoint that has something deployed to it: with an address of its own, if it is to have one."""
    endpoint.pop("dedicatedEndpointDns", None)
    if endpoint.get("dedicatedEndpointEnabled") and endpoint.get("deployedModels"):
        endpoint["dedicatedEndpointDns"] = f"{apis.url}/dedicated/{endpoint['name'].rpartition('/')[2]}"
    return endpoint


@route("DELETE", r"/v1/(?P<place>projects/[^/]+/locations/[^/]+)/endpoints/(?P<name>[^/:]+)")
def _remove_endpoint(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    full = f"{found['place']}/endpoints/{found['name']}"
    if apis.get(full).get("deployedModels"):
        raise RefusedError(400, "FAILED_PRECONDITION", "models are deployed to it")
    return apis.operation(found["place"], apis.remove(full))


@route("POST", r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/endpoints/[^/:]+):deployModel")
def _deploy(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    asked = read(vertex.DeployModelRequest, {"endpoint": found["name"], **body})
    endpoint = apis.get(found["name"])
    deployed = asked["deployedModel"]
    model, _, version = deployed["model"].partition("@")
    apis.get(deployed["model"])
    identifier = str(apis.number())
    deployed |= {"id": identifier, "model": model, "modelVersionId": version, "createTime": apis.now()}
    endpoint.setdefault("deployedModels", []).append(deployed)
    endpoint["trafficSplit"] = {
        identifier if name == "0" else name: share for name, share in asked["trafficSplit"].items()
    }
    _check_split(endpoint, endpoint["trafficSplit"])
    _addressed(apis, endpoint)
    return apis.operation(found["name"].partition("/endpoints")[0], {"deployedModel": deployed})


@route("POST", r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/endpoints/[^/:]+):undeployModel")
def _undeploy(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    asked = read(vertex.UndeployModelRequest, {"endpoint": found["name"], **body})
    endpoint = apis.get(found["name"])
    gone = asked["deployedModelId"]
    split = asked.get("trafficSplit", endpoint["trafficSplit"])
    left = [one for one in endpoint["deployedModels"] if one["id"] != gone]
    if left and split.get(gone):
        raise RefusedError(400, "FAILED_PRECONDITION", f"{gone} has traffic")
    endpoint |= {"deployedModels": left, "trafficSplit": split if left else {}}
    return apis.operation(found["name"].partition("/endpoints")[0], {})


@route("POST", r"/v1/(?P<name>projects/[^/]+/locations/[^/]+/endpoints/[^/:]+):rawPredict")
def _ask_endpoint(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    if apis.get(found["name"]).get("dedicatedEndpointEnabled"):
        raise RefusedError(400, "FAILED_PRECONDITION", "a dedicated endpoint has a domain of its own")
    return _predicted(apis, apis.get(found["name"]), body)


def _predicted(apis: GoogleApis, endpoint: dict[str, Any], body: Any) -> Told:
    """The answer of one of the versions: of a hundred requests each gets just its share, in turn."""
    apis.turn += 37  # which has no divisor of 100, so that the shares are mixed
    left = apis.turn % 100
    for one in endpoint["deployedModels"]:
        left -= endpoint["trafficSplit"].get(one["id"], 0)
        if left < 0:
            image = apis.get(f"{one['model']}@{one['modelVersionId']}")["containerSpec"]["imageUri"]
            answer = {"predictions": apis.answers.get(image, body["inputs"])}
            served = {"X-Vertex-AI-Deployed-Model-Id": one["id"]} if apis.tells else {}
            return Told(answer, headers=served)
    raise RefusedError(400, "FAILED_PRECONDITION", "nothing gets requests")


@route("POST", r"/dedicated/(?P<id>[^/]+)/v1/(?P<name>projects/[^:]+/endpoints/(?P=id)):rawPredict")
def _ask_dedicated(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    """https://cloud.google.com/vertex-ai/docs/predictions/using-dedicated-endpoints"""
    if "dedicatedEndpointDns" not in apis.get(found["name"]):
        raise RefusedError(404, "NOT_FOUND", "no such domain")
    return _predicted(apis, apis.get(found["name"]), body)


# --- Cloud Logging: https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list ---


@route("POST", r"/v2/entries:list")
def _entries(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    wanted = re.findall(r'([\w.]+)="([^"]+)"', body["filter"])
    assert wanted
    entries = [one for one in apis.entries if f'"{wanted[1][1]}"' in json.dumps(one["resource"])]
    backwards = body["orderBy"] == "timestamp desc"
    return {"entries": list(reversed(entries)) if backwards else entries}


# --- anything by its name; last, so that what is special comes before ---


@route("GET", r"/v[12]/(?P<name>projects/.+)")
def _get(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    return apis.get(found["name"])


@route("DELETE", r"/v[12]/(?P<name>projects/.+)")
def _remove(apis: GoogleApis, found: Any, body: Any, query: Any) -> Any:
    apis.policies.pop(found["name"], None)
    return apis.remove(found["name"])


class _Handler(BaseHTTPRequestHandler):
    server: GoogleApis

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        try:
            self._say(200, self._found(unquote(parts.path), parts.query, content))
        except RefusedError as error:
            said = {"code": error.http, "status": error.status, "message": error.message}
            self._say(error.http, {"error": said})

    def _found(self, path: str, query: str, content: bytes) -> Any:
        apis = self.server
        if path == "/token":
            claims = base64.urlsafe_b64encode(json.dumps({"exp": 4102444800}).encode()).decode().rstrip("=")
            token = {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}
            return {**token, "id_token": f"e30.{claims}.c2ln"}
        if not self.headers.get("Authorization", "").startswith("Bearer "):
            raise RefusedError(401, "UNAUTHENTICATED", "no token")
        for (method, pattern), refusal in apis.refuse.items():
            if method == self.command and re.search(pattern, path):
                raise refusal
        for method, matching, answer in ROUTES:
            found = matching.fullmatch(path) if method == self.command else None
            if found is not None:
                apis.asked.append((f"{self.command} {path}", content))
                words = {name: values[0] for name, values in parse_qs(query).items()}
                told = answer(apis, found, json.loads(content or b"{}"), words)
                return apis.failing(path, told)
        raise RefusedError(404, "NOT_FOUND", f"no method {self.command} {path}")

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  # as the library calls them

    def _say(self, status: int, told: Any) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in told.headers.items() if isinstance(told, Told) else ():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@contextlib.contextmanager
def google(folder: Path) -> Iterator[GoogleApis]:
    """The APIs, and the environment in which Google's client finds them."""
    server = GoogleApis()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.credentials(folder)))
        patch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        for service in ("RUN", "AIPLATFORM", "SECRETMANAGER", "IAM", "LOGGING"):
            patch.setenv(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}", f"{server.url}/")
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()
