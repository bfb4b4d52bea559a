"""What Azure's APIs do that deploying needs, over HTTPS, written after their references.

Bodies of Container Apps and of Machine Learning are read with Azure's own models, so that a field that is not
theirs, or of another type, is refused. What this does not prove: nothing runs, nobody's rights are looked at,
names are not checked, templates are not deployed, and something long is over at the second look.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from azure.mgmt.appcontainers import models as apps
from azure.mgmt.machinelearningservices import models as learning
from certificates import make_certificate

GROUP = "/subscriptions/1234/resourceGroups/greenhouse"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/orchard"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/team"
MODELS = {
    "containerApps": apps.ContainerApp,
    "managedEnvironments": apps.ManagedEnvironment,
    "versions": learning.EnvironmentVersion,
    "onlineEndpoints": learning.OnlineEndpoint,
    "deployments": learning.OnlineDeployment,
}


class RefusedError(Exception):
    def __init__(self, http: int, code: str, message: str) -> None:
        super().__init__(message)
        self.http, self.code, self.message = http, code, message


def check(kind: Any, body: dict[str, Any]) -> None:
    """Hold a body against Azure's model of it."""
    try:
        if hasattr(kind, "_attribute_map"):
            again = kind.deserialize(json.loads(json.dumps(body))).serialize()  # it takes parts out
        else:
            again = _strict(kind(json.loads(json.dumps(body))))
    except Exception as error:
        raise RefusedError(400, "InvalidRequestContent", str(error)) from error
    if again != body:
        raise RefusedError(400, "InvalidRequestContent", f"{body} is taken for {again}")


def _strict(model: Any) -> Any:
    """What a model knows of itself, by its fields."""
    if isinstance(model, list):
        return [_strict(one) for one in model]
    fields = getattr(model, "_attr_to_rest_field", None)
    if fields is None:
        return {key: _strict(one) for key, one in model.items()} if isinstance(model, dict) else model
    found = {}
    for name, field in fields.items():
        value = getattr(model, name)
        if value is not None:
            _check_type(model, name, value)
            found[field._rest_name] = _strict(value)
    return found


def _check_type(model: Any, name: str, value: Any) -> None:
    """Hold a text, number or truth value against what its field takes; the models themselves do not."""
    declared = next(
        kind.__annotations__[name] for kind in type(model).__mro__ if name in kind.__annotations__
    )
    plain = [one for one in get_args(declared) if one in (str, int, float, bool)]
    if plain and not isinstance(value, (*plain, *([int] if float in plain else []))):
        raise TypeError(f"{name} is {value!r}, not of {declared}")


