"""What `truss validate` looks at. Each check yields findings; none loads the model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from truss.config import CONFIG_FILE, DockerServer, TrussConfig, read_config, unknown_keys
from truss.errors import ConfigError, ConfigProblem, ExamplesError, ModelDefinitionError, ServerStartError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file begins with whose content Git LFS has not fetched yet."""


@dataclass(frozen=True)
class Finding:
    """One thing found in a Truss.

    Attributes:
        severity: A `problem` keeps the Truss from working; a `warning` may.
        where: The file, with the line if there is one.
        message: What is wrong.
        hint: What to do; empty when that is plain.
        line: 1-based line in the file; 0 when the finding is about the whole file.
        key: The config key, if there is one.
    """

    severity: Literal["problem", "warning"]
    where: str
    message: str
    hint: str = ""
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        kind = "error" if self.severity == "problem" else "warning"
        key = f"{self.key}: " if self.key else ""
        text = f"{kind}: {self.where}: {key}{self.message}"
        return f"{text}\n    hint: {self.hint}" if self.hint else text


def check(truss_dir: Path) -> tuple[Finding, ...]:
    """Everything found in a Truss, problems and warnings, in the order of the checks.

    With a broken config the other checks would report its consequences, so they are left out.

    Raises:
        NotATrussError: the folder has no config.
    """
    try:
        config = read_config(truss_dir)
    except ConfigError as error:
        return tuple(_config_problem(error.file, problem) for problem in error.problems)
    return (
        *_unknown_keys(truss_dir),
        *_folders(truss_dir, config),
        *_unfetched_files(truss_dir, config),
        *_damaged_files(truss_dir),
        *_model_class(truss_dir, config),
        *_examples(truss_dir, config),
    )


def _damaged_files(truss_dir: Path) -> Iterator[Finding]:
    """Data files that are not those that were packaged; those that Git LFS has not fetched are said above."""
    from truss.model.integrity import CHECKSUMS, damaged

    for damage in damaged(truss_dir):
        path = truss_dir / damage.file
        if not (path.is_file() and _begins_with(path, LFS_POINTER)):
            hint = f"copy it again; if you changed it yourself, delete {CHECKSUMS}"
            yield Finding("problem", str(path), str(damage), hint)


def _config_problem(file: str, problem: ConfigProblem) -> Finding:
    expected = f"; expected {problem.expected}" if problem.expected else ""
    return Finding(
        "problem",
        f"{file}:{problem.line}" if problem.line else file,
        f"{problem.message}{expected}",
        problem.hint,
        problem.line,
        problem.key,
    )


def _unknown_keys(truss_dir: Path) -> Iterator[Finding]:
    """Kept through every edit, and perhaps read by the model class; more often a typing mistake."""
    for problem in unknown_keys(truss_dir):
        where = f"{truss_dir / CONFIG_FILE}:{problem.line}"
        yield Finding("warning", where, problem.message, problem.hint, problem.line, problem.key)


def _folders(truss_dir: Path, config: TrussConfig) -> Iterator[Finding]:
    """Folders that the config names must be there; the ones it does not name are optional."""
    defaults = TrussConfig()
    for key in ("data_dir", "bundled_packages_dir"):
        folder = getattr(config, key)
        if folder != getattr(defaults, key) and not (truss_dir / folder).is_dir():
            yield _missing(truss_dir / folder, key)
    for folder in config.external_package_dirs:
        if not (truss_dir / folder).is_dir():
            yield _missing(truss_dir / folder, "external_package_dirs")
    if config.requirements_file and not (truss_dir / config.requirements_file).is_file():
        yield _missing(truss_dir / config.requirements_file, "requirements_file")


def _missing(path: Path, key: str) -> Finding:
    return Finding("problem", str(path), "it does not exist", f"create it, or correct `{key}` in config.yaml")


def _unfetched_files(truss_dir: Path, config: TrussConfig) -> Iterator[Finding]:
    for path in sorted((truss_dir / config.data_dir).rglob("*")):
        if path.is_file() and _begins_with(path, LFS_POINTER):
            yield Finding(
                "problem", str(path), "it is a Git LFS pointer, not the data itself", "run `git lfs pull`"
            )


def _begins_with(path: Path, prefix: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(prefix)) == prefix


def _model_class(truss_dir: Path, config: TrussConfig) -> Iterator[Finding]:
    from truss.model import check_model

    if config.docker_server is not None:  # such a Truss brings its own server, and needs no model class
        yield from _wrapped_server(truss_dir, config.docker_server)
        return
    try:
        check_model(truss_dir, config)
    except ModelDefinitionError as error:
        yield Finding("problem", error.where or str(truss_dir), error.message, error.hint or "")


def _wrapped_server(truss_dir: Path, server: DockerServer) -> Iterator[Finding]:
    """What keeps the server of a Truss from running here; its image may have what is missing."""
    from truss.runtime.supervisor import command_of

    file = str(truss_dir / CONFIG_FILE)
    for key in ("predict_endpoint", "readiness_endpoint", "liveness_endpoint"):
        if not getattr(server, key).startswith("/"):
            hint = f"write /{getattr(server, key)}"
            yield Finding("problem", file, "is not a path", hint, key=f"docker_server.{key}")
    if server.start_command is not None:
        try:
            command_of(server, os.environ)
        except ServerStartError as error:
            yield Finding("warning", file, error.message, error.hint or "", key=error.where or "")


def _examples(truss_dir: Path, config: TrussConfig) -> Iterator[Finding]:
    from truss.model.examples import read_examples

    try:
        read_examples(truss_dir, config)
    except ExamplesError as error:
        where = error.where or str(truss_dir / config.examples_filename)
        yield Finding("problem", where, error.message, error.hint or "")
