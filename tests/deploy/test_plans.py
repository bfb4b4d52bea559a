"""The plan of the flowers' Truss for every target, as the command line shows it without credentials.

The texts in `plans/` were read by people who know the platform. After a change on purpose:
TRUSS_RENEW=1 python -m pytest tests/deploy/test_plans.py, and read the difference.
"""

import os
from pathlib import Path

import pytest

from truss.cli import main
from truss.deploy.registry import BUILT_IN

PLANS = Path(__file__).with_name("plans")
IMAGE = f"registry.example.com/team/iris@sha256:{'1' * 64}"
CONFIG = """
model_name: iris
description: The three kinds of iris.
environment_variables: {LEVEL: high}
secrets: {api-key: null}
"""


@pytest.fixture
def iris(tmp_path, monkeypatch):
    folder = tmp_path / "iris"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return 1\n"
    )
    # A platform that cannot be reached, and no program of any.
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path))
    monkeypatch.setenv("TRUSS_SECRET_api-key", "a-value-that-nobody-sees")
    return folder


@pytest.mark.parametrize(
    ("target", "name", "more"),
    [
        *((target, target, "") for target in BUILT_IN),
        ("ecs", "ecs-with-gpus", "resources: {accelerator: A10G}\n"),
    ],
)
def test_a_plan_is_complete_without_credentials(target, name, more, iris, capsys):
    (iris / "config.yaml").write_text(CONFIG + more)
    assert main(["deploy", str(iris), "--to", target, "--image", IMAGE, "--plan"]) == 0
    ran = capsys.readouterr()
    assert "Compared with nothing" in ran.err
    assert "a-value-that-nobody-sees" not in ran.out + ran.err
    kept = PLANS / f"{name}.txt"
    if os.environ.get("TRUSS_RENEW"):
        PLANS.mkdir(exist_ok=True)
        kept.write_text(ran.out)
    assert ran.out == kept.read_text()


@pytest.mark.parametrize("target", BUILT_IN)
def test_files_are_written_whole_beside_what_is_there(target, iris, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    assert main(["deploy", str(iris), "--to", target, "--image", IMAGE, "--out", str(folder)]) == 0
    written = capsys.readouterr().out.split()
    assert written
    assert {path for path in folder.rglob("*") if path.is_file()} == {
        *map(Path, written),
        folder / "mine.txt",
    }
    assert not [path for path in map(Path, written) if "a-value-that-nobody-sees" in path.read_text()]
