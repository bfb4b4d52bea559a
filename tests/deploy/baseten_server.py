"""What Baseten's management API does that deploying needs, over HTTP, written after its reference.

What does not happen here: nothing is built and nothing runs. A state is what the test says as soon as it is
made, and promoted if that is active; no config is checked; the temporary credentials are not limited to one
place. Archives go to moto's S3.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3

KEY = "the-key-of-the-workspace"
BUCKET = "baseten-user-models"
REGION = "us-west-2"

_PAYLOAD = frozenset(
    {"config", "raw_config", "user_env", "environment_name", "deploy_timeout_minutes", "deployment_name"}
    | {"labels", "preserve_env_instance_type"}
)


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, http: int, body: dict[str, Any]) -> None:
        super().__init__(body)
        self.http, self.body = http, body


def refused(http: int, message: str) -> RefusedError:
    return RefusedError(http, {"code": "VALIDATION_ERROR", "message": message})


class Baseten(ThreadingHTTPServer):
    """A workspace.

    Attributes:
        models: By id.
        secrets: The names of secrets.
        status: What a new state is.
        limit: What `POST /v1/prepare_model_upload` is refused with; None: it is not.
        asked: What models were asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reset()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[dict[str, Any]]] = {}
        self.configs: dict[str, Any] = {}
        self.environments: dict[tuple[str, str], dict[str, Any]] = {}
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.secrets: list[str] = ["api_key"]
        self.status = "ACTIVE"
        self.limit: RefusedError | None = None
        self.asked: list[tuple[str, bytes]] = []
        self.uploads = 0
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"q{self.count:07d}"

    def model(self, model: str) -> dict[str, Any]:
        if model not in self.models:
            raise refused(404, f"Model {model} not found")
        return self.models[model]

    def state(self, model: str, state: str) -> dict[str, Any]:
        self.model(model)
        for one in self.states[model]:
            if one["id"] == state:
                return one
        raise refused(404, f"Deployment {state} not found")

    def prepare(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.limit is not None:
            raise self.limit
        _checked(body["deployment"])
        if ("name" in body) == ("model_id" in body):
            raise refused(400, "Exactly one of name or model_id is required")
        if any(one["name"] == body.get("name") for one in self.models.values()):
            raise refused(400, f"A model named {body['name']} exists")
        if "model_id" in body:
            self.model(body["model_id"])
        self.uploads += 1
        return {
            "creds": {
                "aws_access_key_id": "temporary",
                "aws_secret_access_key": "for-a-while",
                "aws_session_token": "only",
            },
            "s3_bucket": BUCKET,
            "s3_key": f"organizations/1/models/{self.uploads}/model.tgz",
            "s3_region": REGION,
        }

    def make(self, source: dict[str, Any]) -> dict[str, Any]:
        model = {"id": self.name(), "name": source["name"], "created_at": _now(), "team_name": "default"}
        self.models[model["id"]] = model
        self.states[model["id"]] = []
        return self.add(model["id"], source)

    def add(self, model: str, source: dict[str, Any]) -> dict[str, Any]:
        if source["kind"] != "model_archive":
            raise refused(400, "unknown kind of source")
        payload = _checked(source["deployment"])
        boto3.client("s3", region_name=REGION).head_object(Bucket=BUCKET, Key=source["s3_key"])
        state = {
            "id": self.name(),
            "created_at": _now(),
            "name": f"deployment-{len(self.states[model]) + 1}",
            "model_id": model,
            "is_production": False,
            "is_development": False,
            "status": self.status,
            "active_replica_count": int(self.status == "ACTIVE"),
            "autoscaling_settings": {"min_replica": 0, "max_replica": 1} if self.status == "ACTIVE" else None,
            "environment": payload.get("environment_name"),
            "labels": payload.get("labels") or {},
        }
        self.states[model].append(state)
        # The platform fills in what a config does not say.
        self.configs[state["id"]] = {"python_version": "py39", "data_dir": "data", **payload["config"]}
        if payload.get("environment_name"):
            self.promote(model, payload["environment_name"], state)
        return {"model": self.models[model], "deployment": state}

    def promote(self, model: str, environment: str, state: dict[str, Any]) -> dict[str, Any]:
        told = self.environments.setdefault((model, environment), {"current_deployment": None})
        if state["status"] == "ACTIVE":
            told["current_deployment"] = state
        return state

    def log(self, state: str, words: dict[str, str]) -> list[dict[str, Any]]:
        start = int(words["start_epoch_millis"]) * 1_000_000
        lines = [one for one in self.logs.get(state, []) if int(one["timestamp"]) >= start]
        return (lines[::-1] if words["direction"] == "desc" else lines)[: int(words["limit"])]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _checked(payload: dict[str, Any]) -> dict[str, Any]:
    if further := set(payload) - _PAYLOAD:
        raise refused(400, f"unknown fields: {sorted(further)}")
    if not isinstance(payload["config"], dict):
        raise refused(400, "config is an object")
    return payload


class _Handler(BaseHTTPRequestHandler):
    server: Baseten

    def log_message(self, *_: Any) -> None:
        """Nothing is written."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            code, told = 200, self._told(method, content)
        except RefusedError as error:
            code, told = error.http, error.body
        text = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _told(self, method: str, content: bytes) -> Any:
        if self.headers.get("authorization") != f"Api-Key {KEY}":
            raise RefusedError(403, {"error": "please check the api-key you provided"})
        address = urlsplit(self.path)
        path, workspace = unquote(address.path), self.server
        words = {name: values[0] for name, values in parse_qs(address.query).items()}
        if path.startswith("/models/"):
            workspace.asked.append((path, content))
            return {"predictions": [1]}
        body = json.loads(content) if content else {}
        parts = tuple(re.sub(r"^/v1/", "", path).split("/"))
        match (method, *parts):
            case ("GET", "secrets"):
                return {"secrets": [{"name": name, "created_at": _now()} for name in workspace.secrets]}
            case ("GET", "models"):
                return {"models": list(workspace.models.values())}
            case ("POST", "prepare_model_upload"):
                return workspace.prepare(body)
            case ("POST", "models"):
                return workspace.make(body["source"])
            case ("DELETE", "models", model):
                workspace.model(model)
                del workspace.models[model]
                return {"id": model, "deleted": True}
            case ("GET", "models", model, "deployments"):
                workspace.model(model)
                return {"deployments": workspace.states[model][::-1]}
            case ("POST", "models", model, "deployments"):
                workspace.model(model)
                return workspace.add(model, body["source"])
            case ("DELETE", "models", model, "deployments", state):
                workspace.states[model].remove(workspace.state(model, state))
                return {"id": state, "deleted": True, "model_id": model}
            case ("GET", "models", model, "deployments", state, "config"):
                return {"config": workspace.configs[workspace.state(model, state)["id"]], "raw_config": None}
            case ("GET", "models", model, "deployments", state, "logs"):
                return {"logs": workspace.log(workspace.state(model, state)["id"], words)}
            case ("GET", "models", model, "environments", environment):
                if (model, environment) not in workspace.environments:
                    raise refused(404, f"Environment {environment} not found")
                return {"name": environment, **workspace.environments[model, environment]}
            case ("POST", "models", model, "environments", environment, "promote"):
                return workspace.promote(model, environment, workspace.state(model, body["deployment_id"]))
        raise refused(404, f"no route {method} {path}")


@contextlib.contextmanager
def running_baseten() -> Iterator[Baseten]:
    """A workspace on a port of this machine; AWS's client has to find an S3."""
    boto3.client("s3", region_name=REGION).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    with Baseten() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
