"""`truss readme`."""

from __future__ import annotations

from pathlib import Path

import click

from truss.cli.arguments import directory
from truss.cli.output import result


@click.command("readme")
@directory
@click.option("--write", is_flag=True, help="Write it to README.md in the Truss, and print that file's path.")
def command(directory: Path, write: bool) -> None:
    """Describe a Truss in Markdown.

    What it is, how to serve and ask it, and its examples. Nothing of the Truss is run.
    """
    text = _text(directory)
    if not write:
        result(text.rstrip("\n"))
        return
    page = directory / "README.md"
    _replace(page, text)
    result(str(page))


def _text(truss_dir: Path) -> str:
    from truss.config import read_config
    from truss.model.examples import read_examples
    from truss.packaging.readme import readme

    config = read_config(truss_dir)
    return readme(truss_dir.resolve().name, config, read_examples(truss_dir, config))


def _replace(page: Path, text: str) -> None:
    """Write beside, then rename: the page that is there is replaced whole or not at all."""
    beside = page.with_name(f".{page.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(page)
    finally:
        beside.unlink(missing_ok=True)
