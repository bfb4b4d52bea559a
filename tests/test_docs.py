"""The pages agree with the code and with each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATORS = sorted((ROOT / "scripts").glob("reference_*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_reference_has_its_generators():
    assert {path.stem for path in GENERATORS} == {
        "reference_cli",
        "reference_config",
        "reference_errors",
        "reference_frameworks",
        "reference_permissions",
        "reference_targets",
    }


# The table of frameworks runs every model in it, which `scripts/docs --check` does once for all.
@pytest.mark.parametrize(
    "generator", [path for path in GENERATORS if path.stem != "reference_frameworks"], ids=name
)
def test_generated_pages_are_current(generator):
    ended = subprocess.run(
        [sys.executable, generator, "--check"], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_a_page_that_is_not_current_is_noticed(tmp_path):
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    for script in ("generated.py", "reference_errors.py"):
        (tmp_path / "scripts" / script).write_text((ROOT / "scripts" / script).read_text())
    command = [sys.executable, tmp_path / "scripts" / "reference_errors.py"]
    assert subprocess.run([*command, "--check"], capture_output=True, timeout=60, check=False).returncode == 1
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    page = tmp_path / "docs" / "reference" / "errors.md"
    assert subprocess.run([*command, "--check"], capture_output=True, timeout=60, check=False).returncode == 0
    page.write_text(page.read_text() + "edited by hand\n")
    assert subprocess.run([*command, "--check"], capture_output=True, timeout=60, check=False).returncode == 1


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    absent = [
        target
        for target in targets
        if target and not target.startswith(("http://", "https://")) and not (page.parent / target).exists()
    ]
    assert not absent


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    folder = ROOT / "docs"
    pages = {str(path.relative_to(folder)) for path in folder.rglob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_changelog_fragments_are_named_as_their_readme_says():
    fragments = [path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    wrong = [
        fragment
        for fragment in fragments
        if not re.fullmatch(r"[\w+-]+\.(added|changed|fixed)\.md", fragment)
    ]
    assert not wrong


def test_the_changelog_can_be_built():
    pytest.importorskip("towncrier")
    ended = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "0.0.0", "--date", "today"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "## 0.0.0 (today)" in ended.stdout


def test_scripts_are_plain_shell():
    for script in (ROOT / "scripts").iterdir():
        if script.is_file() and script.suffix == "":
            assert script.read_text().startswith("#!/bin/sh\n"), script
            ended = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stderr
