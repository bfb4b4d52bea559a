"""The guide's adapter, installed from the guide's own text as a package outside of Truss."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "writing-a-framework.md"
BLOCK = re.compile(r'^```\w+ title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)

FIND = """
from medians import GroupMedians
from truss.frameworks.registry import framework_for
print(framework_for(GroupMedians({"a": 1.0})).name)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages that holds the guide's, with its metadata."""
    site = tmp_path_factory.mktemp("site")
    for block in BLOCK.finditer(GUIDE.read_text("utf-8")):
        path = site / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["text"])
    project = (site / "pyproject.toml").read_text()
    (entry_point,) = re.findall(r'entry-points\."truss\.frameworks"\]\n(\w+) = "(.+)"', project)
    info = site / "medians-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medians\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("medians\nmedians_truss\n")
    (info / "entry_points.txt").write_text("[truss.frameworks]\n{} = {}\n".format(*entry_point))
    return site


def python(site: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("TRUSS_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_registry_finds_the_adapter_through_its_entry_point(site):
    assert python(site, "-c", FIND).strip() == "medians"


def test_the_adapter_passes_the_suite(site):
    output = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_medians_truss.py")
    assert re.search(r"\b10 passed", output)
