"""A registry with a base image, and the command line to build on it: what tests of images stand on."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truss.oci import (
    Blob,
    Descriptor,
    FileContent,
    ImageConfig,
    Layer,
    Platform,
    Reference,
    build_image,
    build_index,
    push_image,
)
from truss.oci.digest import measure
from truss.oci.media_types import LAYER
from truss.testing.registry import running_registry


@dataclass(frozen=True)
class Bench:
    """What builds need.

    Attributes:
        registry: The registry's host and port; it has the default base.
        cache: The folder that builds keep things in.
    """

    registry: str
    cache: Path

    def variables(self, cache: Path | None = None) -> dict[str, str]:
        """The environment variables that name both; with another cache if one is given."""
        return {"TRUSS_BASE_REGISTRY": self.registry, "TRUSS_CACHE_DIR": str(cache or self.cache)}

    def run(
        self,
        *words: str | Path,
        cache: Path | None = None,
        program: tuple[str, ...] = (),
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `truss WORDS...`.

        Args:
            words: The arguments.
            cache: Another cache.
            program: What runs it, e.g. a program that runs another under a limit.
            variables: Environment variables besides this process's.
        """
        return subprocess.run(
            [*program, sys.executable, "-m", "truss.cli", *map(str, words)],
            capture_output=True,
            text=True,
            env={**os.environ, **self.variables(cache), **variables},
            check=False,
            timeout=300,
        )

    def build(self, folder: Path, name: str, *options: str, cache: Path | None = None) -> dict[str, Any]:
        """Build and push; what `--json` says.

        Raises:
            AssertionError: it fails; with what it said.
        """
        done = self.run("build", folder, "--push", f"{self.registry}/{name}", "--json", *options, cache=cache)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told


@contextlib.contextmanager
def running_bench(base: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Bench]:
    """Run a registry that has a base for two processors under the default base's name.

    Args:
        base: The archive of the base's files, not compressed; `NAME-arm64.tar` beside it is taken for that
            processor. Without, the same files are said to be for it, which is enough where none is looked at.
        folder: Where registry and cache are; is made.
        environment: The base's environment variables; by default a path.
    """
    with running_registry(folder / "registry") as running:
        env = dict(environment or {"PATH": "/usr/bin:/bin"})
        foreign = base.with_name(f"{base.stem}-arm64.tar")
        archives = {"amd64": base, "arm64": foreign if foreign.is_file() else base}
        images = [
            build_image(ImageConfig(Platform(processor), env=env), [_base_layer(archive)])
            for processor, archive in archives.items()
        ]
        push_image(build_index(images), Reference.parse(f"{running.host}/library/python:3.11-slim"))
        (folder / "cache").mkdir()
        yield Bench(running.host, folder / "cache")


def _base_layer(archive: Path) -> Layer:
    content = FileContent.of(archive)
    digest, _ = measure(content.blocks())
    return Layer(Blob(Descriptor(LAYER["none"], digest, content.size), content), digest, "base")
