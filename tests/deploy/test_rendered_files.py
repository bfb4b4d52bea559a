"""What plans write for other tools is taken by those tools, or by the libraries that read it.

Not shown: that Fly.io takes its file, of which only the form of TOML is read here; and that KubeRay takes
a RayService, of which its pods are held against Kubernetes' schemas and its config against Ray's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from huggingface_hub import SpaceCard
from ray_nodes import PYTHON as WITH_RAY

from truss.config import parse_config
from truss.deploy import Release, read_options, target_named

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

IMAGE = f"registry.example.com/team/iris@sha256:{'1' * 64}"
PLAIN = "model_name: iris"
# Texts that mean something in some of these files.
FULL = """
model_name: iris
description: 'The three kinds: "iris" & $HOME'
environment_variables: {LEVEL: high, SIGNS: "$HOME 'a' \\"b\\" \\\\ % #: é"}
secrets: {api-key: null}
"""
GPUS = FULL + "resources: {accelerator: 'L4:2', cpu: '3', memory: 10Gi}\n"
CONFIGS = pytest.mark.parametrize("config", [PLAIN, FULL, GPUS], ids=["plain", "full", "gpus"])


def written(folder: Path, name: str, config: str, image: str = IMAGE, **options: Any) -> Path:
    """The folder that `--out` writes."""
    target = target_named(name)
    plan = target.plan(Release("iris", image, parse_config(config)), read_options(target, options))
    for file in plan.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    return folder


def run(*words: Any, **variables: str) -> str:
    environ = {**os.environ, **variables}
    environ.pop("PYTHONPATH", None)  # what is run is no part of this project
    done = subprocess.run(list(map(str, words)), env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(
    not shutil.which("docker-compose"), reason="docker-compose is missing: scripts/setup-engine"
)
@CONFIGS
def test_compose_reads_its_file(config, tmp_path):
    file = written(tmp_path, "compose", config) / "compose.yaml"
    # This release of Compose reads files of the specification that begin with a version.
    file.write_text(f'version: "3.9"\n{file.read_text()}')
    read = yaml.safe_load(run("docker-compose", "-f", file, "config"))
    service = read["services"]["model"]
    assert service["image"] == IMAGE
    if config != PLAIN:
        # What it prints can be read by it again, so that a sign of its own stays doubled.
        assert service["environment"]["SIGNS"] == "$$HOME 'a' \"b\" \\ % #: é"
        assert [one["source"] for one in service["secrets"]] == ["api-key"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is missing: scripts/setup-rendered")
@pytest.mark.parametrize("scope", ["system", "user"])
@pytest.mark.parametrize("engine", ["podman", "docker"])
@CONFIGS
def test_systemd_finds_nothing_to_say_of_a_unit(config, engine, scope, tmp_path):
    folder = written(tmp_path, "ssh", config, scope=scope, engine=engine)
    unit = folder / "truss-iris.service"
    # The programs that it names need not be here; one that is stands for them.
    unit.write_text(unit.read_text().replace(f"/usr/bin/{engine}", "/bin/true"))
    words = ["systemd-analyze", f"--{scope}", "verify", "--man=no", unit]
    said = run(*words, XDG_RUNTIME_DIR=str(tmp_path))
    about = [line for line in said.splitlines() if "truss-iris" in line]
    # Whether this machine has Docker's unit says nothing of ours.
    assert not [line for line in about if "docker.service" not in line]
    run("sh", "-n", folder / "install.sh")


@CONFIGS
def test_flys_file_is_toml(config, tmp_path):
    release = config.replace("resources: {accelerator: 'L4:2', cpu: '3', memory: 10Gi}", "")
    app = tomllib.loads((written(tmp_path, "fly", release) / "fly.toml").read_text())
    assert app["build"] == {"image": IMAGE}
    assert app["http_service"]["internal_port"] == 8080
    if config != PLAIN:
        assert app["env"]["SIGNS"] == "$HOME 'a' \"b\" \\ % #: é"


@CONFIGS
def test_the_hubs_library_reads_the_head_of_a_space(config, tmp_path):
    folder = written(tmp_path, "huggingface-spaces", config, title="Iris: the flower")
    card = SpaceCard.load(folder / "README.md")
    assert (card.data.sdk, card.data.app_port, card.data.title) == ("docker", 8080, "Iris: the flower")
    assert re.findall(r"^FROM (.*)$", (folder / "Dockerfile").read_text(), re.MULTILINE) == [IMAGE]


@CONFIGS
@pytest.mark.parametrize("version", ["1.32", "1.36"])
def test_pods_of_a_rayservice_are_pods(config, version, tmp_path):
    service = yaml.safe_load((written(tmp_path, "ray", config) / "rayservice.yaml").read_text())
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "iris"}, **group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


READ = """
import json, sys, yaml
from ray.serve.schema import ServeDeploySchema
read = getattr(ServeDeploySchema, "model_validate", None) or ServeDeploySchema.parse_obj
for path in sys.argv[1:]:
    told = yaml.safe_load(open(path))
    service = told.get("spec", {}).get("serveConfigV2")
    print(read(yaml.safe_load(service) if service else told).applications[0].name)
