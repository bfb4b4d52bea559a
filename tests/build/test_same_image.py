"""The same image whoever builds it, where and when; and other programs find it whole."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess

import pytest

pytestmark = [
    pytest.mark.registry,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
    pytest.mark.skipif(
        not (shutil.which("skopeo") and shutil.which("faketime")), reason="not set up: scripts/setup-registry"
    ),
]

ANOTHER_DAY = ("faketime", "-f", "+3d")
ANOTHER_USER = ("unshare", "--user", "--map-user=4321", "--map-group=4321", "--")


def skopeo(*words):
    done = subprocess.run(["skopeo", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspected(bench, name):
    return json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{bench.registry}/{name}"))


def checked(folder):
    """Every digest, size and diff ID of a layout, computed again; gives its images' configs."""
    configs = []

    def content(descriptor):
        data = (folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
        assert len(data) == descriptor["size"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        return data

    def walk(descriptors):
        for descriptor in descriptors:
            document = json.loads(content(descriptor))
            if "manifests" in document:
                walk(document["manifests"])
                continue
            config = json.loads(content(document["config"]))
            layers = [(layer["mediaType"], content(layer)) for layer in document["layers"]]
            archives = [gzip.decompress(data) if kind.endswith("gzip") else data for kind, data in layers]
            diff_ids = [f"sha256:{hashlib.sha256(archive).hexdigest()}" for archive in archives]
            assert config["rootfs"] == {"type": "layers", "diff_ids": diff_ids}
            assert sum(not step.get("empty_layer") for step in config["history"]) == len(layers)
            configs.append(config)

    walk(json.loads((folder / "index.json").read_text())["manifests"])
    return configs


@pytest.fixture
def as_another():
    """What runs a program as another user; nothing where that is not allowed."""
    allowed = subprocess.run([*ANOTHER_USER, "true"], capture_output=True, check=False).returncode == 0
    return ANOTHER_USER if allowed else ()


def test_another_day_another_place_another_user(bench, small, as_another, tmp_path):
    first = small("same")
    second = tmp_path / "another" / "place"
    second.parent.mkdir()
    shutil.copytree(first, second)
    for file in second.rglob("*"):
        os.utime(file, (10**9, 10**9))
        file.chmod(file.stat().st_mode & ~0o044)  # another umask
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    one = bench.build(first, "same:1", cache=tmp_path / "cache-1")
    elsewhere = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "TZ": "Asia/Tokyo"}
    done = bench.run(
        *("build", second, "--push", f"{bench.registry}/same:2", "--json"),
        cache=tmp_path / "cache-2",
        program=(*as_another, *ANOTHER_DAY),
        **elsewhere,
    )
    assert done.returncode == 0, done.stderr
    other = json.loads(done.stdout)
    assert (other["digest"], other["layers"]) == (one["digest"], one["layers"])
    assert inspected(bench, "same:1")["Digest"] == one["digest"]
    assert inspected(bench, "same:2")["Digest"] == one["digest"]


@pytest.mark.engine
def test_others_find_an_image_for_two_platforms_whole(bench, engine, small, tmp_path):
    told = bench.build(small("whole"), "whole:1", "--platform", "linux/amd64,linux/arm64")
    name = f"{bench.registry}/whole@{told['digest']}"
    index = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}"))
    named = [(one["platform"]["os"], one["platform"]["architecture"]) for one in index["manifests"]]
    assert named == [("linux", "amd64"), ("linux", "arm64")]
    skopeo("copy", "--quiet", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/copy:1")
    configs = checked(tmp_path / "copy")
    assert [config["architecture"] for config in configs] == ["amd64", "arm64"]
    tag = f"{bench.registry}/whole:1"
    for processor in ("arm64", "amd64"):
        engine.docker("pull", "--quiet", "--platform", f"linux/{processor}", tag)
        assert engine.docker("image", "inspect", "--format", "{{.Architecture}}", tag) == processor
