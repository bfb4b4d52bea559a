"""The same image by Docker: a Truss's build context, with its wheels installed from a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import PYTHON
from truss.testing.engine import RunningEngine
from truss.testing.images import Bench

_COPIED = "COPY site /opt/truss/site"
_INSTALLED = (
    "RUN --mount=type=bind,source=wheels,target=/wheels python3 /wheels/{pip}/pip install --no-index "
    "--no-deps --no-compile --no-cache-dir --find-links=/wheels --target=/opt/truss/site "
    "-r /wheels/requirements.txt"
)


@dataclass(frozen=True)
class Context:
    """A folder that `docker build` takes.

    Attributes:
        folder: The folder; its wheels are there already.
        packages: What is installed from them, `name==version` each.
    """

    folder: Path
    packages: frozenset[str]

    def wheel_bytes(self, leaving_out: frozenset[str]) -> int:
        """The size of the wheels as they are published, but for those of some packages."""
        left_out = {_key(*package.split("==")) for package in leaving_out}
        sizes = {_key(*file.name.split("-")[:2]): file.stat().st_size for file in self._wheels()}
        return sum(size for key, size in sizes.items() if key[0] != "pip" and key not in left_out)

    def _wheels(self) -> list[Path]:
        return sorted((self.folder / "wheels").glob("*.whl"))


@dataclass(frozen=True)
class Docker:
    """An engine with BuildKit.

    Attributes:
        engine: The engine.
        program: A command line that can ask it for BuildKit.
    """

    engine: RunningEngine
    program: str

    def build_and_push(self, context: Context, name: str, *, cached: bool) -> float:
        """The seconds that both take."""
        again = () if cached else ("--no-cache",)
        begun = time.perf_counter()
        self.run("build", "--quiet", *again, "--tag", name, str(context.folder))
        self.run("push", "--quiet", name)
        return time.perf_counter() - begun

    def run(self, *words: str) -> None:
        """Run `docker WORDS...`.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        done = subprocess.run(
            [self.program, "--host", self.engine.host, *words],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"docker {words[0]} failed:\n{done.stderr}")


def docker_of(engine: RunningEngine, folder: Path) -> Docker:
    """The engine with the first `docker` of this machine that has BuildKit.

    Raises:
        RuntimeError: there is none.
    """
    program = engine.program_with_buildkit(folder)
    if program is None:
        raise RuntimeError("no docker with BuildKit: install Debian's docker.io, or Docker with buildx")
    return Docker(engine, program)


def context_of(truss_dir: Path, folder: Path, bench: Bench) -> Context:
    """The build context of a Truss, with its wheels as they are published in place of their files."""
    done = bench.run("build-context", truss_dir, folder)
    if done.returncode:
        raise RuntimeError(done.stderr)
    names = [path.name.removesuffix(".dist-info") for path in (folder / "site").glob("*.dist-info")]
    packages = frozenset("==".join(name.split("-")) for name in names)
    shutil.rmtree(folder / "site")
    wheels = folder / "wheels"
    wheels.mkdir()
    (wheels / "requirements.txt").write_text("".join(f"{package}\n" for package in sorted(packages)))
    words = ["download", "--quiet", "--quiet", "--only-binary", ":all:", "--no-deps", "--dest", str(wheels)]
    subprocess.run(
        [PYTHON, "-m", "pip", *words, "-r", str(wheels / "requirements.txt"), "pip"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (pip,) = wheels.glob("pip-*.whl")
    dockerfile = folder / "Dockerfile"
    text = dockerfile.read_text()
    assert _COPIED in text
    dockerfile.write_text(text.replace(_COPIED, _INSTALLED.format(pip=pip.name)))
    return Context(folder, packages)


def _key(name: str, version: str) -> tuple[str, str]:
    return name.lower().replace("-", "_").replace(".", "_"), version
