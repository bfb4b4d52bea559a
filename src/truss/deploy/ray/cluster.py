"""A Ray cluster with Serve: applications that are ours, beside those of others.

Serve is told all its applications at once and removes those that are left out, so each change begins with
reading what is there. Ours tell by their arguments what they are deployed as, and what they were before.
"""

from __future__ import annotations

import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from truss.deploy import endpoint
from truss.deploy.plan import Resource
from truss.deploy.ray.dashboard import Dashboard
from truss.deploy.release import PREDICT
from truss.deploy.target import Found, Revision, State, Status
from truss.errors import DeployError, MissingExtraError, NotDeployedError, PlatformRefusalError

APPLICATION = "serve:application"
KEEPER = "ray:job"

IMPORT_PATH = "truss.runtime.ray_replica:application"
"""What Serve imports out of an archive; by this, and by an argument, an application is known as ours."""

_APPLICATIONS = "/api/serve/applications/"
_JOBS = "/api/jobs/"
_STORE = "gcs://"
_KEPT = 5
"""How many earlier states of a deployment can be gone back to."""

_MARK = "truss-deployment"
_ARCHIVE = "truss-archive"
_KEEPS = "truss-keeps"
_WAITS = "tail -f /dev/null"
"""What the job that keeps archives does."""

_NO_AGENT = "No available agent"
"""What the dashboard says when it finds nobody to hand a job to; it may be asked again."""

_DONE = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
_WITHIN = 300.0
"""Seconds that Ray may take to start the job, or to remove an application."""
_BETWEEN_LOOKS = 0.5

_STATES: Mapping[str, State] = {
    "RUNNING": "healthy",
    "DEPLOY_FAILED": "failed",
    "UNHEALTHY": "failed",
    "DELETING": "stopped",
}
"""Of an application: https://docs.ray.io/en/latest/serve/api/doc/ray.serve.schema.ApplicationStatus.html"""


