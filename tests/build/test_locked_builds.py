"""What the lock says is what an engine builds, what runs in a container, and what a build context holds."""

import json

import httpx
import pytest

from truss.build.lock import FILE

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.xdist_group("images")]

VERSION = "__import__('six').__version__"
LOCKED = "1.16.0"
"""A version that is not the newest: without the lock, another one is installed."""


@pytest.fixture(scope="session")
def line(bench, tmp_path_factory):
    """The line of a lock that names the older version."""
    folder = tmp_path_factory.mktemp("older")
    (folder / "model").mkdir()
    (folder / "model" / "model.py").write_text("class Model:\n    def predict(self, request): ...\n")
    (folder / "config.yaml").write_text(f"python_version: py311\nrequirements: [six=={LOCKED}]\n")
    done = bench.run("build", folder, "--output", folder.with_suffix(".layout"))
    assert done.returncode == 0, done.stderr
    lines = json.loads((folder / FILE).read_text())["wheels"]["linux/amd64"]
    return next(line for line in lines if line.startswith("six=="))


@pytest.fixture
def locked(bench, small, line, tmp_path):
    """Make a Truss that wants any version, with a lock that names the older one; `change` edits that line."""

    def make(name, config="", change=lambda line: line):
        folder = small(name, VERSION, "requirements: [six]\n")
        done = bench.run("build", folder, "--builder", "none", "--output", tmp_path / f"{name}.layout")
        assert done.returncode == 0, done.stderr
        lock = json.loads((folder / FILE).read_text())
        lines = lock["wheels"]["linux/amd64"]
        assert f"six=={LOCKED}" not in "\n".join(lines)
        lock["wheels"]["linux/amd64"] = [change(line) if one.startswith("six==") else one for one in lines]
        (folder / FILE).write_text(json.dumps(lock))
        with (folder / "config.yaml").open("a") as file:
            file.write(config)
        return folder

    return make


def want_more(folder):
    """Have the Truss want something that its lock does not know of."""
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("[six]", "[six, idna]"))


def answer(told):
    url = f"{told['url']}/v1/models/model:predict"
    return httpx.post(url, json={"inputs": []}).json()["predictions"]


@pytest.fixture
def run(bench, engine, monkeypatch, tmp_path):
    """Run `truss WORDS...` with the engine and a home of this test's own."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
    yield bench.run
    bench.run("kill-all")


@pytest.mark.engine
def test_an_engine_installs_what_the_lock_says(run, engine, locked):
    folder = locked("installed")
    before = (folder / FILE).read_text()
    words = ("--builder", "docker", "--network", "host", "--locked", "--output", folder / "image.tar")
    done = run("build", folder, *words, "--tag", "installed:1")
    assert done.returncode == 0, done.stderr
    assert (folder / FILE).read_text() == before
    shown = engine.docker("run", "--rm", "--entrypoint", "python3", "installed:1", "-c", f"print({VERSION})")
    assert shown == LOCKED


@pytest.mark.engine
def test_a_lock_that_an_engines_build_cannot_keep_is_refused(run, bench, locked, small, tmp_path):
    words = ("--builder", "docker", "--locked", "--output", tmp_path / "image.tar")
    for folder, said in (
        (small("unlocked"), "there is no lock"),
        (locked("changed", change=lambda line: line[:-4] + "0000"), "six"),
        (locked("outdated"), "requirements of the Truss"),
    ):
        if folder.name == "outdated":
            want_more(folder)
        done = run("build", folder, *words)
        assert done.returncode == 1, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "image.tar").exists()


@pytest.mark.engine
def test_an_engines_build_writes_the_lock_of_both_builders(run, bench, small, tmp_path):
    folder = small("written")
    done = run("build", folder, "--builder", "docker", "--output", tmp_path / "image.tar")
    assert done.returncode == 0, done.stderr
    lock = (folder / FILE).read_text()
    bench.build(folder, "written:1", "--locked")
    bench.build(folder, "written:2")
    assert (folder / FILE).read_text() == lock


@pytest.mark.engine
@pytest.mark.parametrize("config", ["", "build_commands: ['true']\n"], ids=["loaded", "built"])
def test_a_container_runs_what_the_lock_says(run, locked, config):
    folder = locked(f"running{len(config)}", config)
    for words in ((), ("--locked",)):
        done = run("run-image", folder, "--port", "0", "--json", *words)
        assert done.returncode == 0, done.stderr
        assert answer(json.loads(done.stdout)) == [LOCKED]
    want_more(folder)
    refused = run("run-image", folder, "--port", "0", "--locked")
    assert refused.returncode == 1
    assert "requirements of the Truss" in refused.stderr
    done = run("run-image", folder, "--port", "0", "--json")
    assert "The lock is not used: the requirements of the Truss" in done.stderr
    assert answer(json.loads(done.stdout)) != [LOCKED]


def test_a_build_context_holds_what_the_lock_says(bench, locked, small, tmp_path):
    folder = locked("context")
    for words in ((), ("--locked",)):
        context = tmp_path / f"context{len(words)}"
        done = bench.run("build-context", folder, context, *words)
        assert done.returncode == 0, done.stderr
        assert (context / "site" / f"six-{LOCKED}.dist-info").is_dir()
        base = json.loads((folder / FILE).read_text())["bases"]["linux/amd64"]
        assert f"@{base}\n" in (context / "Dockerfile").read_text()
    for another, said in ((small("unlocked"), "there is no lock"), (folder, "no wheels for linux/arm64")):
        refused = bench.run("build-context", another, tmp_path / "x", "--locked", "--platform", "linux/arm64")
        assert refused.returncode == 1
        assert said in refused.stderr
        assert not (tmp_path / "x").exists()


def test_a_lock_is_of_one_base(bench, locked, tmp_path):
    folder = locked("based")
    other = f"{bench.registry}/library/python:3.11-other"
    words = ("--locked", "--output", tmp_path / "layout")
    refused = bench.run("build", folder, *words, "--base", other)
    assert refused.returncode == 1
    assert f"the base is to be {other}" in refused.stderr
    given = bench.run("build", folder, *words, "--base", "python:3.11-slim")
    assert given.returncode == 0, given.stderr
