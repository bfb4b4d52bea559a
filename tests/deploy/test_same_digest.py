"""What a commit of a Truss deploys is decided by the commit, not by who deploys it, where and when."""

import shutil
import subprocess

import pytest
from cluster_server import running_cluster

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


def deployed(bench, folder, repository, home):
    """The image that a cluster is told to run, of `truss deploy` by somebody with nothing built yet."""
    home.mkdir()
    with running_cluster() as cluster:
        words = ("--to", "kubernetes", "--repository", f"{bench.registry}/{repository}", "--yes")
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
    second = deployed(bench, checkout, "second", tmp_path / "grace")
    assert first.startswith(f"{bench.registry}/first@sha256:")
    assert first.partition("@")[2] == second.partition("@")[2]
    git(checkout, "diff", "--exit-code")
