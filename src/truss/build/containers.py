"""A Truss in a container of this machine's engine: built when it changed, started, waited for."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from truss.build.cache import LayerCache
from truss.build.chosen import Say
from truss.build.context import lay_context, plan_context
from truss.build.daemonless import Options, build
from truss.build.dockerfile import needs_engine
from truss.build.engine import Container, Engine
from truss.build.inherited import inherited
from truss.build.lock import Lock
from truss.config import CONFIG_FILE, TrussConfig
from truss.config.values import secret_variable
from truss.errors import EngineError, ImageError
from truss.oci import Image, Platform, Reference
from truss.oci.docker_archive import archive_blocks

PORT = "8080/tcp"

_LAST_LINES = 20


def image_in_engine(
    truss_dir: Path,
    config: TrussConfig,
    engine: Engine,
    cache: LayerCache,
    platform: Platform,
    say: Say,
    secrets: Mapping[str, str | None] = MappingProxyType({}),
    folder: Path | None = None,
    lock: Lock | None = None,
) -> str:
    """The name of the Truss's image in the engine: built, and loaded unless the engine holds the same.

    Args:
        truss_dir: The Truss.
        config: Its config.
        engine: The engine.
        cache: Where layers are kept.
        platform: For which platform the image is.
        say: Told what goes on.
        secrets: The values of the secrets that a build may ask for, by name.
        folder: Have the engine build, from a context that is written there and stays; None: as it has to be.
        lock: Exactly which base and wheels; None: the newest that fit.

    Raises:
        EnvironmentBuildError, ImageError, MissingExtraError: it cannot be built.
        EngineError: the engine does not take it.
    """
    if needs_engine(config) or folder is not None:
        called, _ = build_with_engine(
            truss_dir,
            config,
            engine,
            None,
            cache,
            platform,
            lock=lock,
            secrets=secrets,
            say=say,
            folder=folder,
        )
        return called
    options = Options((platform,), lock=lock, secrets=secrets, attested=False)
    image = build(truss_dir, config, options, cache, say).image
    assert isinstance(image, Image)  # of one platform
    name = f"truss/{image_name(config, truss_dir)}:{image.digest.hex[:16]}"
    if not engine.has_image(name):
        say(f"Loading the image {name}")
        engine.load(archive_blocks(image, Reference.parse(name)))
    return name


def build_with_engine(
    truss_dir: Path,
    config: TrussConfig,
    engine: Engine,
    name: str | None,
    cache: LayerCache,
    platform: Platform,
    *,
    base: str | None = None,
    lock: Lock | None = None,
    network: str = "",
    secrets: Mapping[str, str | None] = MappingProxyType({}),
    say: Say = lambda _: None,
    folder: Path | None = None,
    verify: bool = False,
) -> tuple[str, Lock]:
    """Build the image of a Truss with a container engine, which runs what its config asks for.

    Args:
        truss_dir: The Truss.
        config: Its config.
        engine: The engine.
        name: What the image is called; None: after all that it is made from; it is built unless it is there.
        cache: Where resolutions are kept.
        platform: For which platform the image is.
        base: The base, in place of the config's.
        lock: Exactly which base and wheels; None: the newest that fit.
        network: The network that commands of the build have; empty: the engine's default.
        secrets: The values of the secrets that the build may ask for, by name.
        say: Told what goes on.
        folder: Where the build context is written and stays; default: nowhere.
        verify: Read data files again, even if their digests are remembered.

    Returns:
        The name, and exactly which base and wheels the image has.

    Raises:
        EnvironmentBuildError, ImageError, MissingExtraError: the build context cannot be written, or a secret
            that the build reads has no value.
        EngineError: the build failed.
    """
    readable = _build_secrets(truss_dir, config, secrets)
    handed_on = _handed_on(config, engine, say)
    planned = plan_context(
        truss_dir, config, cache, platform, base, secrets, say, handed_on.keys(), lock=lock, verify=verify
    )
    called = name or f"truss/{image_name(config, truss_dir)}:{planned.digest(cache)[:16]}"
    if name is None:
        if folder is None and engine.has_image(called):
            return called, planned.lock
        say(f"Building with {engine.program}{_because(config)}")
    with tempfile.TemporaryDirectory() as place:
        context = folder or Path(place) / "context"
        lay_context(planned, context, say)
        engine.build(context, called, network=network, secrets={**readable, **handed_on})
    return called, planned.lock


def _because(config: TrussConfig) -> str:
    needed = needs_engine(config)
    return f", since the config has {' and '.join(needed)}" if needed else ""


def secrets_of(config: TrussConfig) -> dict[str, str | None]:
    """The secrets that a build may ask for, with their defaults: the model's, and those of its commands."""
    return {**dict.fromkeys(config.build.secret_to_path_mapping), **config.secrets}


def _handed_on(config: TrussConfig, engine: Engine, say: Say) -> dict[str, str]:
    """The settings of this machine for the build's commands, as secrets; none for an engine without those."""
    found = inherited(os.environ) if config.build_commands else {}
    if not found or engine.mounts_secrets():
        return found
    say("The build's commands get no package indexes and certificates of this machine: that takes BuildKit")
    return {}


def _build_secrets(truss_dir: Path, config: TrussConfig, secrets: Mapping[str, str | None]) -> dict[str, str]:
    """The values of the secrets that the build's commands read.

    Raises:
        ImageError: one has no value.
    """
    found = {}
    for name in config.build.secret_to_path_mapping:
        value = secrets.get(name)
        if value is None:
            raise ImageError(
                f"the secret '{name}', which the build reads, has no value",
                where=str(truss_dir / CONFIG_FILE),
                hint=f"set {secret_variable(name)}, or `secrets:` in ~/.truss/config.yaml",
            )
        found[name] = value
    return found


def image_name(config: TrussConfig, truss_dir: Path) -> str:
    """A name for the image of a Truss: its model's or its folder's, in letters, digits and dashes."""
    text = (config.model_name or truss_dir.resolve().name).lower()
    words = "".join(sign if sign.isalnum() and sign.isascii() else " " for sign in text).split()
    return "-".join(words) or "model"


def wait_until_ready(
    engine: Engine, container: Container, timeout: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return once the server in a container says that it is ready.

    Raises:
        EngineError: it ended, or is not ready in time; with its last lines.
    """
    deadline = time.monotonic() + timeout
    while not _is_ready(container.ports.get(PORT, 0)):
        state = engine.container(container.id).state
        if state != "running":
            raise EngineError(f"the container {state}:\n{_last_lines(engine, container)}", hint=_LOOK)
        if time.monotonic() > deadline:
            raise EngineError(
                f"the server was not ready after {timeout:.0f} s:\n{_last_lines(engine, container)}",
                hint=_LOOK,
            )
        sleep(0.1)


_LOOK = "`truss logs` shows all that it wrote, `truss kill` removes it"


def _last_lines(engine: Engine, container: Container) -> str:
    return "".join(list(engine.logs(container))[-_LAST_LINES:]).rstrip()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