class AzureApis(ThreadingHTTPServer):
    """The APIs, with what was made by them.

    Attributes:
        things: By full name.
        refuse: A method and a pattern of paths -> what they are refused with.
    """

    daemon_threads = True

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.reset()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.running: dict[str, int] = {}
        self.refuse: dict[tuple[str, str], RefusedError] = {}
        self.asked: list[tuple[str, bytes]] = []
        self.lines: list[str] = []
        self.count = 0
        self.put(GROUP, {"location": "westeurope"})
        self.put(WORKSPACE, {"location": "westeurope"})
        self.put(REGISTRY, {"properties": {"loginServer": "team.azurecr.io"}})

    def put(self, path: str, thing: dict[str, Any]) -> dict[str, Any]:
        self.things[path] = {**thing, "id": path, "name": path.rpartition("/")[2]}
        return self.things[path]

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.things:
            raise RefusedError(404, "ResourceNotFound", f"{path} was not found")
        return self.things[path]

    def under(self, path: str) -> list[dict[str, Any]]:
        return [
            one
            for name, one in self.things.items()
            if name.startswith(f"{path}/") and "/" not in name[len(path) + 1 :]
        ]

    def answer(self, method: str, path: str, body: Any, query: dict[str, str]) -> Any:
        if method == "PUT":
            return self._make(path, body)
        if method == "PATCH":
            check(MODELS["containerApps"], body)
            thing = self.get(path)
            thing["properties"]["template"] = body["properties"]["template"]
            return self._revise(thing)
        if method == "DELETE":
            self.get(path)
            for one in [name for name in self.things if name == path or name.startswith(f"{path}/")]:
                del self.things[one]
            return {}
        return self._act(path, body) if method == "POST" else self._show(path, query)

    def _make(self, path: str, body: Any) -> Any:
        *_, kind, name = path.split("/")
        if kind in MODELS:
            check(MODELS[kind], body)
        thing = self.put(path, json.loads(json.dumps(body)))
        if kind == "versions":
            self.put(path.rpartition("/versions/")[0], {"properties": {}})
            return thing
        properties = thing.setdefault("properties", {})
        properties["provisioningState"] = "Succeeded"
        if kind == "containerApps":
            return self._revise(thing)
        if kind == "userAssignedIdentities":
            properties["principalId"] = str(uuid.uuid5(uuid.NAMESPACE_URL, path))
        if kind == "roleAssignments":
            properties["scope"] = path.partition("/providers/Microsoft.Authorization")[0]
        if kind == "onlineEndpoints":
            for colour in properties.get("traffic", {}):
                self.get(f"{path}/deployments/{colour}")
            properties["scoringUri"] = f"https://{self.host}/of/{name}/score"
            thing["identity"]["principalId"] = str(uuid.uuid5(uuid.NAMESPACE_URL, path))
        return thing

    def _revise(self, app: dict[str, Any]) -> Any:
        """Another revision of an app, when its template is another one."""
        properties, path = app["properties"], app["id"]
        revisions = self.under(f"{path}/revisions")
        template = json.loads(json.dumps(properties["template"]))
        # As Azure does, which tells what it filled in.
        template["containers"][0]["resources"].setdefault("ephemeralStorage", "1Gi")
        properties["template"] = template
        properties["provisioningState"] = "Succeeded"
        if not revisions or revisions[-1]["properties"]["template"] != template:
            name = f"{app['name']}--{len(revisions):07}"
            told = {"template": template, "createdTime": f"{len(revisions):07}", "replicas": 1}
            self.put(f"{path}/revisions/{name}", {"properties": told})
            container = {"logStreamEndpoint": f"https://{self.host}/stream"}
            copy = {"createdTime": "1", "containers": [container]}
            self.put(f"{path}/revisions/{name}/replicas/1", {"properties": copy})
            properties["latestRevisionName"] = properties["latestReadyRevisionName"] = name
        else:
            name = revisions[-1]["name"]
            properties["latestRevisionName"] = properties["latestReadyRevisionName"] = name
        properties["configuration"]["ingress"]["fqdn"] = self.host
        return app

    def _act(self, path: str, body: Any) -> Any:
        of, _, what = path.rpartition("/")
        if path.endswith(":predict") or what == "score":
            return {"predictions": body["inputs"]}
        thing = self.get(of)
        if what == "listSecrets":
            return {"value": thing["properties"]["configuration"]["secrets"]}
        if what == "getLogs":
            check(learning.DeploymentLogsRequest, body)
            return {"content": "\n".join(self.lines)}
        answers = {
            "listsecrets": thing,
            "getAuthToken": {"properties": {"token": "t"}},
            "listKeys": {"primaryKey": "k"},
            "restart": {},
        }
        return answers[what]

    def _show(self, path: str, query: dict[str, str]) -> Any:
        if "$filter" in query:
            who = query["$filter"].split("'")[1]
            roles = [one for name, one in self.things.items() if "/roleAssignments/" in name]
            return {"value": [one for one in roles if one["properties"]["principalId"] == who]}
        if path.endswith("ContainerRegistry/registries"):
            return {"value": [self.things[REGISTRY]]}
        names = r"/(containerApps|revisions|replicas|versions|onlineEndpoints|deployments)$"
        if re.search(names, path):
            every, start = self.under(path), int(query.get("skip", 0))
            link = f"https://{self.host}{path}?api-version=1&skip={start + 1}"
            following = {"nextLink": link} if start + 1 < len(every) else {}
            return {"value": [_hidden(one) for one in every[start : start + 1]], **following}
        return _hidden(self.get(path))


