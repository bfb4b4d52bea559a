"""A Truss in a container of this machine's engine, for the handle and the command line alike."""

from __future__ import annotations

import json
import platform as machine
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from truss.build import LayerCache, context
from truss.build.chosen import chosen_lock
from truss.build.containers import PORT, image_in_engine, image_name, secrets_of, wait_until_ready
from truss.build.contents import APP
from truss.build.engine import Container, Engine, Start, find_engine
from truss.build.own import truss_digest, truss_layers
from truss.build.secret_files import SecretFiles
from truss.config import TrussConfig, read_config
from truss.environments.kept import cache_dir
from truss.errors import EngineError, RemoteRefusalError
from truss.model import ModelSource, Secrets, to_plain
from truss.model.secrets import local_home
from truss.oci import Platform

Say = Callable[[str], None]

READY_WITHIN = 600.0
"""Seconds that a server may take until it answers: large models take minutes to load."""


def build_image(
    truss_dir: Path,
    *,
    engine: Engine | None = None,
    folder: Path | None = None,
    tag: str | None = None,
    locked: bool = False,
    say: Say = lambda _: None,
) -> str:
    """The name of the Truss's image in the engine; built, and loaded into it, when it changed.

    It has exactly the base and wheels of the Truss's lock, if there is one that fits.

    Args:
        truss_dir: The Truss.
        engine: Which engine; default: Docker, else podman.
        folder: Have the engine build it, from a context that is written there and stays.
        tag: What the image is called besides.
        locked: Whether there has to be a lock that fits.
        say: Told what goes on.

    Raises:
        EnvironmentBuildError, ImageError, MissingExtraError: it cannot be built.
        EngineError: there is no engine, or it does not take the image.
    """
    config = read_config(truss_dir)
    cache = LayerCache(cache_dir() / "images")
    secrets = Secrets(secrets_of(config))
    engine = engine or find_engine()
    platform = _platform()
    lock = chosen_lock(truss_dir, config, [platform], say, locked=locked)
    name = image_in_engine(truss_dir, config, engine, cache, platform, say, secrets, folder, lock)
    if tag is None:
        return name
    engine.tag(name, tag)
    return tag


def run(
    truss_dir: Path,
    *,
    port: int = 8080,
    gpus: bool = False,
    engine: Engine | None = None,
    timeout: float = READY_WITHIN,
    watch: bool = False,
    folder: Path | None = None,
    tag: str | None = None,
    locked: bool = False,
    say: Say = lambda _: None,
) -> Container:
    """Run a Truss in a container, and return once it answers; if this is interrupted, it is removed.

    Args:
        truss_dir: The Truss.
        port: The port on this machine's loopback; 0 picks a free one.
        gpus: Give it the machine's GPUs, also if the config does not ask for one.
        engine: Which engine; default: Docker, else podman.
        timeout: Seconds that it may take.
        watch: Whether the container reads the model's code where it is here, and takes up edits of it.
        folder: As for `build_image`; so are `tag` and `locked`.
        tag: What the image is called besides.
        locked: Whether there has to be a lock that fits.
        say: Told what goes on.

    Raises:
        EnvironmentBuildError, ImageError, MissingExtraError: its image cannot be built.
        EngineError: there is no engine, it refuses, or the server is not ready in time.
    """
    engine = engine or find_engine()
    config = read_config(truss_dir)
    image = build_image(truss_dir, engine=engine, folder=folder, tag=tag, locked=locked, say=say)
    files = SecretFiles(local_home(), engine)
    with files.for_a_start(Secrets(config.secrets)) as mounts:
        start = Start(
            image,
            truss_dir.resolve(),
            port,
            mounts=mounts,
            gpus=gpus or config.resources.use_gpu,
            environment={"PORT": PORT.partition("/")[0]},  # which is published, whatever the config says
        )
        container = engine.start(_watching(start, config, engine.user()) if watch else start)
    try:
        wait_until_ready(engine, container, timeout)
    except EngineError:
        if engine.container(container.id).state != "running":  # it stays for its logs, and reads no more
            files.remove(container)
        raise
    except KeyboardInterrupt:
        end(container, engine=engine)
        raise
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


def running(truss_dir: Path, *, engine: Engine | None = None, ended: bool = False) -> list[Container]:
    """The containers that serve a Truss, the newest first; with `ended` also those that did."""
    return (engine or find_engine()).containers(truss_dir.resolve(), running_only=not ended)


def images(truss_dir: Path, *, engine: Engine | None = None) -> list[dict[str, Any]]:
    """The images of a Truss as it is now: their names, id and size in bytes."""
    cache = LayerCache(cache_dir() / "images")
    layers = truss_layers(truss_dir.resolve(), read_config(truss_dir), cache)
    return (engine or find_engine()).images(truss_digest(layers))


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


def logs(truss_dir: Path, *, follow: bool = False) -> Iterator[str]:
    """The lines that the newest container of a Truss has written; with `follow` also those yet to come.

    Raises:
        EngineError: there is none.
    """
    engine = find_engine()
    return engine.logs(newest(truss_dir, engine), follow=follow)


@contextmanager
def attached(container: Container, say: Say, *, engine: Engine | None = None) -> Iterator[None]:
    """Remove a container when the block ends, or is interrupted; what the block then misses is no error."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopping")
    finally:
        end(container, engine=engine)


def show_logs(container: Container, say: Say, *, engine: Engine | None = None) -> None:
    """Hand on the lines that a container writes, until it ends."""
    for line in (engine or find_engine()).logs(container, follow=True):
        say(line.rstrip("\n"))


def end(container: Container, *, engine: Engine | None = None) -> None:
    """Stop and remove a container, and with it the values of its secrets.

    Raises:
        EngineError: the engine refuses.
    """
    engine = engine or find_engine()
    engine.stop(container)
    SecretFiles(local_home(), engine).remove(container)


def stop(truss_dir: Path | None, *, engine: Engine | None = None) -> list[Container]:
    """Stop and remove the containers of a Truss, or all that we started; gives those that there were."""
    engine = engine or find_engine()
    found = engine.containers(None if truss_dir is None else truss_dir.resolve())
    for container in found:
        end(container, engine=engine)
    SecretFiles(local_home(), engine).clear()
    return found


def all_images(engine: Engine) -> list[dict[str, Any]]:
    """The images of all Trusses that an engine holds: their names, id and size in bytes.

    What containers that are gone have left of their secrets on this machine is removed by the way.
    """
    found = engine.images()
    SecretFiles(local_home(), engine).clear()
    return found


def write_context(truss_dir: Path, folder: Path, *, say: Say = lambda _: None) -> str:
    """Write the build context of a Truss for this machine's processor; gives a name for the image."""
    config = read_config(truss_dir)
    cache = LayerCache(cache_dir() / "images")
    secrets = Secrets(config.secrets)
    platform = _platform()
    lock = chosen_lock(truss_dir, config, [platform], say)
    context.write_context(truss_dir, config, folder, cache, platform, secrets=secrets, say=say, lock=lock)
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
