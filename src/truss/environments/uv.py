"""Run uv, and say in a sentence why it could not do what was asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from truss.errors import EnvironmentBuildError, MissingExtraError

BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
"""Name a file of certificates, for uv and OpenSSL, requests, curl, pip. The first that is set counts."""

_MAX_MESSAGE = 1500
_HINT = "correct config.yaml, or say where packages are to be found: UV_INDEX, UV_FIND_LINKS"
_FULL = "os error 28"
_FULL_HINT = "free some space, or keep things elsewhere: TRUSS_CACHE_DIR, UV_CACHE_DIR, TMPDIR"
_HEAD = re.compile(r"^\s*(?:error: |cause: |Caused by: |×\s*|╰─▶\s*|├─▶\s*|hint: )")
_EMPTY = re.compile(
    r"No solution found when resolving dependencies:?; |"
    r",? (?:and )?we can conclude that your requirements are unsatisfiable\.?"
)


def uv_program() -> str:
    """The path of uv: that of the installed package, else the one on the PATH.

    Raises:
        MissingExtraError: there is none.
    """
    try:
        from uv import find_uv_bin
    except ImportError:
        found = shutil.which("uv")
    else:
        found = find_uv_bin()
    if found is None:
        raise MissingExtraError("uv", "isolated", "making an environment")
    return found


def run_uv(arguments: Sequence[str | Path], folder: Path, doing: str) -> str:
    """Run uv in a folder and return what it prints.

    Args:
        arguments: The words after `uv`.
        folder: The working directory, which relative paths in requirements start from.
        doing: What this is for, to begin the error's message with, e.g. `the requirements cannot be met`.

    Raises:
        EnvironmentBuildError: uv failed; with its reason on one line.
        MissingExtraError: there is no uv.
    """
    done = subprocess.run(
        [uv_program(), "--quiet", "--no-progress", "--color", "never", *map(str, arguments)],
        cwd=folder,
        env=with_certificates(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        hint = _FULL_HINT if _FULL in done.stderr else _HINT
        raise EnvironmentBuildError(f"{doing}: {condensed(done.stderr)}", where=str(folder), hint=hint)
    return done.stdout


def with_certificates(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables, of which uv reads which certificates are trusted, whoever they are written for.

    uv itself reads `SSL_CERT_FILE` and `SSL_CERT_DIR` only:
    https://docs.astral.sh/uv/concepts/authentication/certificates/
    """
    found = next((variables[name] for name in BUNDLES if variables.get(name)), None)
    if found is None or not Path(found).is_file():
        return dict(variables)
    return {**variables, "SSL_CERT_FILE": found}


def condensed(text: str) -> str:
    """What uv says of a failure, on one line: its causes in turn, without drawing and empty conclusions."""
    causes: list[str] = []
    for line in text.splitlines():
        if _HEAD.match(line) or not causes:
            causes.append(_HEAD.sub("", line).strip())
        else:  # a long line goes on, indented
            causes[-1] = f"{causes[-1]} {line.strip()}".strip()
    short = _EMPTY.sub("", "; ".join(dict.fromkeys(filter(None, causes))))
    return short if len(short) <= _MAX_MESSAGE else f"{short[: _MAX_MESSAGE - 4]} ..."