"""


@pytest.mark.skipif(not WITH_RAY.exists(), reason="Ray is missing: scripts/setup-ray")
@pytest.mark.parametrize("options", [{}, {"min_replicas": 0, "max_replicas": 4, "packages": "uv"}])
def test_rays_own_schema_takes_a_serve_config(options, tmp_path):
    for number, config in enumerate((PLAIN, FULL, GPUS)):
        written(tmp_path / str(number), "ray", config, "s3://models/iris.zip", **options)
    assert run(WITH_RAY, "-c", READ, *tmp_path.rglob("*.yaml")).split() == ["iris"] * 6


MODAL = Path(__file__).parents[2] / ".venvs" / "modal" / "bin" / "python"

APP = """
import runpy, sys
import modal
made = runpy.run_path(sys.argv[1])
print(made["app"].name, isinstance(made["serve"], modal.Function), isinstance(made["image"], modal.Image))
"""


@pytest.mark.skipif(not MODAL.exists(), reason="Modal's library is missing: scripts/setup-rendered")
@CONFIGS
def test_modals_library_makes_the_app(config, tmp_path):
    file = written(tmp_path, "modal", config, registry_secret="ours") / "modal_app.py"
    assert run(MODAL, "-W", "error", "-c", APP, file).split() == ["iris", "True", "True"]


SKYPILOT = MODAL.parents[2] / "skypilot" / "bin" / "python"

TASK = """
import json, sys, yaml
import sky
# As `sky serve up --secret NAME` does, which takes the value from its own environment.
given = [(name, "a-value") for name in sys.argv[2:]]
task = sky.Task.from_yaml_config(yaml.safe_load(open(sys.argv[1])), secrets_overrides=given)
spec = task.service
print(json.dumps({
    "path": spec.readiness_path, "least": spec.min_replicas, "most": spec.max_replicas,
    "ports": [list(one.ports) for one in task.resources], "secrets": sorted(task.secrets),
}))
"""


@pytest.mark.skipif(not SKYPILOT.exists(), reason="SkyPilot is missing: scripts/setup-rendered")
@CONFIGS
def test_skypilot_reads_the_service(config, tmp_path):
    file = written(tmp_path, "skypilot", config, min_replicas=5, use_spot=True) / "service.yaml"
    given = [] if config == PLAIN else ["TRUSS_SECRET_api_key"]
    told = json.loads(run(SKYPILOT, "-c", TASK, file, *given, HOME=str(tmp_path)).splitlines()[-1])
    assert (told["path"], told["least"], told["most"]) == ("/readyz", 5, 5)
    assert told["ports"] == [["8080"]]
    assert told["secrets"] == given
