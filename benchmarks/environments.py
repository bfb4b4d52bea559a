"""The peers' virtual environments, made on first use and made again when their requirements change."""

from __future__ import annotations

import os
import shutil
import subprocess

from benchmarks.contender import Environment
from benchmarks.places import PYTHON, ROOT

_UV = PYTHON.parent / "uv"


def ensure(environment: Environment) -> None:
    """Make the environment unless it is there as it is wanted."""
    if environment.script:
        subprocess.run(["sh", *environment.script], cwd=ROOT, check=True)
        return
    stamp = environment.path / ".installed"
    wanted = "\n".join(environment.requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {environment.name}", flush=True)
    shutil.rmtree(environment.path, ignore_errors=True)
    subprocess.run([_UV, "venv", "--quiet", "--python", PYTHON, environment.path], check=True)
    subprocess.run(
        [
            _UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            environment.python,
            *_places(),
            *environment.requirements,
        ],
        check=True,
    )
    stamp.write_text(wanted)


def version(environment: Environment | None, package: str | None) -> str | None:
    """The installed version of a distribution."""
    if package is None:
        return None
    python = environment.python if environment else PYTHON
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    done = subprocess.run([python, "-c", code, package], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _places() -> list[str]:
    """Where packages come from: uv reads its own variables only; these are pip's."""
    index = os.environ.get("PIP_INDEX_URL")
    places = ["--index-url", index] if index else []
    for place in os.environ.get("PIP_FIND_LINKS", "").split():
        places += ["--find-links", place]
    return places
