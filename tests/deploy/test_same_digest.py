"""What a commit of a Truss deploys is decided by the commit, not by who deploys it, where and when."""

import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.registry,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

IMAGE = """
import sys
from pathlib import Path
from truss.deployments import deployment_of
print(deployment_of(Path(sys.argv[1]), "kubernetes", options={"repository": sys.argv[2]}).image())
"""


def git(folder, *words):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=me", "-c", "user.email=me@example.com", *words],
        check=True,
        capture_output=True,
    )


def image(bench, folder, repository, cache, monkeypatch):
    for name, value in bench.variables(cache).items():
        monkeypatch.setenv(name, value)
    words = [sys.executable, "-c", IMAGE, folder, f"{bench.registry}/{repository}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_another_checkout_on_another_path_deploys_the_same_digest(bench, small, tmp_path, monkeypatch):
    folder = small("committed", config="requirements: [six]\n")
    first = image(bench, folder, "first", tmp_path / "one", monkeypatch)  # writes truss.lock
    git(tmp_path, "init", "--quiet", folder)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "A model")
    git(tmp_path, "clone", "--quiet", folder, tmp_path / "elsewhere" / "checkout")
    checkout = tmp_path / "elsewhere" / "checkout"
    second = image(bench, checkout, "second", tmp_path / "two", monkeypatch)
    assert first.startswith(f"{bench.registry}/first@sha256:")
    assert first.partition("@")[2] == second.partition("@")[2]
    git(checkout, "diff", "--exit-code")
