"""Credentials for registries, from where Docker and Podman keep them.

Asked in this order; the first that knows the registry answers:

1. the variable `DOCKER_AUTH_CONFIG`, which holds the text of a `config.json`;
2. the file named by the variable `REGISTRY_AUTH_FILE`;
3. `config.json` in the folder named by `DOCKER_CONFIG`, or in `~/.docker`;
4. `containers/auth.json` in `$XDG_RUNTIME_DIR`, then in `$XDG_CONFIG_HOME` or `~/.config`.

Within a file, a helper for the registry (`credHelpers`) comes before the store for all (`credsStore`),
and both before what the file holds itself (`auths`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truss.errors import RegistryAuthError
from truss.oci.reference import DOCKER_HUB, Repository

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_PROGRAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN_USER = "<token>"  # noqa: S105  # how helpers say that the secret is a token
_HELPER_TIMEOUT = 60


@dataclass(frozen=True)
class Credentials:
    """Who somebody is to a registry.

    Attributes:
        username: The name; empty where a token says everything.
        password: The password, or what the registry calls one.
        identity_token: A token to get other tokens with, in place of name and password.
        registry_token: A token to show to the registry as it is.
        source: Where they were found, for messages.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    source: str = ""

    @property
    def basic(self) -> str:
        """Name and password as HTTP's `Basic` scheme has them; empty when there are none."""
        if not self.username or not self.password:
            return ""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Found:
    """What a search for credentials came to.

    Attributes:
        credentials: The first that were found; `None` for none.
        notes: What kept places from answering, e.g. a helper that is not installed.
    """

    credentials: Credentials | None
    notes: tuple[str, ...] = ()


def find_credentials(repository: Repository, environment: Mapping[str, str] | None = None) -> Found:
    """Look for the credentials of a repository's registry.

    Args:
        repository: For what; Podman's file may have some for a part of a registry only.
        environment: The variables that name the places; default: this process's.

    Raises:
        RegistryAuthError: A place holds what cannot be read as credentials.
    """
    environment = os.environ if environment is None else environment
    notes: list[str] = []
    for place, config in _configs(environment, notes):
        found = _in_config(config, place, repository, environment, notes)
        if found is not None:
            return Found(found, tuple(notes))
    return Found(None, tuple(notes))


def _configs(environment: Mapping[str, str], notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    if text := environment.get("DOCKER_AUTH_CONFIG"):
        yield "DOCKER_AUTH_CONFIG", _parsed(text, "the variable DOCKER_AUTH_CONFIG")
    for path in _files(environment):
        try:
            text = path.read_text()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            notes.append(f"{path} cannot be read: {getattr(error, 'strerror', 'it is no text')}")
            continue
        yield str(path), _parsed(text, str(path))


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HOME") or Path.home())
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        config = json.loads(text or "{}")
    except ValueError as error:
        raise RegistryAuthError(f"the registries' credentials are not JSON: {error}", where=where) from None
    if not isinstance(config, dict):
        raise RegistryAuthError("the registries' credentials are not a JSON object", where=where)
    return config


def _in_config(
    config: dict[str, Any],
    place: str,
    repository: Repository,
    environment: Mapping[str, str],
    notes: list[str],
) -> Credentials | None:
    for helper, server in _helpers(config, repository):
        found = _ask_helper(helper, server, place, environment, notes)
        if found is not None:
            return found
    entries = config.get("auths")
    if not isinstance(entries, dict):
        return None
    by_scope = {_scope(key): entry for key, entry in entries.items() if isinstance(entry, dict)}
    for scope in _scopes(repository):
        found = _from_entry(by_scope.get(scope, {}), scope, place)
        if found is not None:
            return found
    return None


def _helpers(config: dict[str, Any], repository: Repository) -> Iterator[tuple[str, str]]:
    """The helper programs to ask, and the name each knows the registry by."""
    is_hub = repository.registry == DOCKER_HUB
    hosts = _DOCKER_HUB_HOSTS if is_hub else (repository.registry,)
    for key, helper in (config.get("credHelpers") or {}).items():
        if _scope(key) in hosts:
            yield str(helper), key
    if store := config.get("credsStore"):
        yield str(store), _DOCKER_HUB_KEY if is_hub else repository.registry


def _ask_helper(
    helper: str, server: str, place: str, environment: Mapping[str, str], notes: list[str]
) -> Credentials | None:
    program = f"docker-credential-{helper}"
    if _PROGRAM_NAME.fullmatch(helper) is None:
        notes.append(f"{place} names '{helper}', which is no name of a helper")
        return None
    try:
        done = subprocess.run(
            [program, "get"],
            input=server,
            capture_output=True,
            text=True,
            env=dict(environment),
            timeout=_HELPER_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        notes.append(f"{program}, which {place} names, is not on the PATH")
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        notes.append(f"{program} failed: {type(error).__name__}")
        return None
    if done.returncode != 0:
        said = (done.stdout or done.stderr).strip().partition("\n")[0]
        if "not found" not in said:  # what every helper says of a registry that it does not know
            notes.append(f"{program} failed: {said or f'exit status {done.returncode}'}")
        return None
    return _from_helper(done.stdout, program, notes)


def _from_helper(output: str, program: str, notes: list[str]) -> Credentials | None:
    try:
        answer = json.loads(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        notes.append(f"{program} answered in a form that cannot be read")
        return None
    if username == _TOKEN_USER:
        return Credentials(identity_token=secret, source=program)
    return Credentials(username, secret, source=program)


def _scope(key: str) -> str:
    """A key of a file without what old versions wrote around the registry: `https://host/v1/` is `host`."""
    rest = key.partition("://")[2] or key
    return re.sub(r"/v[12]/?$", "", rest).rstrip("/")


def _scopes(repository: Repository) -> Iterator[str]:
    """The keys that hold for a repository, the narrowest first."""
    path = str(repository)
    while "/" in path:
        yield path
        path = path.rpartition("/")[0]
    yield from _DOCKER_HUB_HOSTS if repository.registry == DOCKER_HUB else (repository.registry,)


def _from_entry(entry: Mapping[str, Any], scope: str, place: str) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        username, password = _decoded(str(entry["auth"]), scope, place)
    identity = str(entry.get("identitytoken") or "")
    token = str(entry.get("registrytoken") or "")
    if not (username and password) and not identity and not token:
        return None  # docker leaves empty entries for registries whose credentials are in a store
    return Credentials(username, password, identity, token, place)


def _decoded(auth: str, scope: str, place: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise RegistryAuthError(
            f"the entry 'auth' of {scope} is not base64 of user:password",
            where=place,
            hint=f"log in again: docker login {scope}",
        ) from None
    return username, password.rstrip("\0")
