"""Environments made for real: what they hold, when they are made, and what a failure leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from truss.config import parse_config
from truss.environments import ensure_environment, wanted_by
from truss.environments.kept import CACHE_VARIABLE, cache_dir
from truss.errors import EnvironmentBuildError

network = pytest.mark.network

SMALL = "requirements: [iniconfig==2.0.0]"


def wanted(folder: Path, text: str = SMALL, **variables: str):
    return wanted_by(folder, parse_config(text), None, {**os.environ, **variables})


def imports(python: Path, module: str) -> bool:
    command = [python, "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def kept(cache: Path) -> list[Path]:
    folder = cache / "environments"
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def test_the_cache_is_where_the_platform_has_caches():
    assert cache_dir({CACHE_VARIABLE: "/kept/here"}) == Path("/kept/here")
    if sys.platform != "darwin":
        assert cache_dir({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/truss")
        assert cache_dir({}) == Path.home() / ".cache" / "truss"


@network
def test_it_holds_the_requirements_and_nothing_of_this_environment(tmp_path):
    python = ensure_environment(wanted(tmp_path), tmp_path / "cache")
    assert imports(python, "iniconfig")
    assert not imports(python, "pytest")
    assert not imports(python, "truss")


@network
def test_a_second_time_asks_no_index_and_makes_nothing(tmp_path):
    first = ensure_environment(wanted(tmp_path), tmp_path / "cache")
    made = first.parents[1].stat().st_mtime_ns
    # A uv that cannot run: it is not needed.
    second = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['uv'] = None\n"
            "from pathlib import Path\n"
            "from truss.config import parse_config\n"
            "from truss.environments import ensure_environment, wanted_by\n"
            f"wanted = wanted_by(Path({str(tmp_path)!r}), parse_config({SMALL!r}), None)\n"
            f"print(ensure_environment(wanted, Path({str(tmp_path / 'cache')!r})))",
        ],
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(second.stdout.strip()) == first
    assert first.parents[1].stat().st_mtime_ns == made


@network
def test_two_wishes_that_come_to_the_same_versions_share_one(tmp_path):
    one = ensure_environment(wanted(tmp_path), tmp_path / "cache")
    two = ensure_environment(wanted(tmp_path, "requirements: ['iniconfig>=2.0,<=2.0.0']"), tmp_path / "cache")
    assert one == two


@network
def test_two_at_once_make_one(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from truss.config import parse_config\n"
        "from truss.environments import ensure_environment, wanted_by\n"
        f"wanted = wanted_by(Path({str(tmp_path)!r}), parse_config({SMALL!r}), None)\n"
        f"print(ensure_environment(wanted, Path({str(tmp_path / 'cache')!r})))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert imports(Path(answers.pop().strip()), "iniconfig")
    assert len(kept(tmp_path / "cache")) == 1


@network
def test_what_a_killed_maker_left_is_cleared_and_a_lost_python_is_replaced(tmp_path):
    cache = tmp_path / "cache"
    python = ensure_environment(wanted(tmp_path), cache)
    environment = python.parents[1]
    leftover = environment.parent / f".{environment.name}.abcd"
    (leftover / "environment").mkdir(parents=True)
    python.unlink()
    python.symlink_to(tmp_path / "removed")
    assert ensure_environment(wanted(tmp_path), cache) == python
    assert imports(python, "iniconfig")
    assert not leftover.exists()


@network
def test_a_requirements_file_counts_too(tmp_path):
    (tmp_path / "needs.txt").write_text("iniconfig==2.0.0\n")
    python = ensure_environment(wanted(tmp_path, "requirements_file: needs.txt"), tmp_path / "cache")
    assert imports(python, "iniconfig")


@network
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("requirements: [iniconfig==99.0]", "the requirements cannot be met: .*iniconfig==99.0"),
        ("requirements: [no-such-distribution-at-all]", "no-such-distribution-at-all was not found"),
        ("requirements: [iniconfig==2.0.0, iniconfig==1.1.1]", "iniconfig==1.1.1"),
        ("requirements: [iniconfig ===== 2]", "iniconfig ===== 2"),
        ("requirements: [./missing]", "missing"),
    ],
)
def test_what_cannot_be_met_is_named_and_leaves_nothing(tmp_path, text, said):
    with pytest.raises(EnvironmentBuildError, match=said):
        ensure_environment(wanted(tmp_path, text), tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@network
def test_a_package_that_cannot_be_built_leaves_no_environment(tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "setup.py").write_text(
        "import sys\nfrom setuptools import setup\n"
        "if 'bdist_wheel' in sys.argv or 'editable_wheel' in sys.argv: raise SystemExit('no compiler here')\n"
        "setup(name='broken', version='1')\n"
    )
    with pytest.raises(EnvironmentBuildError, match=r"cannot be installed: .*no compiler here"):
        ensure_environment(wanted(tmp_path, "requirements: [./broken]"), tmp_path / "cache")
    assert kept(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EnvironmentBuildError, match="cannot be written") as raised:
        ensure_environment(wanted(tmp_path), tmp_path / "cache")
    assert CACHE_VARIABLE in (raised.value.hint or "")
