"""Docker Compose: one copy of a model on one machine, kept running by its container engine.

The form of the file: https://docs.docker.com/reference/compose-file/. What was applied, and what before it,
is kept in labels of the container, so that the engine itself is all that has to be asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from truss.deploy import endpoint
from truss.deploy.plan import File, Plan, Resource, SecretValue
from truss.deploy.program import Program, found_program
from truss.deploy.release import PORT, PREDICT, READY, Release
from truss.deploy.secret_folder import SecretFolder
from truss.deploy.target import Feature, Found, Options, Revision, State, Status, option
from truss.deploy.yaml_text import yaml_text
from truss.errors import DeployError, NotDeployedError

PROJECT = "compose:project"
SECRETS = "compose:secrets"

DEPLOYMENT_LABEL = "ai.truss.deployment"
_APPLIED = "ai.truss.applied"
_EARLIER = "ai.truss.earlier"
_KEPT = 5
"""How many earlier states of a deployment can be gone back to."""

_SERVICE = "model"


class ComposeOptions(Options, frozen=True, kw_only=True):
    """What a deployment with Compose can be told."""

    port: Annotated[int, option("The port of the machine where the model is reached.")] = PORT
    bind: Annotated[str, option("The address of the machine where it listens; 0.0.0.0 for all of them.")] = (
        "127.0.0.1"
    )
    repository: Annotated[
        str, option("Where its image is pushed; without one the image stays in the engine of this machine.")
    ] = ""


class ComposeTarget:
    """See the module."""

    name = "compose"
    summary = "one machine, with Docker Compose"
    options = ComposeOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.GRPC,
            Feature.APPLIES,
        }
    )

    def repository(self, options: ComposeOptions) -> str | None:
        """None: the engine's own images will do."""
        return options.repository or None

    def plan(self, release: Release, options: ComposeOptions) -> Plan:
        """One project of one service."""
        body = _document(release, options)
        secrets = Resource(
            SECRETS,
            release.name,
            {name: SecretValue(name) for name in release.secrets},
            "files of this machine",
        )
        project = Resource(PROJECT, release.name, body, f"docker compose -p {release.name} up")
        shown = {**body, **({"secrets": _secret_files(release, ".")} if release.secrets else {})}
        return Plan(
            self.name,
            release.name,
            (*((secrets,) if release.secrets else ()), project),
            (File("compose.yaml", yaml_text(_escaped(shown))),),
            tuple(_notes(release, options)),
        )

    def connect(self, options: ComposeOptions) -> ComposePlatform:
        """The engine of this machine, or the one that `DOCKER_HOST` names.

        Raises:
            DeployError: there is none, or no Compose.
        """
        compose = found_program(
            ("docker", "compose"),
            ("docker-compose",),
            ("podman", "compose"),
            hint="install Docker with its Compose plugin; docs/guides/deploy/compose.md says how",
        )
        return ComposePlatform(Program((compose.words[0].removesuffix("-compose"),)), compose, options)


def _document(release: Release, options: ComposeOptions) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": release.image,
        "restart": "unless-stopped",
        "ports": [f"{options.bind}:{options.port}:{PORT}"],
        "environment": release.environment,
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108  # of the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "stop_grace_period": f"{release.stop_seconds}s",
        "cpus": release.cpu,
        "mem_limit": release.memory,
        "healthcheck": {
            "test": ["CMD", "python3", "-c", _PROBE],
            "interval": "2s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "600s",
        },
    }
    if release.secrets:
        service["secrets"] = list(release.secrets)
        service["environment"] = {**release.environment, "TRUSS_SECRETS_DIR": "/run/secrets"}
    if (gpus := release.accelerator) is not None:
        device = {"driver": "nvidia", "count": gpus.count, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return {"services": {_SERVICE: service}}


_PROBE = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORT}{READY}', timeout=4)"
"""Ends with a failure unless the server is ready; the images have Python, and may have nothing else."""


def _secret_files(release: Release, folder: str) -> dict[str, Any]:
    return {name: {"file": f"{folder}/secrets/{name}"} for name in release.secrets}


