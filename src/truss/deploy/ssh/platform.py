"""A machine as a platform: what is deployed is kept beside it there.

It is in a folder that only root can get to, or the user whose unit it is.
"""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truss.deploy.plan import Resource
from truss.deploy.program import Program
from truss.deploy.release import PREDICT, READY
from truss.deploy.ssh.machine import Machine
from truss.deploy.ssh.unit import (
    ENGINES,
    LINGER,
    SECRETS,
    UNIT,
    Place,
    SshOptions,
    SshTarget,
    environment_text,
    unit_name,
    unit_text,
)
from truss.deploy.target import Found, Revision, State, Status
from truss.errors import DeployError, NotDeployedError, PlatformUnreachableError, RemoteRefusalError

_KEPT = 5
"""How many earlier states of a deployment can be gone back to."""

_RECORD = "record.json"
_ANSWERS_WITHIN = 60.0
_READY_WITHIN = 15.0


@dataclass(frozen=True)
class Record:
    """What a machine knows of a deployment.

    Attributes:
        deployment: Its name: the mark.
        engine: The path of the engine that runs it.
        applied: The body of its unit.
        earlier: Those that were applied before, the oldest first.
        brought: The images that were pulled or sent for it, and were not there before.
    """

    deployment: str
    engine: str
    applied: Mapping[str, Any]
    earlier: Sequence[Mapping[str, Any]] = ()
    brought: Sequence[str] = ()


