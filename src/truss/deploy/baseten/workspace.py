"""A workspace on Baseten: models that are ours, beside those of others.

A deployment of ours is a model of that name; what the platform calls deployments are its states. Each carries
labels with whose it is and what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from truss.deploy import endpoint
from truss.deploy.baseten.api import Api, put_archive
from truss.deploy.baseten.folder import write_folder
from truss.deploy.changes import restricted
from truss.deploy.plan import Resource
from truss.deploy.target import Found, Revision, State, Status
from truss.errors import DeployError, NotDeployedError, PlatformRefusalError

MODEL = "baseten:model"
SECRET = "baseten:secret"  # noqa: S105  # a kind of resource

_MARK = "truss-deployment"
_ARCHIVE = "truss-archive"
_CONFIG = "truss-config"
_ENVIRONMENT = "truss-environment"
_BEFORE = "truss-before"
"""Labels of a state."""

_STATES: Mapping[str, State] = {
    "ACTIVE": "healthy",
    # The first request wakes it.
    "SCALED_TO_ZERO": "healthy",
    "DEPLOY_FAILED": "failed",
    "BUILD_FAILED": "failed",
    "BUILD_STOPPED": "failed",
    "FAILED": "failed",
    "UNHEALTHY": "failed",
    "DEACTIVATING": "stopped",
    "INACTIVE": "stopped",
}
"""https://docs.baseten.co/reference/management-api/deployments/gets-all-deployments-of-a-model"""

_CHOSEN = ("environment_variables", "secrets", "model_metadata")
"""Parts of a config whose keys a user chooses."""

_NEVER_RAN = frozenset({"DEPLOY_FAILED", "BUILD_FAILED", "BUILD_STOPPED"})

_LONGEST_LOGS = 7 * 24 * 3600 * 1000
_MOST_LINES = 1000
"""The longest time, in milliseconds, and the most lines that the API gives logs of at once.

https://docs.baseten.co/reference/management-api/deployments/get-deployment-logs
"""

