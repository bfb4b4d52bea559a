"""What production loads: the runtime's own packages, and no more than `truss serve` needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from truss.packaging.owners import module_owners

RUNTIME = Path(__file__).resolve().parents[2] / "src" / "truss" / "runtime"


def _loaded_by(code: str) -> set[str]:
    """The top-level modules that a bare interpreter holds after running `code`."""
    report = (
        "import json, sys; before = set(sys.modules)\n"
        + code
        + "\nprint(json.dumps([*{*sys.modules} - before]))"
    )
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def _distributions(modules: set[str]) -> set[str]:
    """The installed distributions that the modules come from, besides Truss itself."""
    owners = module_owners()
    names = {owner for module in modules for owner in owners.get(module.partition(".")[0], [])}
    return {_normal(name) for name in names} - {"truss"}


def _required_by(name: str, extras: frozenset[str]) -> set[str]:
    """The distributions that `name` with `extras` requires, followed to the end."""
    found: set[str] = set()
    pending = [name]
    while pending:
        for line in requires(pending.pop()) or []:
            requirement, _, marker = line.partition(";")
            extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
            if extra and extra[1] not in extras:
                continue
            dependency = _normal(re.split(r"[^\w.-]", requirement.strip())[0])
            if dependency not in found and _installed(dependency):
                found.add(dependency)
                pending.append(dependency)
    return found


def _installed(name: str) -> bool:
    return any(name == _normal(owner) for owners in module_owners().values() for owner in owners)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_runtime_loads_its_extra_and_nothing_else() -> None:
    modules = [
        ".".join(path.relative_to(RUNTIME.parents[1]).with_suffix("").parts)
        for path in sorted(RUNTIME.rglob("*.py"))
        if path.stem not in ("__init__", "__main__")
    ]
    loaded = _loaded_by("\n".join(f"import {module}" for module in modules))
    allowed = _required_by("truss", frozenset({"runtime"}))
    assert _distributions(loaded) <= allowed


def test_the_runtime_loads_no_packaging_code_and_no_drawing() -> None:
    loaded = _loaded_by("import truss.runtime.serve, truss.runtime.worker")
    rooms = {name for name in loaded if name.startswith("truss.")}
    for room in ("frameworks", "packaging", "handle", "cli", "oci", "build", "deploy"):
        assert not {name for name in rooms if name.split(".")[1] == room}
    assert "rich" not in loaded


@pytest.mark.parametrize("statement", ["import truss", "import truss.errors", "import truss.version"])
def test_importing_truss_loads_no_third_party_module(statement: str) -> None:
    loaded = _loaded_by(statement)
    assert not _distributions(loaded)


def test_help_loads_what_it_prints() -> None:
    loaded = _loaded_by(
        "from truss.cli import main\n"
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    assert main(['--help']) == 0"
    )
    ours = {name for name in loaded if name.partition(".")[0] == "truss"}
    assert ours - {"truss.version"} == {
        "truss",
        "truss.cli",
        "truss.cli.group",
        "truss.cli.failure",
        "truss.errors",
    }
    assert _distributions(loaded) == {"click"}