@dataclass(frozen=True)
class SshPlatform:
    """A machine.

    Attributes:
        machine: The connection.
        options: Where deployments listen, and as whom they run.
    """

    machine: Machine
    options: SshOptions

    def find(self, resource: Resource) -> Found | None:
        """The unit, as the record beside it tells it; the secrets, as their files hold them."""
        if resource.kind == SECRETS:
            return self._secrets(resource.name)
        return self._unit(resource.name)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """Write the secrets; bring the image, and start the unit."""
        if resource.kind == SECRETS:
            self._write_secrets(resource.name, resource.body)
        else:
            self._start(resource.name, resource.body, ())
        return {}

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Write the secrets anew; start the unit anew, and remember what it was."""
        record = self._record(resource.name)
        if resource.kind == SECRETS:
            self._write_secrets(resource.name, resource.body)
            if record is not None:
                self._control(f"try-restart {unit_name(found.name)}")
        else:
            assert record is not None  # else it would not have been found as ours
            earlier = record.earlier
            changed = record.applied != resource.body
            self._start(resource.name, resource.body, (*earlier, record.applied) if changed else earlier)
        return {}

    def delete(self, found: Found) -> None:
        """Stop the unit and remove it, with its images; remove the secrets."""
        folder = self._place().folder(found.name)
        if found.kind == SECRETS:
            secrets = f"{_quoted(folder)}/secrets"
            self.machine.run(f"rm -rf {secrets} {secrets}.new; rmdir {_quoted(folder)} 2>/dev/null || true")
            return
        record = self._record(found.name)
        if record is None:
            return
        unit, place = unit_name(found.name), self._place(record.engine)
        # The engine may have been ended between making a container and seeing it off.
        left = f"{_quoted(record.engine)} rm --force {unit.removesuffix('.service')} >/dev/null 2>&1 || true"
        images = " ".join(map(_quoted, record.brought))
        removed = f"; {_quoted(record.engine)} rmi {images} >/dev/null 2>&1 || true" if images else ""
        self.machine.run(
            f"{self._systemctl} disable --now {unit} >/dev/null 2>&1 || true; {left}; "
            f"rm -f {_quoted(place.unit(found.name))}; {self._systemctl} daemon-reload; "
            f"{self._systemctl} reset-failed {unit} >/dev/null 2>&1 || true{removed}; "
            f"rm -f {_quoted(folder)}/{_RECORD} {_quoted(folder)}/environment; "
            f"rmdir {_quoted(folder)} 2>/dev/null || true"
        )

    def owned(self, deployment: str) -> Sequence[Found]:
        """The unit, then the secrets that it reads."""
        unit = self._unit(deployment)
        ours = unit if unit is not None and unit.deployment else None
        return [found for found in (ours, self._secrets(deployment)) if found is not None]

    def deployments(self) -> Sequence[Status]:
        """Those of which there is a record."""
        found = self.machine.run(f"ls -1 {_quoted(self._place().deployments)} 2>/dev/null || true").split()
        statuses = (self.status(name) for name in found)
        return [status for status in statuses if status is not None]

    def status(self, deployment: str) -> Status | None:
        """What systemd says of the unit, and the server of itself."""
        record = self._record(deployment)
        if record is None:
            return None
        state, detail = self._state(deployment, record)
        address, _, port = record.applied["listen"].rpartition(":")
        url = "" if address.startswith("127.") else f"http://{self._reached(address)}:{port}"
        image = record.applied["image"]
        return Status(deployment, SshTarget.name, state, url, image, int(state == "healthy"), 1, detail)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the container has written, from the journal.

        Raises:
            NotDeployedError: there is none.
        """
        self._present(deployment)
        followed = " --follow" if follow else ""
        yield from self.machine.lines(f"{self._journal(deployment, lines)}{followed}")

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """Those that the record tells of."""
        record = self._record(deployment)
        bodies = () if record is None else (*record.earlier, record.applied)
        return [
            Revision(str(number), body["image"], number == len(bodies))
            for number, body in enumerate(bodies, start=1)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Start the unit as it was; what came after it is forgotten."""
        record = self._present(deployment)
        number = int(revision.id)
        self._start(deployment, record.earlier[number - 1], record.earlier[: number - 1])

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Over HTTP, through the connection.

        Raises:
            RemoteRefusalError: the answer is an error.
            PlatformUnreachableError: there is none.
        """
        record = self._present(deployment)
        address = self._forwarded(record)
        status, content = self.machine.request(address, "POST", PREDICT, body, _ANSWERS_WITHIN)
        if status != 200:
            said = content.decode(errors="replace")
            raise RemoteRefusalError(f"the deployment answered {status}: {said}", where=self.machine.host)
        return content

    # What the machine is asked.

    @property
    def _systemctl(self) -> str:
        return "systemctl --user" if self.options.scope == "user" else "systemctl"

    def _control(self, words: str) -> str:
        return self.machine.run(f"{self._systemctl} {words}")

    def _journal(self, deployment: str, lines: int) -> str:
        unit = "--user-unit" if self.options.scope == "user" else "--unit"
        return f"journalctl {unit} {unit_name(deployment)} --output cat --no-pager --lines {lines}"

    def _place(self, engine: str = "") -> Place:
        return Place(self.options.scope, self.machine.facts.home, engine)

    def _engine(self) -> str:
        """The engine that new containers run with.

        Raises:
            DeployError: there is none.
        """
        wanted = [self.options.engine] if self.options.engine else ENGINES
        for path in self.machine.facts.engines:
            if path.rpartition("/")[2] in wanted:
                return path
        raise DeployError(
            f"{' and '.join(wanted)} {'is' if len(wanted) == 1 else 'are'} missing there",
            where=self.machine.host,
            hint="install podman on the machine: its distribution has it",
        )

    def _record(self, name: str) -> Record | None:
        file = f"{self._place().folder(name)}/{_RECORD}"
        text = self.machine.run(f"[ ! -e {_quoted(file)} ] || cat {_quoted(file)}")
        if not text:
            return None
        try:
            return Record(**json.loads(text))
        except (TypeError, ValueError):
            raise DeployError(
                f"{file} is damaged", where=self.machine.host, hint="remove it and the unit, and deploy again"
            ) from None

    def _present(self, deployment: str) -> Record:
        record = self._record(deployment)
        if record is None:
            raise NotDeployedError(f"nothing is deployed under the name '{deployment}'")
        return record

    def _unit(self, name: str) -> Found | None:
        """The unit: with a line more in its body where it is not what we wrote."""
        file = self._place().unit(name)
        text = self.machine.run(f"[ ! -e {_quoted(file)} ] || cat {_quoted(file)}")
        record = self._record(name)
        if record is None:
            return Found(UNIT, name, {}) if text else None
        body = dict(record.applied)
        if text != unit_text(name, body, self._place(record.engine)):
            body["unit"] = "is not what Truss wrote"
        return Found(UNIT, name, body, record.deployment)

    def _secrets(self, name: str) -> Found | None:
        """What there is of them: nothing in them where writing them broke off."""
        secrets = f"{_quoted(self._place().folder(name))}/secrets"
        archive = self.machine.output(
            f"if [ -d {secrets} ]; then tar -C {secrets} -cf - .; "
            f"elif [ -d {secrets}.new ]; then tar -cf - --files-from /dev/null; fi"
        )
        if not archive:
            return None
        return Found(SECRETS, name, dict(_contents(archive)), name)

    def _write_secrets(self, name: str, values: Mapping[str, str]) -> None:
        """The files can be read by any user, as whom a container may run; the folder above them cannot."""
        folder = _quoted(self._place().folder(name))
        self.machine.run(
            f"mkdir -p {folder}; rm -rf {folder}/secrets.new; mkdir -m 755 {folder}/secrets.new; "
            f"tar -C {folder}/secrets.new -xpof -; chmod 755 {folder}/secrets.new; "
            f"rm -rf {folder}/secrets; mv {folder}/secrets.new {folder}/secrets",
            _archive({secret: (value, 0o444) for secret, value in values.items()}),
        )

    def _start(self, name: str, body: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> None:
        engine = self._engine()
        before = self._record(name)
        kept = () if before is None else tuple(before.brought)
        brought = (*kept, body["image"]) if self._bring(engine, body["image"]) else kept
        place, unit = self._place(engine), unit_name(name)
        record = {
            "deployment": name,
            "engine": engine,
            "applied": body,
            "earlier": earlier[-_KEPT:],
            "brought": list(dict.fromkeys(brought)),
        }
        files = {
            "environment": (environment_text(body), 0o600),
            _RECORD: (json.dumps(record, indent=1), 0o600),
            unit: (unit_text(name, body, place), 0o644),
        }
        folder, linger = _quoted(place.folder(name)), ""
        if self.options.scope == "user":
            linger = f"{LINGER}; "
        self.machine.run(
            f"mkdir -p {folder} {_quoted(place.units)}; tar -C {folder} -xpof -; "
            f"mv {folder}/{unit} {_quoted(place.unit(name))}; {linger}{self._systemctl} daemon-reload; "
            f"{self._systemctl} enable {unit} 2>/dev/null; {self._systemctl} restart {unit}",
            _archive(files),
        )

    def _bring(self, engine: str, image: str) -> bool:
        """Have an image on the machine; gives whether it was not there before."""
        quoted = f"{_quoted(engine)} image inspect {_quoted(image)} >/dev/null 2>&1"
        if self.machine.run(f"{quoted} && echo yes || echo no").strip() == "yes":
            return False
        source = None if "@" in image or self.options.repository else _local_engine(image)
        if source is None:
            self.machine.run(f"{_quoted(engine)} pull --quiet {_quoted(image)}")
            return True
        with subprocess.Popen([*source.words, "save", image], stdout=subprocess.PIPE) as saved:
            self.machine.send(saved, f"{_quoted(engine)} load")
        return True

    def _forwarded(self, record: Record) -> str:
        """The address at which the machine itself reaches a deployment."""
        address, _, port = record.applied["listen"].rpartition(":")
        return f"{'127.0.0.1' if address == '0.0.0.0' else address}:{port}"  # noqa: S104  # what the user chose

    def _reached(self, address: str) -> str:
        return self.machine.address if address == "0.0.0.0" else address  # noqa: S104  # what the user chose

    def _state(self, name: str, record: Record) -> tuple[State, tuple[str, ...]]:
        told = self._control(f"show {unit_name(name)} --property ActiveState,SubState,ExecMainStatus")
        facts = dict(line.partition("=")[::2] for line in told.splitlines())
        if facts.get("ActiveState") == "active":
            return self._readiness(record)
        if facts.get("SubState") == "auto-restart" or facts.get("ActiveState") == "failed":
            said = self.machine.run(self._journal(name, 20)).strip().splitlines()
            last = [line for line in said if not line.startswith(unit_name(name))][-1:]
            return "failed", (f"it ends again and again, last with {facts.get('ExecMainStatus')}", *last)
        if facts.get("ActiveState") in ("activating", "reloading"):
            return "starting", ()
        return "stopped", (f"its unit is {facts.get('ActiveState')}",)

    def _readiness(self, record: Record) -> tuple[State, tuple[str, ...]]:
        try:
            status, said = self.machine.request(self._forwarded(record), "GET", READY, b"", _READY_WITHIN)
        except PlatformUnreachableError:
            return "starting", ()
        if status == 200:
            return "healthy", ()
        return "starting", (said.decode(errors="replace").strip()[:200],)


def _local_engine(image: str) -> Program | None:
    """The engine of this machine that has an image; None: none has."""
    for name in reversed(ENGINES):
        program = Program((name,))
        if shutil.which(name) is not None and program.succeeds(["image", "inspect", image]):
            return program
    return None


def _archive(files: Mapping[str, tuple[str, int]]) -> bytes:
    """Files with their modes, as an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (text, mode) in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _contents(archive: bytes) -> Iterator[tuple[str, str]]:
    """The files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for entry in opened:
            file = opened.extractfile(entry)
            if file is not None:
                yield entry.name.removeprefix("./"), file.read().decode()


def _quoted(path: str) -> str:
    return shlex.quote(path)
