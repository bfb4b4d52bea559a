"""The guide's target, installed from the guide's own text as a package outside of Truss."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "writing-a-target.md"
BLOCK = re.compile(r'^```\w+ title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages that holds the guide's, with its metadata."""
    site = tmp_path_factory.mktemp("site")
    for block in BLOCK.finditer(GUIDE.read_text("utf-8")):
        with (site / block["path"]).open("a") as file:
            file.write(block["text"])
    project = (site / "pyproject.toml").read_text()
    (entry_point,) = re.findall(r'entry-points\."truss\.targets"\]\n(\w+) = "(.+)"', project)
    info = site / "shelf_truss-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-truss\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[truss.targets]\n{} = {}\n".format(*entry_point))
    return site


def python(site, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("TRUSS_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_line_finds_the_target_through_its_entry_point(site):
    assert "shelf  the company's scheduler" in python(site, "-m", "truss.cli", "targets")
    assert "--copies (whole number)" in python(site, "-m", "truss.cli", "targets", "shelf")


def test_the_target_passes_the_suite(site):
    output = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shelf_truss.py")
    assert re.search(r"\b18 passed", output)


def test_it_is_deployed_with_the_command_line(site, tmp_path):
    truss = tmp_path / "iris"
    (truss / "model").mkdir(parents=True)
    (truss / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return 1\n"
    )
    (truss / "config.yaml").write_text(f"deploy: {{shelf: {{folder: '{tmp_path / 'shelf'}'}}}}\n")
    words = ("-m", "truss.cli")
    image = f"registry.example.com/iris@sha256:{'1' * 64}"
    assert "+ service/iris" in python(site, *words, "deploy", truss, "--image", image, "--plan")
    assert "iris  healthy" in python(site, *words, "deploy", truss, "--image", image, "--yes")
    assert "iris  healthy" in python(site, *words, "status", truss)
    assert "service/iris" in python(site, *words, "destroy", truss, "--yes")