def _notes(release: Release, options: ComposeOptions) -> Iterator[str]:
    if options.bind.startswith("127."):
        yield f"reached from this machine only, at port {options.port}; --bind 0.0.0.0 opens it to others"
    if release.secrets:
        yield "for use without Truss, put each secret's value into secrets/NAME beside compose.yaml"
    if release.accelerator is not None and release.accelerator.kind:
        yield f"the machine has to have a {release.accelerator.kind}: Compose asks for a number of GPUs only"


def _escaped(value: Any) -> Any:
    """A document whose texts mean themselves: Compose reads `$NAME` as a variable."""
    if isinstance(value, Mapping):
        return {key: _escaped(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_escaped(part) for part in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


@dataclass(frozen=True)
class ComposePlatform:
    """A container engine with Compose.

    Attributes:
        engine: The engine's program.
        compose: Compose's.
        options: Where deployments listen.
    """

    engine: Program
    compose: Program
    options: ComposeOptions

    def find(self, resource: Resource) -> Found | None:
        """The project, as its container's label tells it; the secrets, as their files hold them.

        Raises:
            DeployError: the engine is another machine's, where containers do not see these files, or nobody
                else would reach the port.
        """
        if resource.kind == SECRETS:
            self._check_engine()
            return self._secrets(resource.name)
        self._check_reached(resource)
        found = self._container(resource.name, label="com.docker.compose.project")
        return None if found is None else self._project(resource.name, found)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """Write the secrets; start the project."""
        if resource.kind == SECRETS:
            SecretFolder(self.name_of_folder, resource.name).write(resource.body)
        else:
            self._up(resource.name, resource.body, [])
        return {}

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Write the secrets anew; start the project anew, and remember what it was."""
        if resource.kind == SECRETS:
            return self.create(resource)
        self._up(resource.name, resource.body, [*self._earlier(resource.name), found.body])
        return {}

    def delete(self, found: Found) -> None:
        """Stop the project; remove the secrets."""
        if found.kind == SECRETS:
            SecretFolder(self.name_of_folder, found.name).remove()
        else:
            self._compose(found.name, found.body, ["down", "--timeout", "60"])

    def owned(self, deployment: str) -> Sequence[Found]:
        """The project, then the secrets that it reads."""
        container = self._container(deployment)
        project = self._project(deployment, container) if container else None
        return [found for found in (project, self._secrets(deployment)) if found is not None]

    def deployments(self) -> Sequence[Status]:
        """Those of which there is a container."""
        return [
            self._status(container["Config"]["Labels"][DEPLOYMENT_LABEL], container)
            for container in self._containers(DEPLOYMENT_LABEL)
        ]

    def status(self, deployment: str) -> Status | None:
        """What the engine says of the container's health."""
        container = self._container(deployment)
        return None if container is None else self._status(deployment, container)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the container has written.

        Raises:
            NotDeployedError: there is none.
        """
        container = self._present(deployment)
        words = ["logs", *(["--follow"] if follow else []), "--tail", str(lines), container["Id"]]
        yield from self.engine.lines(words)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """Those that the container's labels tell of."""
        container = self._container(deployment)
        if container is None:
            return []
        bodies = [*self._earlier(deployment), _labelled(container, _APPLIED)]
        return [
            Revision(str(number), body["services"][_SERVICE]["image"], number == len(bodies))
            for number, body in enumerate(bodies, start=1)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Start the project as it was; what came after it is forgotten."""
        earlier = self._earlier(deployment)
        number = int(revision.id)
        self._up(deployment, earlier[number - 1], earlier[: number - 1])

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Over HTTP, at the port of the machine."""
        found = self._status(deployment, self._present(deployment))
        return endpoint.ask(f"{found.url}{PREDICT}", body)

    # What Compose and the engine are asked.

    def _check_engine(self) -> None:
        if address := _elsewhere(self.engine):
            raise DeployError(
                f"secrets are files of this machine, which containers at {address} do not see",
                where=SECRETS,
                hint="deploy there with --to ssh, which writes them there; or run this on that machine",
            )

    def _check_reached(self, resource: Resource) -> None:
        if self.options.bind.startswith("127.") and (address := _elsewhere(self.engine)):
            raise DeployError(
                f"the engine is at {address}, and only that machine would reach what listens on its "
                f"{self.options.bind}",
                where=resource.key,
                hint="--bind 0.0.0.0 opens the port to others; or deploy there with --to ssh",
            )

    def _up(self, name: str, body: Mapping[str, Any], earlier: Sequence[Any]) -> None:
        labels = {
            DEPLOYMENT_LABEL: name,
            _APPLIED: json.dumps(body),
            _EARLIER: json.dumps(earlier[-_KEPT:]),
        }
        service = {**body["services"][_SERVICE], "labels": labels}
        self._compose(name, {**body, "services": {_SERVICE: service}}, ["up", "--detach", "--remove-orphans"])

    def _compose(self, name: str, body: Mapping[str, Any], words: Sequence[str]) -> None:
        document = _escaped(body)
        names = body["services"][_SERVICE].get("secrets")
        if names:
            folder = SecretFolder(self.name_of_folder, name)
            document["secrets"] = {secret: {"file": str(folder.file(secret))} for secret in names}
        self.compose.run(["-p", name, "-f", "-", *words], json.dumps(document))

    name_of_folder = "compose"

    def _containers(self, label: str) -> list[dict[str, Any]]:
        ids = self.engine.run(["ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}"]).split()
        found: list[dict[str, Any]] = self.engine.json(["inspect", *ids]) if ids else []
        return found

    def _container(self, deployment: str, label: str = DEPLOYMENT_LABEL) -> dict[str, Any] | None:
        found = self._containers(f"{label}={deployment}")
        return found[0] if found else None

    def _present(self, deployment: str) -> dict[str, Any]:
        found = self._container(deployment)
        if found is None:
            raise NotDeployedError(f"nothing is deployed under the name '{deployment}'")
        return found

    def _project(self, name: str, container: Mapping[str, Any]) -> Found:
        ours = container["Config"]["Labels"].get(DEPLOYMENT_LABEL, "")
        return Found(PROJECT, name, _labelled(container, _APPLIED) if ours else {}, ours)

    def _secrets(self, name: str) -> Found | None:
        values = SecretFolder(self.name_of_folder, name).read()
        return None if values is None else Found(SECRETS, name, values, name)

    def _earlier(self, deployment: str) -> list[Any]:
        container = self._container(deployment)
        return _labelled(container, _EARLIER) if container else []

    def _status(self, deployment: str, container: Mapping[str, Any]) -> Status:
        service = _labelled(container, _APPLIED)["services"][_SERVICE]
        state, detail = _state(container["State"])
        address, _, port = service["ports"][0].rpartition(":")[0].rpartition(":")
        open_to_all = address == "0.0.0.0"  # noqa: S104  # what the user chose
        reached = urlsplit(_elsewhere(self.engine)).hostname or "127.0.0.1" if open_to_all else address
        return Status(
            deployment,
            ComposeTarget.name,
            state,
            f"http://{reached}:{port}",
            service["image"],
            int(state == "healthy"),
            1,
            detail,
        )


def _elsewhere(engine: Program) -> str:
    """The address of an engine that is on another machine; empty: it is on this one.

    https://docs.docker.com/engine/manage-resources/contexts/
    """
    name = "CONTAINER_HOST" if engine.words[0] == "podman" else "DOCKER_HOST"
    address = os.environ.get(name, "")
    if not address and engine.words[0] == "docker":
        words = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        address = engine.run(words).strip() if engine.succeeds(words) else ""
    parts = urlsplit(address)
    here = parts.scheme not in ("http", "https", "ssh", "tcp") or parts.hostname in _HERE
    return "" if here else address


_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


def _labelled(container: Mapping[str, Any], label: str) -> Any:
    try:
        return json.loads(container["Config"]["Labels"][label])
    except (KeyError, ValueError):
        raise DeployError(
            f"the label {label} of the container is missing or damaged",
            where=container["Id"][:12],
            hint="remove the container, and deploy again",
        ) from None


def _state(state: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    """How a container does, from what https://docs.docker.com/reference/api/engine/ calls its state."""
    if state["Status"] in ("exited", "dead"):
        return "failed", (f"it ended with {state['ExitCode']}",)
    if state["Status"] == "restarting":
        return "failed", (f"it ends again and again, last with {state['ExitCode']}",)
    health = state.get("Health") or {}
    last = [
        one["Output"].strip().splitlines()[-1] for one in health.get("Log", ())[-1:] if one["Output"].strip()
    ]
    kinds: dict[str, State] = {"healthy": "healthy", "unhealthy": "failed"}
    return kinds.get(health.get("Status", ""), "starting"), tuple(last)
