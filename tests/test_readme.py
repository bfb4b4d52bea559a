"""The commands and the code of the README and the guides, run as a reader would run them.

Blocks run in order, in a folder of their own, with this environment's `truss`; a server block starts a real
server for the blocks after it, on a free port instead of 8080. Four blocks of the README are not run in
place: the quickstart runs in a copy of the repository, with an environment of its own; the test command is
what is running now, so it is compared with what CI calls; for `pip install`, the extras are looked up; and
what wants a container engine runs beside one (`e2e/test_mission_image.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from truss.testing.server import running_server

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = "sh scripts/quickstart"
TEST = "sh scripts/test"
INSTALL = "pip install '.[runtime,build,sklearn]'"
SERVE = "truss serve iris"
RUN_IMAGE = "truss run-image "
NOT_IN_PLACE = {QUICKSTART, TEST, INSTALL}


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [Block(language, text.strip()) for language, text in found]


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(folder: Path, block: Block) -> str:
    command = (
        [sys.executable, "-c", block.text] if block.language == "python" else ["sh", "-e", "-c", block.text]
    )
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, f"{block.text}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def packaged(tmp_path_factory) -> Path:
    """The folder in which the README's Python was run: it holds `iris`."""
    folder = tmp_path_factory.mktemp("readme")
    (code,) = [block for block in blocks("README.md") if block.language == "python"]
    assert "predictions" in run(folder, code)
    return folder


@pytest.fixture
def folder(packaged: Path, tmp_path: Path) -> Path:
    shutil.copytree(packaged / "iris", tmp_path / "iris")
    return tmp_path


def steps(page: str) -> list[Block]:
    """The blocks that run in place; neighbouring Python blocks are one session."""
    found: list[Block] = []
    for block in blocks(page):
        in_place = block.text not in NOT_IN_PLACE and not block.text.startswith(RUN_IMAGE)
        if not in_place or block.language not in ("sh", "python"):
            continue
        if found and block.language == found[-1].language == "python":
            block = Block("python", f"{found.pop().text}\n{block.text}")
        found.append(block)
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages show curl")
@pytest.mark.parametrize("page", ["README.md", "docs/guides/quickstart.md", "docs/guides/cli.md"])
def test_a_page_runs_from_top_to_bottom(page, folder):
    todo = steps(page)
    if any("truss.create" in step.text for step in todo):
        shutil.rmtree(folder / "iris")
    url = "http://127.0.0.1:8080"
    printed = ""
    with contextlib.ExitStack() as stack:
        server = None
        for step in todo:
            if step.text == SERVE:
                server = stack.enter_context(running_server(folder / "iris"))
            else:
                text = step.text.replace(url, server.url) if server else step.text
                printed += run(folder, Block(step.language, text))
        assert server is None or server.stop() == 0
    assert "predictions" in printed or (folder / "answer.json").exists()


def test_the_readme_is_short_and_its_two_commands_are_one_line_each():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    shell = [block.text for block in blocks("README.md") if block.language == "sh"]
    assert shell[:2] == [QUICKSTART, TEST]


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    assert code == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', f"exec {TEST}"]


def test_the_extras_of_the_install_command_exist():
    assert INSTALL in [block.text for block in blocks("README.md")]
    named = re.search(r"\[(.*)\]", INSTALL)[1].split(",")
    assert set(named) <= set(metadata("truss").get_all("Provides-Extra"))


@pytest.mark.network
def test_the_quickstart_in_a_fresh_copy(tmp_path):
    """The README's first command, with nothing but this interpreter: it makes its own environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON"))}
    ended = subprocess.run(
        QUICKSTART,
        shell=True,
        cwd=tmp_path,
        env={**plain, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "predictions" in ended.stdout
