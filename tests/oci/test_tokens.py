"""A real registry that takes nothing but tokens of a server that it trusts, which says who may do what."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from token_server import TokenServer, running_token_server

from truss.errors import RegistryAuthError
from truss.oci import (
    Credentials,
    Entry,
    ImageConfig,
    Patience,
    Platform,
    Reference,
    Registry,
    Transport,
    build_image,
    plain_layer,
    pull_image,
    push_image,
)
from truss.oci.credentials import Found
from truss.testing.registry import PASSWORD, USER, running_registry

pytestmark = pytest.mark.registry

AMD64 = Platform("amd64")


@pytest.fixture
def tokens(tmp_path):
    with running_token_server(tmp_path / "tokens", everybody={"public/*": "pull"}) as running:
        yield running


@pytest.fixture
def host(tokens, tmp_path):
    """The registry."""
    with running_registry(tmp_path / "registry", auth=tokens.auth) as running:
        yield running.host


def image(text: str = "x"):
    layers = [plain_layer([Entry.file("data/w", text.encode() * 10_000)])]
    return build_image(ImageConfig(AMD64), layers)


def client(host: str, user: str = "", password: str = "") -> Registry:
    found = Found(Credentials(user, password, source="the test") if user else None)
    return Registry(host, transport=Transport(Patience(tries=2, pause=lambda _: None)), find=lambda _: found)


def named(host: str, name: str) -> Reference:
    return Reference.parse(f"{host}/{name}:1")


def test_one_token_is_enough_for_a_push_and_one_for_a_pull(tokens: TokenServer, host):
    built = image()
    push_image(built, named(host, "team/model"), registry=client(host, USER, PASSWORD))
    assert tokens.asked == [["repository:team/model:pull,push"]]
    pulled = pull_image(named(host, "team/model"), AMD64, registry=client(host, USER, PASSWORD)).image
    assert pulled.digest == built.digest
    assert pulled.layers[0].read() == built.layers[0].read()
    assert tokens.asked[1:] == [["repository:team/model:pull"]]


def test_everybody_may_pull_what_is_public_and_push_nothing(tokens, host):
    push_image(image(), named(host, "public/base"), registry=client(host, USER, PASSWORD))
    assert pull_image(named(host, "public/base"), AMD64, registry=client(host)).image.digest == image().digest
    with pytest.raises(RegistryAuthError, match="none were found") as caught:
        push_image(image("y"), named(host, "public/base"), registry=client(host))
    assert f"docker login {host}" in caught.value.hint
    with pytest.raises(RegistryAuthError, match="none were found"):
        pull_image(named(host, "team/model"), AMD64, registry=client(host))


def test_a_wrong_password_gets_no_token(tokens, host):
    name = named(host, "public/base")
    push_image(image(), name, registry=client(host, USER, PASSWORD))
    tokens.asked.clear()
    for use in (
        lambda registry: push_image(image("y"), name, registry=registry),
        lambda registry: pull_image(name, AMD64, registry=registry),
    ):
        with pytest.raises(RegistryAuthError, match="refuses the credentials from the test") as caught:
            use(client(host, USER, "wr0ng"))
        assert caught.value.where == host
        assert "wr0ng" not in f"{caught.value}{caught.value.hint}"
    assert tokens.asked == []


def test_a_token_without_the_right_is_said_to_lack_it(tokens, host):
    tokens.user = {"team/*": "pull"}
    with pytest.raises(RegistryAuthError, match="refuses the credentials from the test") as caught:
        push_image(image(), named(host, "team/model"), registry=client(host, USER, PASSWORD))
    assert "lack the right for this repository" in caught.value.hint


def base_and_model(host):
    """Push a base, then a model on it, whose one layer the registry has already."""
    push_image(image(), named(host, "public/base"), registry=client(host, USER, PASSWORD))
    base = pull_image(named(host, "public/base"), AMD64, registry=client(host, USER, PASSWORD)).image
    top = plain_layer([Entry.file("app/y", b"y")])
    return build_image(base.config, [top], base=base)


def test_a_token_for_a_mount_covers_both_repositories(tokens, host):
    built = base_and_model(host)
    tokens.asked.clear()
    pushed = push_image(built, named(host, "team/model"), registry=client(host, USER, PASSWORD))
    assert [one.how for one in pushed.blobs] == ["mounted", "uploaded", "uploaded"]
    assert tokens.asked == [["repository:public/base:pull", "repository:team/model:pull,push"]]


def test_what_may_not_be_taken_over_is_uploaded(tokens, host):
    push_image(image(), named(host, "secret/base"), registry=client(host, USER, PASSWORD))
    tokens.user = {"team/*": "pull,push"}
    built = image()
    origin = named(host, "secret/base").repository
    known = replace(built, layers=tuple(replace(layer, origin=origin) for layer in built.layers))
    pushed = push_image(known, named(host, "team/model"), registry=client(host, USER, PASSWORD))
    assert [one.how for one in pushed.blobs] == ["uploaded", "uploaded"]


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_the_token_server_is_one_that_others_take_too(host):
    push_image(image(), named(host, "team/model"), registry=client(host, USER, PASSWORD))
    words = ["skopeo", "inspect", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}"]
    done = subprocess.run(
        [*words, f"docker://{host}/team/model:1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
