"""Credentials: found in the order and form in which Docker and Podman keep them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from truss.errors import RegistryAuthError
from truss.oci.credentials import Credentials, find_credentials
from truss.oci.reference import Reference


def auth(user: str, password: str = "secret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


class Home:
    """A home folder with the files of container tools, and helpers on its path."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "bin").mkdir()
        self.environment = {"HOME": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}

    def write(self, path: str, config) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config if isinstance(config, str) else json.dumps(config))
        return file

    def docker(self, **config) -> Path:
        return self.write(".docker/config.json", config)

    def helper(self, name: str, script: str) -> None:
        file = self.write(f"bin/docker-credential-{name}", f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def find(self, reference: str):
        return find_credentials(Reference.parse(reference).repository, self.environment)

    def user(self, reference: str) -> str | None:
        found = self.find(reference).credentials
        return None if found is None else found.username


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


ANSWER = """read server; printf '{"Username": "%s", "Secret": "s"}' "$server" """


def test_without_any_file_there_are_none(home):
    assert home.find("ghcr.io/a/b").credentials is None


def test_name_and_password_are_read_from_dockers_file(home):
    path = home.docker(auths={"ghcr.io": auth("me", "pass:word")})
    assert home.find("ghcr.io/a/b").credentials == Credentials("me", "pass:word", source=str(path))
    assert home.find("quay.io/a/b").credentials is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io"])
def test_docker_hub_has_many_names(home, key):
    home.docker(auths={key: auth("me")})
    assert home.user("python") == "me"


@pytest.mark.parametrize("key", ["https://r.io", "https://r.io/v2/", "http://r.io/v1/", "r.io/"])
def test_old_forms_of_keys_are_understood(home, key):
    home.docker(auths={key: auth("me")})
    assert home.user("r.io/a") == "me"


def test_podman_may_have_some_for_a_part_of_a_registry(home):
    auths = {"quay.io": auth("all"), "quay.io/team": auth("team"), "quay.io/team/model": auth("model")}
    home.write(".config/containers/auth.json", {"auths": auths})
    assert home.user("quay.io/team/model") == "model"
    assert home.user("quay.io/team/other") == "team"
    assert home.user("quay.io/teams/model") == "all"


def test_the_places_are_asked_in_order(home):
    places = []
    for variable, path in [
        ("XDG_CONFIG_HOME", "config/containers/auth.json"),
        ("XDG_RUNTIME_DIR", "run/containers/auth.json"),
        ("DOCKER_CONFIG", "docker/config.json"),
        ("REGISTRY_AUTH_FILE", "auth.json"),
    ]:
        file = home.write(path, {"auths": {"r.io": auth(variable)}})
        folder = file.parent.parent if "XDG" in variable else file.parent
        home.environment[variable] = str(file if "FILE" in variable else folder)
        places.append((home.user("r.io/a"), variable))
    home.environment["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"r.io": auth("variable")}})
    assert all(found == wanted for found, wanted in places)
    assert home.user("r.io/a") == "variable"


def test_a_place_that_does_not_know_the_registry_is_passed_by(home):
    home.docker(auths={"other.io": auth("other")})
    home.write(".config/containers/auth.json", {"auths": {"r.io": auth("podman")}})
    assert home.user("r.io/a") == "podman"


def test_helpers_come_before_the_store_and_both_before_the_file(home):
    home.helper("one", ANSWER.replace("$server", "helper of $server"))
    home.helper("all", ANSWER.replace("$server", "store of $server"))
    home.docker(credHelpers={"r.io": "one"}, credsStore="all", auths={"r.io": auth("file")})
    assert home.user("r.io/a") == "helper of r.io"
    assert home.user("s.io/a") == "store of s.io"
    assert home.user("python") == "store of https://index.docker.io/v1/"


def test_a_helper_that_does_not_know_the_registry_is_no_problem(home):
    home.helper("all", "echo 'credentials not found in native keychain'; exit 1")
    home.docker(credsStore="all", auths={"r.io": auth("file")})
    assert home.user("r.io/a") == "file"
    assert home.find("s.io/a").notes == ()


@pytest.mark.parametrize(
    ("script", "note"),
    [
        (None, "docker-credential-all, which {place} names, is not on the PATH"),
        ("echo 'the keychain is locked'; exit 1", "docker-credential-all failed: the keychain is locked"),
        ("exit 3", "docker-credential-all failed: exit status 3"),
        ("echo not json", "docker-credential-all answered in a form that cannot be read"),
    ],
)
def test_a_helper_that_fails_is_noted(home, script, note):
    if script is not None:
        home.helper("all", script)
    place = home.docker(credsStore="all")
    assert home.find("r.io/a").notes == (note.format(place=place),)


def test_a_helper_is_a_program_of_that_name_only(home, tmp_path):
    home.docker(credsStore="../../evil")
    (note,) = home.find("r.io/a").notes
    assert "no name of a helper" in note


def test_tokens_are_told_from_passwords(home):
    home.helper("all", """echo '{"Username": "<token>", "Secret": "t"}'""")
    home.docker(credsStore="all")
    found = home.find("r.io/a").credentials
    assert (found.username, found.password, found.identity_token) == ("", "", "t")
    home.docker(auths={"r.io": {"identitytoken": "i"}, "s.io": {"registrytoken": "r"}})
    assert home.find("r.io/a").credentials.identity_token == "i"
    assert home.find("s.io/a").credentials.registry_token == "r"


def test_what_old_versions_wrote_after_a_password_is_no_part_of_it(home):
    home.docker(auths={"r.io": auth("me", "secret\0\0")})
    assert home.find("r.io/a").credentials.password == "secret"


def test_empty_entries_say_nothing(home):
    home.docker(auths={"r.io": {}})
    assert home.find("r.io/a").credentials is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"r.io": {"auth": "%%%"}}}'])
def test_a_damaged_file_is_named(home, text):
    path = home.write(".docker/config.json", text)
    with pytest.raises(RegistryAuthError) as caught:
        home.find("r.io/a")
    assert caught.value.where == str(path)


def test_secrets_are_not_shown(home):
    home.docker(auths={"r.io": {**auth("me", "hidden"), "identitytoken": "hidden"}})
    assert "hidden" not in repr(home.find("r.io/a"))
