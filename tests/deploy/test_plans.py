"""The plan of the flowers' Truss for every target, as the command line shows it without credentials.

The texts in `plans/` were read by people who know the platform. After a change on purpose:
TRUSS_RENEW=1 python -m pytest tests/deploy/test_plans.py, and read the difference.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import truss
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


@pytest.mark.parametrize(
    ("target", "passes"),
    [
        ("compose", True),
        ("kubernetes", True),
        ("cloud-run", True),
        ("ray", False),
        ("ecs", False),
        ("lambda", False),
    ],
)
def test_a_plan_says_where_grpc_reaches_nobody(target, passes, iris, capsys):
    (iris / "config.yaml").write_text(CONFIG + "runtime: {grpc: {port: 8081}}\n")
    assert main(["deploy", str(iris), "--to", target, "--image", IMAGE, "--plan"]) == 0
    assert (f"{target} passes on no gRPC" in capsys.readouterr().out) is not passes


@pytest.mark.parametrize(
    ("words", "where", "hint"),
    [
        (("--image", "no name"), "--image", "no part of a name"),
        (("--image", ""), "--image", ""),
        (("--name", "No Name"), "--name", "lower-case letters"),
        (("--name", ""), "--name", "lower-case letters"),
        (("--to", ""), "--to", "one of compose"),
        (("--timeout", "-1"), "--timeout", "truss deploy --help"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(words, where, hint, iris, capsys):
    """Also what is empty, as where a script's variable is not set: a default could be another deployment."""
    target = () if "--to" in words else ("--to", "ecs")
    assert main(["deploy", str(iris), *target, *words, "--plan"]) != 0
    said = capsys.readouterr().err
    assert where in said
    assert hint in said
    if "--name" in words:
        assert main(["destroy", str(iris), *target, *words, "--yes"]) == 1
        assert "cannot be the name" in capsys.readouterr().err


ALONE = """
import json, sys
from pathlib import Path

used = []

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        used.append(f"{event} {arguments!r}")
        raise RuntimeError(event)

sys.addaudithook(refuse)
from truss.deploy.registry import BUILT_IN
from truss.deployments import deployment_of

told = {}
for folder in sys.argv[1:]:
    for name in BUILT_IN:
        plan = deployment_of(Path(folder), name).plan()
        told.setdefault(name, []).append(json.dumps([str(one.body) for one in plan.resources]))
sdks = sorted({"boto3", "googleapiclient", "azure", "ray", "kubernetes", "modal"} & set(sys.modules))
print(json.dumps({"told": told, "used": used, "sdks": sdks}))
"""


def test_the_iris_truss_is_planned_for_every_target_with_no_image_network_or_engine(tmp_path):
    """From wherever it lies; the image is named after what the Truss holds, as long as none was built."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, kinds = load_iris(return_X_y=True)
    folder = tmp_path / "here" / "iris"
    truss.create(LogisticRegression(max_iter=500).fit(features, kinds), folder)
    there = shutil.copytree(folder, tmp_path / "there" / "iris")
    changed = shutil.copytree(folder, tmp_path / "changed" / "iris")
    with (changed / "model" / "model.py").open("a") as code:
        code.write("# another\n")
    environ = {"PATH": str(tmp_path), "TRUSS_HOME": str(tmp_path), "TRUSS_CACHE_DIR": str(tmp_path / "cache")}
    words = [sys.executable, "-c", ALONE, *map(str, (folder, there, changed))]
    python = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    done = subprocess.run(words, env={**environ, **python}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["used"] == []
    assert found["sdks"] == []
    assert found["told"].keys() == BUILT_IN.keys()
    names = set()
    for target, (here, elsewhere, other) in found["told"].items():
        assert here == elsewhere, target
        named = NAMED.findall(here)
        assert named, f"{target} names no image: {here}"
        assert named != NAMED.findall(other), target
        names |= set(named)
    assert len({name for name in names if name.startswith("truss/iris:")}) == 1


NAMED = re.compile(r"truss/iris:[0-9a-f]{16}|_ray_pkg_[0-9a-f]{32}\.zip|baseten://[0-9a-f]{64}\.tgz")


@pytest.mark.parametrize("target", BUILT_IN)
def test_a_plan_is_shown_without_an_image(target, iris, capsys):
    assert main(["deploy", str(iris), "--to", target, "--plan"]) == 0
    ran = capsys.readouterr()
    assert NAMED.search(ran.out)
    assert "a-value-that-nobody-sees" not in ran.out + ran.err


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