_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Workspace:
    """A workspace, as an API key sees it.

    Attributes:
        api: What is spoken to.
        environment: The environment that states are promoted to.
        archives: What is to be uploaded when a state is made: the API hands out a place for each.
    """

    api: Api
    environment: str = "production"
    archives: dict[str, Path] = field(default_factory=dict)

    def find(self, resource: Resource) -> Found | None:
        """The model as its present state was made; a secret, by its name.

        Raises:
            DeployError: the workspace has no such secret.
        """
        if resource.kind == SECRET:
            return self._secret(resource.name)
        model = self._model(resource.name)
        return None if model is None else self._found(model, resource.body)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """Upload the archive, and make the model from it."""
        prepared = self._upload(resource, {"name": resource.name})
        source = {**_source(resource, prepared), "name": resource.name}
        self.api.post("/v1/models", {"source": source})
        return {}

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Upload the archive, and give the model a new state, which is promoted when it runs."""
        model = found.outputs["id"]
        prepared = self._upload(resource, {"model_id": model})
        source = _source(resource, prepared)
        if promoted := self._promoted({"id": model}):
            source["deployment"]["labels"][_BEFORE] = promoted
        self.api.post(f"/v1/models/{model}/deployments", {"source": source})
        return {}

    def delete(self, found: Found) -> None:
        """Remove the model with all its states."""
        self.api.delete(f"/v1/models/{found.outputs['id']}")

    def owned(self, deployment: str) -> Sequence[Found]:
        """The model."""
        model = self._model(deployment)
        found = None if model is None else self._found(model, {})
        return [found] if found is not None and found.deployment == deployment else []

    def deployments(self) -> Sequence[Status]:
        """All models that are ours."""
        told = [(model, self._history(model)) for model in self._models()]
        return [
            self._status(model, self._present(model, history))
            for model, history in told
            if _is_ours(model, history)
        ]

    def status(self, deployment: str) -> Status | None:
        """What the platform says of the state that is promoted, or is to be."""
        found = self._look(deployment)
        return None if found is None else self._status(found[0], self._present(*found))

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """The lines of its present state, of all its copies and of its build."""
        model, history = self._ours(deployment)
        state = self._present(model, history)
        path = f"/v1/models/{model['id']}/deployments/{state['id']}/logs"
        start = _now() - _LONGEST_LOGS
        shown = self._log(path, start, "desc", min(max(lines, 1), _MOST_LINES))[::-1]
        yield from map(_line, shown)
        while follow:
            last = max((int(one["timestamp"]) for one in shown), default=0)
            time.sleep(_BETWEEN_LOOKS)
            since = max(last // 1_000_000, _now() - _LONGEST_LOGS)
            told = self._log(path, since, "asc", _MOST_LINES)
            # The API's times are milliseconds, those of lines nanoseconds.
            further = [one for one in told if int(one["timestamp"]) >= last and one not in shown]
            yield from map(_line, further)
            shown = further or shown

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The states of the model, without those that never ran."""
        found = self._look(deployment)
        if found is None:
            return []
        model, history = found
        present = self._present(model, history)
        current = self._promoted(model) if present["status"] in _NEVER_RAN else present["id"]
        return [
            Revision(
                one["id"],
                _labels(one).get(_ARCHIVE, ""),
                one["id"] == current,
                _labels(one).get(_BEFORE, ""),
            )
            for one in history
            if one["id"] == current or (_is_ours(model, [one]) and one["status"] not in _NEVER_RAN)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Promote a state that the model has still; one that waits, or failed before it ran, is removed."""
        model, history = self._ours(deployment)
        present = self._present(model, history)
        if self._is_coming(present) and present["id"] != revision.id:
            self.api.delete(f"/v1/models/{model['id']}/deployments/{present['id']}")
        self.api.post(
            f"/v1/models/{model['id']}/environments/{quote(self.environment)}/promote",
            {"deployment_id": revision.id},
        )

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Over HTTP, at the model's own host, with the API key."""
        model, _ = self._ours(deployment)
        return endpoint.ask(self._url(model), body, self.api.headers)

    def upload(self, archive: Path, place: str) -> None:
        """Remember an archive: it is uploaded when a state is made from it, and only then."""
        self.archives[place] = archive

    def _upload(self, resource: Resource, of: Mapping[str, str]) -> Mapping[str, Any]:
        archive = self.archives.get(resource.body["archive"])
        if archive is None:
            raise DeployError(
                f"there is no archive {resource.body['archive']} to upload",
                where=resource.key,
                hint="deploy the folder of the Truss itself, without --image",
            )
        asked = {**of, "deployment": _payload(resource)}
        prepared: Mapping[str, Any] = self.api.post("/v1/prepare_model_upload", asked)
        with tempfile.TemporaryDirectory(prefix="truss-") as folder:
            packed = Path(folder) / "model.tgz"
            write_folder(archive, resource.body["config"], packed)
            put_archive(packed, prepared)
        return prepared

    # What the API tells.

    def _models(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/v1/models")["models"]
        return found

    def _model(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self._models() if one["name"] == name), None)

    def _history(self, model: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All states of a model, the oldest first."""
        listed = self.api.get(f"/v1/models/{model['id']}/deployments")["deployments"]
        return sorted(listed, key=lambda one: str(one["created_at"]))

    def _promoted(self, model: Mapping[str, Any]) -> str:
        """The id of the state that the environment has; empty: none yet."""
        try:
            told = self.api.get(f"/v1/models/{model['id']}/environments/{quote(self.environment)}")
        except PlatformRefusalError as error:
            if error.code != "404":
                raise
            return ""
        return str((told.get("current_deployment") or {}).get("id", ""))

    def _present(self, model: Mapping[str, Any], history: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The state that is promoted, unless a later one of ours is still to be, or failed before it was."""
        promoted = self._promoted(model)
        place = next((number for number, one in enumerate(history) if one["id"] == promoted), -1)
        coming = [one for one in history[place + 1 :] if self._is_coming(one)]
        return coming[-1] if coming else history[place]

    def _is_coming(self, state: Mapping[str, Any]) -> bool:
        waits = state["status"] in _NEVER_RAN or state["status"] not in _STATES
        return waits and _labels(state).get(_ENVIRONMENT) == self.environment

    def _look(self, deployment: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """A model that is ours, and its states; None: there is none."""
        model = self._model(deployment)
        history = [] if model is None else self._history(model)
        return None if model is None or not _is_ours(model, history) else (model, history)

    def _ours(self, deployment: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = self._look(deployment)
        if found is None:
            raise NotDeployedError(f"nothing is deployed under the name '{deployment}'")
        return found

    def _found(self, model: Mapping[str, Any], like: Mapping[str, Any]) -> Found:
        """A model in the form of a plan's."""
        history, outputs = self._history(model), {"id": model["id"]}
        if not _is_ours(model, history):
            return Found(MODEL, model["name"], {}, "", outputs)
        state = self._present(model, history)
        body = {
            # One that never ran is to be made again.
            "archive": "" if state["status"] in _NEVER_RAN else _labels(state).get(_ARCHIVE, ""),
            "environment": self.environment,
            "config": self._config(model, state, like.get("config", {})),
        }
        return Found(MODEL, model["name"], body, model["name"], outputs)

    def _config(
        self, model: Mapping[str, Any], state: Mapping[str, Any], like: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """A state's config in the form of a plan's, where it was made from that."""
        if _labels(state).get(_CONFIG) == _digest(like):
            return like
        told = self.api.get(f"/v1/models/{model['id']}/deployments/{state['id']}/config")["config"]
        # What the platform has filled in is left out; the names that a user chooses are whole.
        whole = {key: told[key] for key in _CHOSEN if key in like and key in told}
        return {**restricted(told, like), **whole}

    def _secret(self, name: str) -> Found:
        """A secret by its name, in which the platform takes all signs alike."""
        listed = self.api.get("/v1/secrets")["secrets"]
        if _plain(name) not in {_plain(one["name"]) for one in listed}:
            raise DeployError(
                f"the workspace has no secret '{name}'",
                where=f"{SECRET}/{name}",
                hint="add it at https://app.baseten.co/settings/secrets; Truss does not: all models share it",
            )
        return Found(SECRET, name, {})

    def _log(self, path: str, start: int, direction: str, limit: int) -> list[dict[str, Any]]:
        query = urlencode({"start_epoch_millis": start, "direction": direction, "limit": limit})
        found: list[dict[str, Any]] = self.api.get(f"{path}?{query}")["logs"]
        return found

    def _status(self, model: Mapping[str, Any], state: Mapping[str, Any]) -> Status:
        said = state["status"]
        scaling = state.get("autoscaling_settings") or {}
        return Status(
            model["name"],
            "baseten",
            _STATES.get(said, "starting"),
            self._url(model),
            _labels(state).get(_ARCHIVE, ""),
            state.get("active_replica_count") or 0,
            scaling.get("min_replica") or 0,
            () if said == "ACTIVE" else (said,),
        )

    def _url(self, model: Mapping[str, Any]) -> str:
        host = self.api.models.replace("{model}", model["id"]).rstrip("/")
        return f"{host}/environments/{quote(self.environment)}/predict"


def _payload(resource: Resource) -> dict[str, Any]:
    """A state that is to be, as the API is told it for checking and for making it."""
    return {
        "config": resource.body["config"],
        "environment_name": resource.body["environment"],
        # The machine is the config's, not that of the state before.
        "preserve_env_instance_type": False,
        "labels": {
            _MARK: resource.name,
            _ARCHIVE: resource.body["archive"],
            _CONFIG: _digest(resource.body["config"]),
            _ENVIRONMENT: resource.body["environment"],
        },
    }


def _source(resource: Resource, prepared: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "model_archive", "s3_key": prepared["s3_key"], "deployment": _payload(resource)}


def _labels(state: Mapping[str, Any]) -> Mapping[str, str]:
    return state.get("labels") or {}


def _is_ours(model: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of them is: copies that the platform itself makes to promote them may have no labels."""
    return any(_labels(one).get(_MARK) == model["name"] for one in states)


def _digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def _line(one: Mapping[str, Any]) -> str:
    text = str(one["message"]).rstrip("\r\n")
    return f"[{one['replica']}] {text}" if one.get("replica") else text


def _now() -> int:
    return round(time.time() * 1000)
