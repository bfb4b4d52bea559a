"""Run a real container engine, dockerd, for the length of a test run."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

PROGRAM = "dockerd"


@dataclass(frozen=True)
class RunningEngine:
    """A container engine.

    Attributes:
        host: Its address, as `DOCKER_HOST` takes it.
    """

    host: str

    def docker(self, *words: str | Path, check: bool = True, both: bool = False) -> str:
        """Run `docker WORDS...` and return what it prints; with `both`, what it says on standard error too.

        Raises:
            AssertionError: it failed, and `check` is set; with what it said.
        """
        done = subprocess.run(
            ["docker", "--host", self.host, *map(str, words)],  # noqa: S607 - wherever it is installed
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, (
            f"docker {' '.join(map(str, words))}:\n{done.stderr or done.stdout}"
        )
        return done.stdout.strip()

    def program_with_buildkit(self, folder: Path) -> str | None:
        """The first `docker` of this machine that can ask this engine for BuildKit; None when none can.

        Args:
            folder: Where to write something to build; is made.
        """
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        for program in dict.fromkeys(filter(None, (shutil.which("docker"), "/usr/bin/docker"))):
            done = subprocess.run(
                [program, "--host", self.host, "build", "--quiet", str(folder)],
                env={**os.environ, "DOCKER_BUILDKIT": "1"},
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return program
        return None

    @contextlib.contextmanager
    def container(self, image: str, *options: str, arguments: Sequence[str] = ()) -> Iterator[str]:
        """Run an image on the host's network until the block ends; gives the container's id."""
        name = self.docker("run", "--detach", "--network", "host", *options, image, *arguments)
        try:
            yield name
        finally:
            self.docker("rm", "--force", name)


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, timeout: float = 60) -> None:
    """Return once the server there says that it is ready.

    Raises:
        AssertionError: it does not in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(OSError), urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - loopback
            if answer.status == 200:
                return
        assert time.monotonic() < deadline, f"{url} was not ready after {timeout} s"
        time.sleep(0.05)


@contextlib.contextmanager
def running_engine(folder: Path, timeout: float = 60) -> Iterator[RunningEngine]:
    """Run an engine of our own, apart from others that the machine may have, their networks included.

    Args:
        folder: Where it keeps images and containers; is made. Needs root.
        timeout: Seconds to wait for it.

    Raises:
        AssertionError: it does not start in time; with its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address, log = folder / "docker.sock", folder / "log"
    words: list[str | Path] = [PROGRAM, "--data-root", folder / "data", "--exec-root", folder / "exec"]
    words += ["--host", f"unix://{address}", "--pidfile", folder / "pid"]
    with _bridge() as bridge, log.open("w") as out:
        words += ["--bridge", bridge] if bridge else []
        engine = RunningEngine(f"unix://{address}")
        with _alone():
            process = subprocess.Popen(words, stdout=out, stderr=out)
            _wait_for(engine, process, log, timeout)
        try:
            yield engine
        finally:
            with _alone():
                process.terminate()
                process.wait(30)
            # What it leaves mounted keeps the folder from being removed.
            for left in (folder / "exec" / "netns").glob("*"):
                subprocess.run(["umount", left], check=False, capture_output=True)  # noqa: S607 - as above


def _wait_for(engine: RunningEngine, process: subprocess.Popen[bytes], log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    try:
        while not engine.docker("info", "--format", "{{.ServerVersion}}", check=False):
            assert process.poll() is None, f"the engine ended:\n{log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"no engine after {timeout} s:\n{log.read_text()[-2000:]}"
            time.sleep(0.1)
    except BaseException:
        process.kill()
        process.wait()
        raise


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let no other engine start or end meanwhile: they write the machine's one table of packet filters."""
    with (Path(tempfile.gettempdir()) / "truss-engine.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """A network bridge for an engine; empty where none can be made, and the engine takes its usual one.

    Engines that share a bridge give the same addresses to their containers, which then answer for each other.
    """
    if not shutil.which("ip"):
        yield ""
        return
    number = next(_bridges)
    name = f"truss{os.getpid()}x{number}"
    low = os.getpid() * 4 + number
    address = f"10.{192 + low // 256 % 64}.{low % 256}.1/24"
    _ip("link", "add", "name", name, "type", "bridge")
    try:
        _ip("address", "add", address, "dev", name)
        _ip("link", "set", name, "up")
        yield name
    finally:
        _ip("link", "delete", name)


_bridges = itertools.count()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S607 - wherever it is installed
