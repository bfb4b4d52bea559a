"""What a commit of a Truss deploys is decided by the commit, not by who deploys it, where and when."""

import shutil
import subprocess

import pytest
from cluster_server import running_cluster

import truss
from truss.errors import ImageError

pytestmark = [
    pytest.mark.registry,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is missing: scripts/setup-kubectl"),
]


def git(folder, *words):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=me", "-c", "user.email=me@example.com", *words],
        check=True,
        capture_output=True,
    )


def deployed(bench, folder, repository, home, *options):
    """The image that a cluster is told to run, of `truss deploy` by somebody with nothing built yet."""
    home.mkdir()
    with running_cluster() as cluster:
        words = ("--to", "kubernetes", "--repository", f"{bench.registry}/{repository}", "--yes", *options)
        variables = {"KUBECONFIG": str(cluster.kubeconfig(home)), "NO_PROXY": "127.0.0.1"}
        done = bench.run("deploy", folder, *words, cache=home / "cache", TRUSS_HOME=str(home), **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        (made,) = (one for one in cluster.objects.values() if one["kind"] == "Deployment")
    return made["spec"]["template"]["spec"]["containers"][0]["image"]


def test_another_checkout_on_another_path_deploys_the_same_digest(bench, small, tmp_path):
    folder = small("committed", config="requirements: [six]\n")
    first = deployed(bench, folder, "first", tmp_path / "ada")  # writes truss.lock
    git(tmp_path, "init", "--quiet", folder)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "A model")
    git(tmp_path, "clone", "--quiet", folder, tmp_path / "elsewhere" / "checkout")
    checkout = tmp_path / "elsewhere" / "checkout"
    second = deployed(bench, checkout, "second", tmp_path / "grace", "--locked")
    assert first.startswith(f"{bench.registry}/first@sha256:")
    assert first.partition("@")[2] == second.partition("@")[2]
    git(checkout, "diff", "--exit-code")


def test_a_lock_that_has_to_fit_is_looked_at_before_anything_else(bench, small):
    folder = small("held", config="requirements: [six]\n")
    for to, status, said in (("kubernetes", 1, "there is no lock"), ("ray", 2, "installs packages itself")):
        refused = bench.run("deploy", folder, "--to", to, "--locked", "--plan")
        assert refused.returncode == status
        assert said in refused.stderr
    named = bench.run("deploy", folder, "--to", "kubernetes", "--locked", "--image", "ghcr.io/a/b:1")
    assert named.returncode == 2
    assert "--locked is about an image that is built" in named.stderr


def test_a_handle_deploys_what_the_lock_says_or_nothing(bench, small, monkeypatch):
    for name, value in bench.variables().items():
        monkeypatch.setenv(name, value)
    handle = truss.load(small("handled", config="requirements: [six]\n"))
    with pytest.raises(ImageError, match="there is no lock"):
        handle.deploy("kubernetes", locked=True, repository=f"{bench.registry}/handled")
    deployment = handle.deployment("kubernetes", repository=f"{bench.registry}/handled")
    first = deployment.image()
    assert deployment.image(locked=True) == first
    handle.add_python_requirement("idna")
    with pytest.raises(ImageError, match="requirements of the Truss"):
        handle.deploy("kubernetes", locked=True, repository=f"{bench.registry}/handled")