@dataclass(frozen=True)
class RayCluster:
    """A cluster.

    Attributes:
        dashboard: What is spoken to.
        url: Where Serve is reached from here; empty: at the dashboard's host.
        instance: How Serve is started, should it not run yet.
    """

    dashboard: Dashboard
    url: str = ""
    instance: Mapping[str, Any] = field(default_factory=dict)

    def find(self, resource: Resource) -> Found | None:
        """The application as Serve was told it; the job, by the archive that it was started for."""
        if resource.kind == KEEPER:
            return next(self._kept(resource.name), None)
        got = self._applications().get(resource.name)
        return None if got is None else _found(resource.name, got)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """Deploy the application; start the job."""
        if resource.kind == KEEPER:
            self._keep(resource.name, resource.body["archive"], self._states(resource.name))
        else:
            self._put(resource.name, resource.body, [])
        return {}

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Deploy the application anew, and remember what it was; have the job keep both archives."""
        if resource.kind == KEEPER:
            return self.create(resource)
        self._put(resource.name, resource.body, [*self._earlier(resource.name), _forgetful(found.body)])
        return {}

    def delete(self, found: Found) -> None:
        """Remove the application, and return when its replicas have ended; end the job."""
        if found.kind == KEEPER:
            self._end(self._jobs(found.name))
            return
        self._put(found.name, None, [])
        _wait(lambda: found.name not in self._details()["applications"], f"{found.key} does not go away")

    def owned(self, deployment: str) -> Sequence[Found]:
        """The application, then the job that keeps its archives."""
        got = self._applications().get(deployment)
        application = None if got is None else _found(deployment, got)
        ours = [application] if application is not None and application.deployment == deployment else []
        return [*ours, *self._kept(deployment)]

    def deployments(self) -> Sequence[Status]:
        """All applications that are ours."""
        details = self._details()
        return [
            self._status(name, got, details)
            for name, got in details["applications"].items()
            if _found(name, got).deployment
        ]

    def status(self, deployment: str) -> Status | None:
        """What Serve says of the application."""
        details = self._details()
        got = details["applications"].get(deployment)
        if got is None or _found(deployment, got).deployment != deployment:
            return None
        return self._status(deployment, got, details)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """The lines of all its replicas, each after its replica's name."""
        copies = [one for one in _replicas(self._present(deployment)) if one.get("actor_id")]
        lines = -(-lines // max(1, len(copies)))
        streams = [
            (one["replica_id"], self.dashboard.log(one["actor_id"], suffix, follow=follow, lines=lines))
            for one in copies
            for suffix in ("out", "err")
        ]
        if follow:
            yield from _together(streams)
        else:
            yield from (f"[{name}] {line}" for name, stream in streams for line in stream)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """Those that the application's arguments tell of, and what it is."""
        states = self._states(deployment)
        return [
            Revision(str(number), _archive_of(body), number == len(states))
            for number, body in enumerate(states, start=1)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Deploy it as it was, with the secrets of now; what came after it is forgotten."""
        states = self._states(deployment)
        number = int(revision.id)
        body = _remembering(states[number - 1], states[-1])
        if next(self._kept(deployment), None) is not None:
            self._keep(deployment, _archive_of(body), states[:number])
        self._put(deployment, body, states[: number - 1])

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Over HTTP, at Serve's port."""
        found = self._status(deployment, self._present(deployment), self._details())
        return endpoint.ask(f"{found.url.rstrip('/')}{PREDICT}", body)

    def upload(self, archive: Path, place: str) -> None:
        """Put an archive into the cluster's own store, into a bucket, or into a shared folder.

        Raises:
            DeployError: it is too large for the store, or the place cannot be written.
            MissingExtraError: the package that writes into buckets is not installed.
        """
        address = urlsplit(place)
        if place.startswith(_STORE):
            name = place.removeprefix(_STORE)
            if not self.dashboard.has_archive(name):
                self.dashboard.store(name, archive)
        elif address.scheme == "file":
            _copy(archive, Path(unquote(address.path)))
        elif address.scheme == "s3":
            _put_into_bucket(archive, address.netloc, address.path.lstrip("/"))
        else:
            raise DeployError(
                f"archives are not put at {address.scheme or place}: by Truss",
                where="deploy.ray.repository",
                hint="name file:///shared/folder or s3://bucket/folder; or put it there yourself, and say "
                "where it is: --image https://...zip",
            )

    # What Serve is asked and told.

    def _details(self) -> dict[str, Any]:
        found: dict[str, Any] = self.dashboard.get(_APPLICATIONS)
        return found

    def _applications(self) -> dict[str, Any]:
        """Those that are there to stay."""
        listed = self._details()["applications"]
        return {name: one for name, one in listed.items() if one["status"] != "DELETING"}

    def _present(self, deployment: str) -> dict[str, Any]:
        got = self._applications().get(deployment)
        if got is None or _found(deployment, got).deployment != deployment:
            raise NotDeployedError(f"nothing is deployed under the name '{deployment}'")
        found: dict[str, Any] = got
        return found

    def _put(self, name: str, body: Mapping[str, Any] | None, earlier: Sequence[Any]) -> None:
        """Tell Serve all its applications, with one of them changed; None: without it."""
        details = self._details()
        others = [
            one["deployed_app_config"]
            for other, one in details["applications"].items()
            # Those that a program has deployed are no part of what Serve is told, and stay.
            if other != name and one["status"] != "DELETING" and one.get("deployed_app_config")
        ]
        ours = []
        if body is not None:
            arguments = {**body["args"], **({"earlier": list(earlier[-_KEPT:])} if earlier else {})}
            ours = [{**body, "args": arguments}]
        self.dashboard.put(_APPLICATIONS, {**self._instance(details), "applications": [*others, *ours]})

    def _instance(self, details: Mapping[str, Any]) -> dict[str, Any]:
        """How Serve runs, which a change of its applications leaves as it is."""
        kept = ("proxy_location", "http_options", "grpc_options", "target_capacity")
        running = {key: details[key] for key in kept if details.get(key) is not None}
        return running if "http_options" in running else dict(self.instance)

    def _states(self, deployment: str) -> list[Any]:
        """What it was, the oldest first, and last what it is."""
        got = self._applications().get(deployment)
        found = None if got is None else _found(deployment, got)
        return [*self._earlier(deployment), found.body] if found is not None and found.deployment else []

    def _earlier(self, deployment: str) -> list[Any]:
        got = self._applications().get(deployment) or {}
        found: list[Any] = _arguments(got).get("earlier", [])
        return found

    def _status(self, name: str, got: Mapping[str, Any], details: Mapping[str, Any]) -> Status:
        deployments = got.get("deployments", {}).values()
        told = [got.get("message", ""), *(one.get("message", "") for one in deployments)]
        return Status(
            name,
            "ray",
            _STATES.get(got["status"], "starting"),
            f"{self._reached(details)}{(got.get('route_prefix') or '').rstrip('/')}",
            _archive_of(got["deployed_app_config"]),
            sum(one["state"] == "RUNNING" for one in _replicas(got)),
            sum(one.get("target_num_replicas") or 0 for one in deployments),
            tuple(dict.fromkeys(text.strip() for text in told if text.strip())),
        )

    def _reached(self, details: Mapping[str, Any]) -> str:
        port = self._instance(details).get("http_options", {}).get("port")
        return self.url.rstrip("/") or f"http://{self.dashboard.host}:{port}"

    # The job that keeps archives in the cluster's store, which forgets what nothing runs with.

    def _jobs(self, deployment: str) -> list[dict[str, Any]]:
        listed = self.dashboard.get(_JOBS)
        return [one for one in listed if (one.get("metadata") or {}).get(_MARK) == deployment]

    def _kept(self, deployment: str) -> Iterator[Found]:
        for one in self._jobs(deployment):
            if one["status"] not in _DONE:
                yield Found(KEEPER, deployment, {"archive": one["metadata"][_ARCHIVE]}, deployment)
                return

    def _keep(self, deployment: str, archive: str, states: Sequence[Any]) -> None:
        """Have a job keep an archive, and those of other states; the one before it ends when it runs."""
        wanted = dict.fromkeys([archive, *(_archive_of(one) for one in reversed(states[-_KEPT:]))])
        kept = [one for one in wanted if one.startswith(_STORE) and self._has(one)]
        marks = {_MARK: deployment, _ARCHIVE: archive, _KEEPS: " ".join(kept)}
        jobs = self._jobs(deployment)
        fit = [one for one in jobs if one["status"] not in _DONE and one["metadata"] == marks][:1]
        if not fit:
            # Never a name that was used before: Ray frees those of jobs that have ended some time later.
            self._begin(f"truss-{deployment}-{secrets.token_hex(6)}", marks, kept)
        self._end([one for one in jobs if one not in fit])

    def _has(self, archive: str) -> bool:
        return self.dashboard.has_archive(archive.removeprefix(_STORE))

    def _begin(self, name: str, marks: Mapping[str, str], kept: Sequence[str]) -> None:
        environment = {"working_dir": kept[0], "py_modules": list(kept[1:])} if kept else {}
        job = {
            "submission_id": name,
            "entrypoint": _WAITS,
            "runtime_env": {key: value for key, value in environment.items() if value},
            "metadata": dict(marks),
        }
        _with_an_agent(lambda: self.dashboard.post(_JOBS, job))

        def runs() -> bool:
            job = self.dashboard.get(f"{_JOBS}{name}")
            if job["status"] in _DONE:
                raise DeployError(f"the job that keeps the archive ended: {job.get('message')}", where=name)
            return bool(job["status"] == "RUNNING")

        _wait(runs, f"the job {name} does not start")

    def _end(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        for one in jobs:
            path = f"{_JOBS}{quote(one['submission_id'])}"
            if one["status"] not in _DONE:
                _with_an_agent(lambda path=path: self.dashboard.post(f"{path}/stop"))  # type: ignore[misc]
                _wait(lambda path=path: self.dashboard.get(path)["status"] in _DONE, f"{path} does not end")  # type: ignore[misc]
            _with_an_agent(lambda path=path: self.dashboard.delete(path))  # type: ignore[misc]


def _with_an_agent(ask: Callable[[], None]) -> None:
    """Ask for something that the dashboard hands on to one of its agents on the nodes.

    A node's agent is there some time after the node, and one that is busy counts as none for a while.
    """

    def asked() -> bool:
        try:
            ask()
        except PlatformRefusalError as error:
            if _NO_AGENT in error.message:
                return False
            raise
        return True

    _wait(asked, "no node of the cluster takes jobs")


def _found(name: str, got: Mapping[str, Any]) -> Found:
    """An application in the form of a plan's, without what it was before."""
    config = got.get("deployed_app_config") or {}
    arguments = _arguments(got)
    ours = arguments.get("deployment", "") if config.get("import_path") == IMPORT_PATH else ""
    kept = {key: value for key, value in arguments.items() if key != "earlier"}
    return Found(APPLICATION, name, {**config, "args": kept}, ours)


def _arguments(got: Mapping[str, Any]) -> dict[str, Any]:
    return dict((got.get("deployed_app_config") or {}).get("args") or {})


def _replicas(got: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [copy for one in got.get("deployments", {}).values() for copy in one.get("replicas", ())]


def _archive_of(body: Mapping[str, Any]) -> str:
    found: str = body["runtime_env"]["working_dir"]
    return found


def _forgetful(body: Mapping[str, Any]) -> dict[str, Any]:
    """A state as it is remembered: without the values of its secrets."""
    runtime, hidden = dict(body["runtime_env"]), body["args"].get("secrets", ())
    if "env_vars" in runtime:
        runtime["env_vars"] = {key: text for key, text in runtime["env_vars"].items() if key not in hidden}
    return {**body, "runtime_env": runtime}


def _remembering(body: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A remembered state, with the secrets' values of the present one."""
    present = now["runtime_env"].get("env_vars", {})
    found = {key: present[key] for key in body["args"].get("secrets", ()) if key in present}
    runtime = dict(body["runtime_env"])
    if found or "env_vars" in runtime:
        runtime["env_vars"] = {**runtime.get("env_vars", {}), **found}
    return {**body, "runtime_env": runtime}


def _wait(done: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _WITHIN
    while not done():
        if time.monotonic() > deadline:
            raise DeployError(complaint, hint="see the cluster's dashboard, then do the same again")
        time.sleep(_BETWEEN_LOOKS)


def _together(streams: Sequence[tuple[str, Iterator[str]]]) -> Iterator[str]:
    """The lines of streams that do not end, as they come."""
    lines: queue.Queue[str | None] = queue.Queue()

    def pass_on(name: str, stream: Iterator[str]) -> None:
        for line in stream:
            lines.put(f"[{name}] {line}")
        lines.put(None)

    for name, stream in streams:
        threading.Thread(target=pass_on, args=(name, stream), daemon=True).start()
    left = len(streams)
    while left:
        line = lines.get()
        if line is None:
            left -= 1
        else:
            yield line


def _copy(archive: Path, place: Path) -> None:
    if place.is_file():
        return
    beside = place.with_name(f".{place.name}.new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(archive, beside)
        beside.replace(place)
    except OSError as error:
        raise DeployError(
            f"the archive cannot be put there: {error.strerror or error}", where=str(place)
        ) from error


def _put_into_bucket(archive: Path, bucket: str, key: str) -> None:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise MissingExtraError("boto3", "aws", "putting archives into a bucket") from error
    try:
        boto3.client("s3").upload_file(str(archive), bucket, key)
    except (BotoCoreError, ClientError, OSError) as error:
        raise DeployError(
            f"the archive cannot be put there: {error}", where=f"s3://{bucket}/{key}"
        ) from error
