"""A container engine, Docker or podman, spoken to through its own program."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from truss.errors import EngineError

PROGRAMS = ("docker", "podman")

LABEL = "io.truss.container"
"""Marks the containers that we started; its value is the Truss's folder."""

IMAGE_LABEL = "io.truss.schema"
"""Marks the images that we made."""

TRUSS_LABEL = "io.truss.digest"
"""Says of which Truss an image is."""

_PROXIES = tuple(
    name for scheme in ("HTTP", "HTTPS", "NO") for name in (f"{scheme}_PROXY", f"{scheme.lower()}_proxy")
)

_SAYS_NOTHING = re.compile(r"Error: failed to start containers: |(Run|See) '.* --help'")
"""What Docker ends its errors with, after the line that says what is wrong."""

_REFUSALS = ("unauthorized", "authentication required", "no basic auth credentials", "requested access to")
"""What registries say to somebody whom they do not know, as engines pass it on."""

_CORRECT = "correct system_packages, build.dockerfile_fragment or build_commands in config.yaml"
_SECRETS_NEED = "; with Docker, secrets of a build need BuildKit, the engine's part `buildx`"


@dataclass(frozen=True)
class Container:
    """A container that we started.

    Attributes:
        id: Its id, 64 hexadecimal digits.
        image: The image's name.
        truss_dir: The folder of the Truss it serves.
        state: `running`, `exited`, ...
        ports: Host ports by container port, `{"8080/tcp": 8080}`.
        mounts: Folders of this machine by their place in the container.
    """

    id: str
    image: str
    truss_dir: str
    state: str
    ports: Mapping[str, int]
    mounts: Mapping[str, Path] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Start:
    """How a container is started.

    Attributes:
        image: The image's name.
        truss_dir: The Truss, noted in a label.
        port: The port on this machine's loopback; 0 picks a free one.
        environment: Variables besides the image's.
        mounts: Folders of this machine that it may read, by their place in the container.
        gpus: Whether it gets the machine's GPUs.
        user: Whom it runs as, `uid:gid`; empty: whom the image says.
    """

    image: str
    truss_dir: Path
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    mounts: Mapping[str, Path] = field(default_factory=dict, hash=False)
    gpus: bool = False
    user: str = ""

    def words(self) -> list[str]:
        """The words after `docker` that make the container."""
        words = ["create", "--init", "--publish", f"127.0.0.1:{self.port or ''}:8080"]
        words += ["--label", f"{LABEL}={self.truss_dir}"]
        for name, value in self.environment.items():
            words += ["--env", f"{name}={value}"]
        for place, folder in self.mounts.items():
            words += ["--mount", f"type=bind,source={folder},target={place},readonly"]
        words += ["--user", self.user] if self.user else []
        return [*words, *(["--gpus", "all"] if self.gpus else []), self.image]


