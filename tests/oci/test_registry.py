"""Pushing to a real registry and pulling from it; skopeo reads what was pushed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import replace

import pytest

from truss.errors import (
    BrokenImageError,
    ImageError,
    ImageNotFoundError,
    MissingExtraError,
    RegistryAuthError,
    RegistryError,
    RegistryUnavailableError,
)
from truss.oci import (
    Blob,
    Credentials,
    Digest,
    Entry,
    ImageConfig,
    Memory,
    Patience,
    Platform,
    Reference,
    Registry,
    Transport,
    build_artifact,
    build_image,
    build_index,
    find_credentials,
    packed_layer,
    plain_layer,
    pull_image,
    push_image,
    validate_layout,
    write_file,
    write_layout,
)
from truss.oci.credentials import Found
from truss.testing.registry import PASSWORD, USER, running_registry

pytestmark = pytest.mark.registry

AMD64 = Platform("amd64")
ARM64 = Platform("arm64")
MIB = 1 << 20


@pytest.fixture
def image(tmp_path):
    def make(text: str = "x", platform: Platform = AMD64):
        packed = packed_layer([Entry.file("app/x", os.urandom(2 * MIB))], tmp_path / f"packed-{text}")
        plain = plain_layer([Entry.file("data/w", text.encode() * 1000)])
        return build_image(ImageConfig(platform, cmd=("/app/x",)), [packed, plain])

    return make


def client(host: str, user: str = "", password: str = "") -> Registry:
    """A client that knows only these credentials, and waits for nothing."""
    found = Found(Credentials(user, password, source="the test") if user else None)
    return Registry(host, transport=Transport(Patience(tries=3, pause=lambda _: None)), find=lambda _: found)


def hows(pushed) -> list[str]:
    return [one.how for one in pushed.blobs]


def test_an_image_is_pushed_and_pulled(registry, image, tmp_path):
    built = image()
    name = Reference.parse(f"{registry.host}/team/model:1.0")
    pushed = push_image(built, name)
    assert str(pushed.reference) == f"{name}@{built.digest}"
    assert hows(pushed) == ["uploaded"] * 3
    assert pushed.bytes_uploaded == sum(blob.size for blob in (*built.blobs, built.manifest))
    for asked in (name, pushed.reference, Reference(name.repository, digest=built.digest)):
        pulled = pull_image(asked, AMD64)
        assert pulled.image.digest == built.digest
        assert pulled.image.config == built.config
        assert pulled.reference == asked.at(built.digest)
    write_layout(tmp_path / "layout", pulled.image)
    assert validate_layout(tmp_path / "layout").images == 1


def test_what_is_there_is_not_sent_again(registry, image):
    built = image()
    name = Reference.parse(f"{registry.host}/team/model:1.0")
    push_image(built, name)
    again = push_image(built, name)
    assert again.bytes_uploaded == 0
    assert hows(again) == ["exists"] * 3
    edited = build_image(built.config, [plain_layer([Entry.file("app/y", b"edit")])], base=built)
    third = push_image(edited, name)
    assert hows(third) == ["exists", "exists", "uploaded", "uploaded"]
    assert third.bytes_uploaded < 8192
    assert pull_image(name, AMD64).image.digest == edited.digest


def test_content_of_a_neighbour_is_mounted(registry, image):
    push_image(image(), Reference.parse(f"{registry.host}/base:1"))
    stored = registry.stored()
    base = pull_image(Reference.parse(f"{registry.host}/base:1"), AMD64).image
    top = plain_layer([Entry.file("app/y", b"y")])
    built = build_image(replace(base.config, user="1000"), [top], base=base)
    pushed = push_image(built, Reference.parse(f"{registry.host}/team/model:1"))
    assert hows(pushed) == ["mounted", "mounted", "uploaded", "uploaded"]
    assert pushed.bytes_uploaded == registry.stored() - stored < 8192


def test_a_base_of_another_registry_is_streamed_over(registry, image, tmp_path):
    with running_registry(tmp_path / "other") as other:
        push_image(image(), Reference.parse(f"{other.host}/base:1"))
        base = pull_image(Reference.parse(f"{other.host}/base:1"), AMD64).image
        pushed = push_image(base, Reference.parse(f"{registry.host}/base:1"))
    assert hows(pushed) == ["uploaded"] * 3
    copy = pull_image(Reference.parse(f"{registry.host}/base:1"), AMD64).image
    write_layout(tmp_path / "layout", copy)
    validate_layout(tmp_path / "layout")


def test_several_platforms_are_pushed_as_one_image(registry, image):
    index = build_index([image("x"), image("y", ARM64)])
    name = Reference.parse(f"{registry.host}/model:1")
    pushed = push_image(index, name)
    assert pushed.digest == index.digest
    for one in index.images:
        pulled = pull_image(name, one.platform)
        assert pulled.image.digest == one.digest
        assert pulled.reference.digest == index.digest
    with pytest.raises(BrokenImageError, match="does not run on linux/s390x"):
        pull_image(name, Platform("s390x"))


def test_an_image_for_one_platform_is_not_taken_for_another(registry, image):
    name = Reference.parse(f"{registry.host}/model:1")
    push_image(image(), name)
    with pytest.raises(ImageError, match="runs on linux/amd64, not on linux/arm64"):
        pull_image(name, ARM64)


def test_what_is_attached_is_found_under_a_tag(registry, image):
    # This registry knows no referrers, so the list under a tag is what everybody reads.
    built = image()
    name = Reference.parse(f"{registry.host}/model:1")
    kinds = ("application/spdx+json", "application/vnd.in-toto+json")
    artifacts = [
        build_artifact(built, kind, [Blob.of(kind.encode(), kind)], annotations={"k": kind}) for kind in kinds
    ]
    push_image(built, name, attached=artifacts[:1])
    push_image(built, name, attached=artifacts)
    repository = client(registry.host).repository("model")
    listed = repository.referrers(built.digest)
    assert [(one.artifact_type, one.digest) for one in listed] == [
        (kind, artifact.digest) for kind, artifact in zip(kinds, artifacts, strict=True)
    ]
    assert listed[0].annotations == {"k": kinds[0]}
    (only,) = repository.referrers(built.digest, kinds[1])
    assert only.digest == artifacts[1].digest
    assert repository.referrers(Digest.of(b"another")) == ()
    assert set(repository.tags()) == {"1", f"sha256-{built.digest.hex}"}


def test_a_large_blob_goes_in_chunks_and_arrives_whole(registry, image, tmp_path):
    built = image()
    steps = []
    pushed = push_image(
        built, Reference.parse(f"{registry.host}/m:1"), chunk_size=300_000, progress=steps.append
    )
    assert pushed.bytes_uploaded == sum(blob.size for blob in (*built.blobs, built.manifest))
    arrived = defaultdict(list)
    for step in steps:
        arrived[step.descriptor.digest].append(step.arrived)
    for blob in built.blobs:
        assert arrived[blob.digest] == sorted(arrived[blob.digest])
        assert arrived[blob.digest][-1] == blob.size
    assert {step.state for step in steps} == {"sending", "uploaded"}
    layer = pull_image(Reference.parse(f"{registry.host}/m:1"), AMD64).image.layers[0]
    write_file(layer, tmp_path / "copy")
    assert Digest.of((tmp_path / "copy").read_bytes()) == layer.digest


def test_content_is_read_from_the_middle(registry, image):
    push_image(image(), Reference.parse(f"{registry.host}/m:1"))
    content = pull_image(Reference.parse(f"{registry.host}/m:1"), AMD64).image.layers[0].content
    whole = b"".join(content.blocks())
    for start in (1, 1000, MIB, len(whole) - 1, len(whole)):
        assert b"".join(content.blocks(start)) == whole[start:]


def test_wrong_content_is_refused_by_the_registry(registry, image):
    built = image()
    wrong = replace(built.layers[1], content=Memory(bytes(built.layers[1].size)))
    broken = replace(built, layers=(built.layers[0], wrong))
    with pytest.raises(BrokenImageError, match="not what its digest says"):
        push_image(broken, Reference.parse(f"{registry.host}/m:1"), registry=client(registry.host))
    with pytest.raises(ImageNotFoundError):
        pull_image(Reference.parse(f"{registry.host}/m:1"), AMD64)


def test_the_first_failure_stops_the_other_uploads(registry, image):
    gate = threading.Event()

    class Stuck:
        """Content that goes on only after another upload has failed, and would never end by itself."""

        size = 1 << 40

        def blocks(self, start=0):
            gate.wait(30)
            while True:
                yield bytes(1000)

    class Failing:
        size = 10

        def blocks(self, start=0):
            gate.set()
            raise ImageError("cannot be read")

    built = image()
    endless = Blob(replace(built.layers[0].descriptor, size=Stuck.size, digest=Digest.of(b"1")), Stuck())
    failing = Blob(replace(built.layers[0].descriptor, size=10, digest=Digest.of(b"2")), Failing())
    with pytest.raises(ImageError, match="cannot be read"):
        push_image(replace(built, layers=(endless, failing)), Reference.parse(f"{registry.host}/m:1"))


def test_a_missing_image_is_said_to_be_missing(registry, image):
    with pytest.raises(ImageNotFoundError, match="'nothing' of version '1'") as caught:
        pull_image(Reference.parse(f"{registry.host}/nothing:1"), AMD64)
    assert caught.value.code == "MANIFEST_UNKNOWN"
    assert caught.value.where == f"{registry.host}/nothing"
    with pytest.raises(ImageNotFoundError):
        list(client(registry.host).repository("nothing").tags())


def test_nobody_at_that_port_is_a_clear_error():
    with pytest.raises(RegistryUnavailableError) as caught:
        pull_image(Reference.parse("localhost:1/m:1"), AMD64, registry=client("localhost:1"))
    assert caught.value.where == "localhost:1"
    assert "refused" in caught.value.message
    assert "registry runs" in caught.value.hint


def test_no_host_of_that_name_is_a_clear_error():
    with pytest.raises(RegistryUnavailableError, match="no host of that name"):
        pull_image(
            Reference.parse("no.such.host.invalid/m:1"), AMD64, registry=client("no.such.host.invalid")
        )


def test_a_protected_registry_takes_the_right_password_only(protected_registry, image):
    host = protected_registry.host
    name = Reference.parse(f"{host}/m:1")
    with pytest.raises(RegistryAuthError, match="none were found") as caught:
        push_image(image(), name, registry=client(host))
    assert f"docker login {host}" in caught.value.hint
    with pytest.raises(RegistryAuthError, match="refuses the credentials from the test"):
        push_image(image(), name, registry=client(host, USER, "wrong"))
    push_image(image(), name, registry=client(host, USER, PASSWORD))
    assert pull_image(name, AMD64, registry=client(host, USER, PASSWORD)).image.platform == AMD64


def test_credentials_are_found_in_dockers_file(protected_registry, image, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    host = protected_registry.host
    program = tmp_path / "docker-credential-test"
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {host: "test"}}))
    push_image(image(), Reference.parse(f"{host}/m:1"))
    assert find_credentials(Reference.parse(f"{host}/m:1").repository).credentials.username == USER


def test_a_registry_of_an_own_authority_is_trusted_when_it_is_named(tmp_path, image, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    with running_registry(tmp_path / "registry", certificate=(certificate, key)) as registry:
        name = Reference.parse(f"{registry.host}/m:1")
        secure = {"transport": Transport(Patience(tries=1)), "insecure": False}
        with pytest.raises(RegistryError, match="certificate is not trusted") as caught:
            push_image(image(), name, registry=Registry(registry.host, **secure))
        assert "SSL_CERT_FILE" in caught.value.hint
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            with monkeypatch.context() as patch:
                patch.setenv(variable, str(certificate))
                fresh = Registry(registry.host, transport=Transport(Patience(tries=1)), insecure=False)
                push_image(image(variable.lower()), name, registry=fresh)
        monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "missing.pem"))
        with pytest.raises(RegistryError, match="CURL_CA_BUNDLE"):
            push_image(image(), name, registry=Registry(registry.host, transport=Transport(), insecure=False))


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("localhost:5000", "http"),
        ("127.0.0.1:5000", "http"),
        ("[::1]:5000", "http"),
        ("ghcr.io", "https"),
        ("localhost.example.com", "https"),
        ("10.0.0.1:5000", "https"),
        ("plain.example.com:80", "http"),
    ],
)
def test_only_this_machine_and_what_is_listed_is_spoken_to_plainly(host, scheme, monkeypatch):
    monkeypatch.setenv("TRUSS_INSECURE_REGISTRIES", "a:1, plain.example.com:80")
    assert Registry(host).origin == f"{scheme}://{host}"
    assert Registry("docker.io").origin == "https://registry-1.docker.io"


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_what_was_pushed(registry, image, tmp_path):
    index = build_index([image("x"), image("y", ARM64)])
    push_image(index, Reference.parse(f"{registry.host}/m:1"))
    source = f"docker://{registry.host}/m:1"
    inspected = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", source], check=True, capture_output=True, text=True
    )
    assert json.loads(inspected.stdout)["Layers"] == [str(blob.digest) for blob in index.images[0].layers]
    command = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
    subprocess.run([*command, source, f"oci:{tmp_path}/copy:1"], check=True)
    assert validate_layout(tmp_path / "copy").images == 2


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_what_skopeo_pushed_is_pulled(registry, image, tmp_path):
    built = image()
    write_layout(tmp_path / "layout", built, name="1")
    command = ["skopeo", "--insecure-policy", "copy", "--format=v2s2", "--dest-tls-verify=false"]
    subprocess.run([*command, f"oci:{tmp_path}/layout:1", f"docker://{registry.host}/m:1"], check=True)
    pulled = pull_image(Reference.parse(f"{registry.host}/m:1"), AMD64).image
    assert "docker" in pulled.manifest.descriptor.media_type
    rebuilt = build_image(pulled.config, [], base=pulled)
    assert {blob.descriptor.media_type.partition("+")[0] for blob in rebuilt.layers} == {
        "application/vnd.oci.image.layer.v1.tar"
    }
    assert rebuilt.config.diff_ids == built.config.diff_ids


def test_memory_stays_flat_whatever_the_size(registry, tmp_path):
    script = """
import resource, sys
from pathlib import Path
from truss.oci import *
folder, host, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
weights = folder / "weights"
with weights.open("wb") as file:
    file.truncate(size)
layer = plain_layer([Entry.file("weights", weights)])
image = build_image(ImageConfig(Platform("amd64")), [layer])
name = Reference.parse(f"{host}/m:{size}")
push_image(image, name)
write_file(pull_image(name, Platform("amd64")).image.layers[0], folder / "copy")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    command = [sys.executable, "-c", script, tmp_path, registry.host]
    small, large = (
        int(subprocess.run([*command, str(size)], check=True, capture_output=True).stdout)
        for size in (MIB, 256 * MIB)
    )
    assert large - small < 32 * MIB


def test_without_its_package_the_way_to_get_it_is_said(registry):
    script = """
import sys
sys.modules["urllib3"] = None
from truss.errors import MissingExtraError
from truss.oci import Platform, Reference, pull_image
try:
    pull_image(Reference.parse("localhost:1/m:1"), Platform("amd64"))
except MissingExtraError as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "pip install 'truss[build]'\n"
    assert MissingExtraError.exit_code == 2
