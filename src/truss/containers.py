"""A Truss in a container of this machine's engine, for the handle and the command line alike."""

from __future__ import annotations

import json
import platform as machine
import secrets as randomness
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from truss.build import LayerCache, context
from truss.build.containers import PORT, image_in_engine, image_name, secrets_of, wait_until_ready
from truss.build.contents import APP
from truss.build.engine import Container, Engine, Start, find_engine
from truss.config import TrussConfig, read_config
from truss.environments.kept import cache_dir
from truss.errors import EngineError, RemoteRefusalError
from truss.model import ModelSource, Secrets, to_plain
from truss.model.secrets import local_home
from truss.oci import Platform

Say = Callable[[str], None]

READY_WITHIN = 600.0
"""Seconds that a server may take until it answers: large models take minutes to load."""


def build_image(truss_dir: Path, *, engine: Engine | None = None, say: Say = lambda _: None) -> str:
    """The name of the Truss's image in the engine; built, and loaded into it, when it changed.

    Raises:
        EnvironmentBuildError, ImageError, MissingExtraError: it cannot be built.
        EngineError: there is no engine, or it does not take the image.
    """
    config = read_config(truss_dir)
    cache = LayerCache(cache_dir() / "images")
    secrets = Secrets(secrets_of(config))
    return image_in_engine(truss_dir, config, engine or find_engine(), cache, _platform(), say, secrets)


def run(
    truss_dir: Path,
    *,
    port: int = 8080,
    gpus: bool = False,
    engine: Engine | None = None,
    timeout: float = READY_WITHIN,
    watch: bool = False,
    say: Say = lambda _: None,
) -> Container:
    """Run a Truss in a container, and return once it answers.

    Args:
        truss_dir: The Truss.
        port: The port on this machine's loopback; 0 picks a free one.
        gpus: Give it the machine's GPUs, also if the config does not ask for one.
        engine: Which engine; default: Docker, else podman.
        timeout: Seconds that it may take.
        watch: Whether the container reads the model's code where it is here, and takes up edits of it.
        say: Told what goes on.

    Raises:
        EnvironmentBuildError, ImageError, MissingExtraError: its image cannot be built.
        EngineError: there is no engine, it refuses, or the server is not ready in time.
    """
    engine = engine or find_engine()
    config = read_config(truss_dir)
    image = build_image(truss_dir, engine=engine, say=say)
    mounts = {"/secrets": _secrets_folder(config)} if config.secrets else {}
    start = Start(image, truss_dir.resolve(), port, mounts=mounts, gpus=gpus or config.resources.use_gpu)
    container = engine.start(_watching(start, config, engine.user()) if watch else start)
    wait_until_ready(engine, container, timeout)
    return container


def url_of(container: Container) -> str:
    """Where the server in a container is reached from this machine."""
    return f"http://127.0.0.1:{container.ports[PORT]}"


def predict(container: Container, request: Any) -> Any:
    """What the server in a container answers.

    Raises:
        RemoteRefusalError: it answered with an error.
        EngineError: it cannot be reached.
    """
    url = f"{url_of(container)}/v1/models/model:predict"
    body = json.dumps(to_plain(request)).encode()
    asked = Request(url, data=body, headers={"content-type": "application/json"})  # noqa: S310 - our own address
    try:
        with build_opener(ProxyHandler({})).open(asked) as answer:
            return json.load(answer)
    except HTTPError as error:
        said = error.read().decode(errors="replace")
        raise RemoteRefusalError(f"the server answered {error.code}: {said}", where=url) from error
    except OSError as error:
        raise EngineError(
            f"the server in the container cannot be reached: {error}", where=url, hint="see `truss logs`"
        ) from error


def running(truss_dir: Path, *, engine: Engine | None = None) -> list[Container]:
    """The containers that serve a Truss, the newest first."""
    return (engine or find_engine()).containers(truss_dir.resolve(), running_only=True)


def newest(truss_dir: Path, engine: Engine) -> Container:
    """The container of a Truss that was started last, also if it has ended.

    Raises:
        EngineError: there is none.
    """
    found = engine.containers(truss_dir.resolve())
    if not found:
        raise EngineError(
            "no container of this Truss is there", where=str(truss_dir), hint="start one: truss run-image"
        )
    return found[0]


def logs(truss_dir: Path) -> str:
    """What the newest container of a Truss has written.

    Raises:
        EngineError: there is none.
    """
    engine = find_engine()
    return "".join(engine.logs(newest(truss_dir, engine)))


def stop(truss_dir: Path | None, *, engine: Engine | None = None) -> list[Container]:
    """Stop and remove the containers of a Truss, or all that we started; gives those that there were."""
    engine = engine or find_engine()
    found = engine.containers(None if truss_dir is None else truss_dir.resolve())
    for container in found:
        engine.stop(container)
    return found


def write_context(truss_dir: Path, folder: Path, *, say: Say = lambda _: None) -> str:
    """Write the build context of a Truss for this machine's processor; gives a name for the image."""
    config = read_config(truss_dir)
    cache = LayerCache(cache_dir() / "images")
    secrets = Secrets(config.secrets)
    context.write_context(truss_dir, config, folder, cache, _platform(), secrets=secrets, say=say)
    return f"truss/{image_name(config, truss_dir)}:latest"


def _watching(start: Start, config: TrussConfig, user: str) -> Start:
    """The same start, with the model's code from its folders on this machine."""
    source = ModelSource(start.truss_dir, config)
    folders = {folder.resolve() for folder in (source.module_dir, *source.package_dirs) if folder.is_dir()}
    code = {
        f"{APP}/{folder.relative_to(start.truss_dir).as_posix()}": folder
        for folder in sorted(folders)
        if folder.is_relative_to(start.truss_dir)
    }
    environment = {**start.environment, "TRUSS_WATCH": "1"}
    return replace(start, mounts={**start.mounts, **code}, environment=environment, user=user)


def _platform() -> Platform:
    return Platform("arm64" if machine.machine().lower() in ("arm64", "aarch64") else "amd64")


def _secrets_folder(config: TrussConfig) -> Path:
    """The secrets' values as files, in a folder that only this user can get to, for the container to read."""
    private = local_home() / "containers" / randomness.token_hex(8)
    private.mkdir(parents=True, mode=0o700)
    folder = private / "secrets"
    folder.mkdir(mode=0o755)
    values = Secrets(config.secrets)
    for name in values:
        value = values[name]
        if value is not None:
            (folder / name).write_text(value, encoding="utf-8")
            (folder / name).chmod(0o444)
    return folder