def _hidden(thing: dict[str, Any]) -> dict[str, Any]:
    """Without values of secrets, as Azure tells of things."""
    shown = json.loads(json.dumps(thing))
    properties = shown.get("properties", {})
    for one in properties.get("configuration", {}).get("secrets", ()):
        one.pop("value")
    properties.pop("credentials", None)
    return shown


class _Handler(BaseHTTPRequestHandler):
    server: AzureApis

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, query = unquote(parts.path), {key: one[0] for key, one in parse_qs(parts.query).items()}
        try:
            self._told(path, query, content)
        except RefusedError as error:
            said = {"error": {"code": error.code, "message": error.message}}
            self._say(error.http, said)

    def _told(self, path: str, query: dict[str, str], content: bytes) -> None:
        apis = self.server
        if path.startswith("/adfs/"):
            self._log_in(path, content)
            return
        open_to_all = path.endswith(":predict")  # an app, which asks for nothing
        if not open_to_all and not self.headers.get("Authorization", "").startswith("Bearer "):
            raise RefusedError(401, "AuthenticationFailed", "no token")
        if path.startswith("/operations/"):
            apis.running[path] -= 1
            status = "InProgress" if apis.running[path] else "Succeeded"
            self._say(200, {"status": status}, {"retry-after-ms": "10"})
            return
        if path == "/stream":
            self._say(200, "\n".join(apis.lines[-int(query["tailLines"]) :]))
            return
        for (method, pattern), refusal in apis.refuse.items():
            if method == self.command and re.search(pattern, path):
                raise refusal
        apis.asked.append((f"{self.command} {path}", content))
        told = apis.answer(self.command, path, json.loads(content or b"null"), query)
        last = path.split("/")[-2]
        if self.command in ("PUT", "PATCH", "DELETE") and last in {*MODELS} - {"versions"}:
            apis.count += 1
            where = f"/operations/{apis.count}"
            apis.running[where] = 2
            headers = {"Azure-AsyncOperation": f"https://{apis.host}{where}", "retry-after-ms": "10"}
            self._say(202 if self.command != "PUT" else 201, told, headers)
        else:
            self._say(200, told)

    def _log_in(self, path: str, content: bytes) -> None:
        base = f"https://{self.server.host}/adfs"
        if path.endswith("openid-configuration"):
            ends = {name: f"{base}/oauth2/{name}" for name in ("authorize", "token")}
            told = {
                f"{'authorization' if name == 'authorize' else name}_endpoint": ends[name] for name in ends
            }
            self._say(200, {"issuer": base, **told})
        elif b"client_secret=right" in content:
            self._say(200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        else:
            self._say(401, {"error": "invalid_client", "error_description": "the secret is wrong"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  # as the library calls them

    def _say(self, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
        body = told.encode() if isinstance(told, str) else json.dumps(told).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[AzureApis]:
    """The APIs, and the environment in which Azure's client finds them."""
    make_certificate(folder, "azure")
    server = AzureApis(folder / "azure.pem", folder / "azure.key")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told = {
        "ARM_ENDPOINT": f"https://{server.host}",
        "AZURE_AUTHORITY_HOST": f"https://{server.host}",
        "AZURE_TENANT_ID": "adfs",
        "AZURE_CLIENT_ID": "me",
        "AZURE_CLIENT_SECRET": "right",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "AZURE_SUBSCRIPTION_ID": "1234",
        "AZURE_DEFAULTS_GROUP": "greenhouse",
        "AZURE_DEFAULTS_WORKSPACE": "orchard",
        "REQUESTS_CA_BUNDLE": str(folder / "azure.pem"),
        "SSL_CERT_FILE": str(folder / "azure.pem"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()
