"""What the commands of a build inherit from this machine: its package indexes and certificates.

They come as secrets of the build, files that are there while a command runs and are in no layer.
Proxies need no such thing: engines take them by themselves (`truss.build.engine`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from truss.environments.uv import BUNDLES

ENVIRONMENT = "truss-environment"
CERTIFICATES = "truss-certificates"

PLACES = {ENVIRONMENT: "/run/truss/environment", CERTIFICATES: "/run/truss/certificates.pem"}
"""Where commands find the files, by the ids of the secrets."""

_INDEXES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INSECURE_HOST",
    "NPM_CONFIG_REGISTRY",
)
"""Of pip (https://pip.pypa.io/en/stable/topics/configuration/#environment-variables), uv and npm."""

_READERS = (*BUNDLES, "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS")

_MOST_BYTES = 500 * 1024
"""Of a secret: https://docs.docker.com/build/building/secrets/ (BuildKit refuses longer ones)."""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The secrets of a build that hand on indexes and certificates, by id; empty where there are none.

    Args:
        environ: The environment of this process.
    """
    said = {name: environ[name] for name in _INDEXES if environ.get(name)}
    bundle = _bundle(environ)
    if bundle:
        said.update(dict.fromkeys(_READERS, PLACES[CERTIFICATES]))
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in said.items()]
    files = {ENVIRONMENT: "".join(lines), CERTIFICATES: bundle}
    return {name: text for name, text in files.items() if text}


def _bundle(environ: Mapping[str, str]) -> str:
    """The certificates that this machine trusts besides the usual ones; empty if none are named."""
    for name in filter(environ.get, BUNDLES):
        try:
            text = Path(environ[name]).read_text("utf-8", errors="replace")
        except OSError:
            continue
        return text if len(text.encode()) <= _MOST_BYTES else ""
    return ""


def with_environment(command: str) -> str:
    """A command of a Dockerfile that first reads the inherited environment.

    Only lines of a shell can: options of RUN, lists of words and heredocs stay as they are.
    """
    if command.lstrip().startswith(("--", "[", "<<")):
        return command
    return f". {PLACES[ENVIRONMENT]} && {command}"
