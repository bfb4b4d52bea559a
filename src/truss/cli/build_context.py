"""`truss build-context`: a Dockerfile with everything that it copies."""

from __future__ import annotations

from pathlib import Path

import click

from truss.cli.arguments import FOLDER
from truss.cli.output import note, result


@click.command("build-context")
@click.argument("directory", metavar="DIR", type=FOLDER)
@click.argument("target", metavar="TARGET", type=FOLDER)
@click.option("--platform", default="linux/amd64", show_default=True, help="For which platform the image is.")
@click.option("--base", metavar="REF", help="The image to build on, in place of the config's.")
@click.option(
    "--locked", is_flag=True, help="Refuse unless truss.lock fits; by default it is used if it does."
)
def command(directory: Path, target: Path, platform: str, base: str | None, locked: bool) -> int:
    """Write a Dockerfile with everything it copies.

    TARGET is a new folder; `docker build TARGET` makes the image.
    """
    from truss.build import LayerCache
    from truss.build.chosen import chosen_lock
    from truss.build.context import write_context
    from truss.config import read_config
    from truss.environments.kept import cache_dir
    from truss.model import Secrets
    from truss.oci import Platform

    config = read_config(directory)
    cache = LayerCache(cache_dir() / "images")
    secrets = Secrets(config.secrets)
    of = Platform.parse(platform)
    lock = chosen_lock(directory, config, [of], note, base, locked=locked)
    write_context(directory, config, target, cache, of, base, secrets, note, lock)
    result(str(target / "Dockerfile"))
    return 0