class Engine:
    """A container engine.

    Args:
        program: `docker` or `podman`, or a path.
    """

    def __init__(self, program: str) -> None:
        self.program = program

    def user(self) -> str:
        """Whom a container runs as to read what only the caller can, `uid:gid`.

        Podman gives a caller without rights a namespace, in which its root is the caller.
        """
        return f"{0 if self._is_podman else os.getuid()}:0"

    @property
    def _is_podman(self) -> bool:
        return Path(self.program).name.startswith("podman")

    def identity(self) -> str:
        """What tells this engine from others, by whatever program, address or context it is reached.

        Raises:
            EngineError: it cannot be asked.
        """
        return self._run(["info", "--format", "{{.Store.GraphRoot}}" if self._is_podman else "{{.ID}}"]) or ""

    def has_image(self, name: str) -> bool:
        """Whether the engine holds an image of that name."""
        return self._run(["image", "inspect", name, "--format", "{{.Id}}"], check=False) is not None

    def load(self, archive: Iterable[bytes]) -> None:
        """Take over an image from an archive (see `truss.oci.docker_archive`).

        Raises:
            EngineError: the engine refuses it.
        """
        process = subprocess.Popen(
            [self.program, "load", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        try:
            for block in archive:
                process.stdin.write(block)
        except BrokenPipeError:
            pass  # the engine has given up, and says why
        said = process.communicate()[1].decode(errors="replace")
        if process.returncode:
            raise self._error("the image could not be loaded", said)

    def build(
        self,
        context: Path,
        name: str,
        *,
        network: str = "",
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Build an image from a folder with a Dockerfile; what the engine says of it goes to stderr.

        Its commands use the proxies that this process's environment names, which stay out of the image.

        Args:
            context: The folder.
            name: What the image is called.
            network: The network that commands of the build have; empty: the engine's default.
            secrets: The values of the secrets that the Dockerfile mounts, by their ids.

        Raises:
            EngineError: the build failed.
        """
        # Docker's older builder would keep the container of a command that fails.
        words = [self.program, "build", "--force-rm", "--tag", name]
        words += ["--network", network] if network else []
        words += self._proxies()
        # Docker's older builder knows no secrets.
        variables = _with_buildkit() if secrets else None
        with _as_files(secrets) as files:
            words += [f"--secret=id={secret},src={file}" for secret, file in files.items()]
            # By its number: in a notebook, Python's own stderr is no file.
            done = subprocess.run([*words, str(context)], stdout=2, env=variables, check=False)
        if done.returncode:
            raise EngineError(
                f"the build of {name} failed: see above",
                where=str(context / "Dockerfile"),
                hint=_CORRECT + (_SECRETS_NEED if secrets else ""),
            )

    def mounts_secrets(self) -> bool:
        """Whether its builds can show a secret to a command: podman's can, Docker's by BuildKit."""
        if self._is_podman:
            return True
        done = subprocess.run(
            [self.program, "build", "--help"],
            env=_with_buildkit(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0 and "--secret" in done.stdout

    def _proxies(self) -> list[str]:
        """Options that hand on the proxies; podman does it by itself.

        https://docs.docker.com/reference/dockerfile/#predefined-args: they are in no history.
        """
        if self._is_podman:
            return []
        return [f"--build-arg={name}" for name in _PROXIES if os.environ.get(name)]

    def tag(self, name: str, other: str) -> None:
        """Give an image another name besides.

        Raises:
            EngineError: the engine refuses, e.g. because it is no name.
        """
        self._run(["tag", name, other])

    def push(self, name: str) -> str:
        """Push an image to the registry that its name says; gives its digest.

        Raises:
            EngineError: the engine or the registry refuses.
        """
        self._run(["push", name])
        found = json.loads(self._run(["image", "inspect", name]) or "[]")
        repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        digests = [text for text in found[0].get("RepoDigests") or [] if text.startswith(f"{repository}@")]
        return str(digests[0]).rpartition("@")[2] if digests else ""

    def save(self, name: str, file: Path) -> None:
        """Write an image as an archive, as `load` takes it.

        Raises:
            EngineError: the engine refuses.
        """
        self._run(["save", "--output", str(file), name])

    def start(self, start: Start) -> Container:
        """Start a container; one that cannot be started does not stay behind.

        Raises:
            EngineError: the engine refuses, e.g. because the port is taken.
        """
        made = self._run(start.words())
        assert made is not None
        name = made.split()[-1]
        try:
            self._run(["start", name])
        except EngineError:
            self._run(["rm", "--force", name], check=False)
            raise
        return self.container(name)

    def container(self, name: str) -> Container:
        """What the engine says of a container.

        Raises:
            EngineError: there is none.
        """
        found = self._run(["inspect", "--type", "container", name])
        assert found is not None
        return _container(json.loads(found)[0])

    def containers(self, truss_dir: Path | None = None, *, running_only: bool = False) -> list[Container]:
        """The containers that we started, the newest first; of one Truss, or of all.

        Raises:
            EngineError: the engine cannot be asked.
        """
        label = LABEL if truss_dir is None else f"{LABEL}={truss_dir}"
        words = ["ps", "--quiet", "--no-trunc", "--filter", f"label={label}"]
        found = self._run(words if running_only else [*words, "--all"])
        return [self.container(name) for name in (found or "").split()]

    def images(self, truss_digest: str = "") -> list[dict[str, Any]]:
        """The images that we made, of one Truss or of all: their names, id and size in bytes.

        Args:
            truss_digest: What names exactly the Truss (`truss.build.own`); empty: all.
        """
        label = f"{TRUSS_LABEL}={truss_digest}" if truss_digest else IMAGE_LABEL
        found = self._run(["image", "ls", "--quiet", "--no-trunc", "--filter", f"label={label}"])
        names = list(dict.fromkeys((found or "").split()))
        described = json.loads(self._run(["image", "inspect", *names]) or "[]") if names else []
        return [
            {"names": image.get("RepoTags") or [], "id": image["Id"], "bytes": image["Size"]}
            for image in described
        ]

    def logs(self, container: Container, *, follow: bool = False) -> Iterator[str]:
        """The lines that a container has written; with `follow` also those that it is yet to write."""
        process = subprocess.Popen(
            [self.program, "logs", *(["--follow"] if follow else []), container.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        try:
            yield from process.stdout
        finally:
            process.terminate()
            process.wait()

    def stop(self, container: Container, seconds: int = 35) -> None:
        """Stop a container, giving it time to answer what it accepted, and remove it.

        Raises:
            EngineError: the engine refuses.
        """
        self._run(["stop", "--time", str(seconds), container.id])
        self._run(["rm", "--force", container.id])

    def _run(self, words: Sequence[str], *, check: bool = True) -> str | None:
        """What the program prints; None when it fails and `check` is not set."""
        try:
            done = subprocess.run([self.program, *words], capture_output=True, text=True, check=False)
        except OSError as error:
            raise self._error("the container engine cannot be run", str(error)) from error
        if done.returncode == 0:
            return done.stdout.strip()
        if check:
            raise self._error(f"`{Path(self.program).name} {words[0]}` failed", done.stderr)
        return None

    def _error(self, what: str, said: str) -> EngineError:
        lines = [line for line in said.splitlines() if line.strip() and not _SAYS_NOTHING.match(line)]
        reason = lines[-1].strip() if lines else "it says nothing"
        return EngineError(f"{what}: {reason}", hint=_hint(said))


def find_engine(program: str | None = None) -> Engine:
    """The container engine of this machine.

    Args:
        program: Which; by default Docker, else podman.

    Raises:
        EngineError: there is none.
    """
    for name in (program,) if program else PROGRAMS:
        if shutil.which(name):
            return Engine(name)
    raise EngineError(
        f"there is no container engine '{program}' here" if program else "there is no container engine here",
        hint="install Docker or podman, or name where it is; `truss serve` and `truss build` need none",
    )


def _with_buildkit() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1"}


@contextlib.contextmanager
def _as_files(secrets: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """Files of the secrets' values, which only this user can read and which are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, str(number)) for number, name in enumerate(secrets)}
        for name, file in files.items():
            file.write_text(secrets[name], encoding="utf-8")
        yield files


def _container(found: dict[str, Any]) -> Container:
    bound = (found.get("NetworkSettings") or {}).get("Ports") or {}
    ports = {name: int(places[0]["HostPort"]) for name, places in bound.items() if places}
    labels = found["Config"].get("Labels") or {}
    image = found["Config"].get("Image") or found.get("ImageName", "")
    mounts = {
        one["Destination"]: Path(one["Source"]) for one in found.get("Mounts") or () if one.get("Source")
    }
    return Container(found["Id"], image, labels.get(LABEL, ""), found["State"]["Status"], ports, mounts)


def _hint(said: str) -> str:
    lowered = said.lower()
    if "port is already allocated" in lowered or "address already in use" in lowered:
        return "another program uses the port: stop it, or choose another with --port"
    if "cannot connect" in lowered or "daemon running" in lowered:
        return "start the engine, or name it with DOCKER_HOST"
    if any(text in lowered for text in _REFUSALS):
        return "log in as somebody who may write there: `docker login`, or `podman login`"
    if "no space left on device" in lowered:
        return "free some space, or have the engine do so: `docker system prune`"
    if "permission denied" in lowered:
        return "give your user the right to use the engine, e.g. membership of the group docker"
    if "gpu" in lowered or "device driver" in lowered:
        return "the engine needs the NVIDIA container toolkit to hand on GPUs"
    return "see what the engine says"
