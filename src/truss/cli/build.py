"""`truss build`: the image of a Truss, without a container engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truss.cli.arguments import directory, json_output
from truss.cli.output import json_result, note, result

if TYPE_CHECKING:
    from truss.build import Built, LayerCache
    from truss.build.delivered import LaidLayer
    from truss.build.engine import Engine
    from truss.oci import Platform, Pushed, Reference


@click.command("build")
@directory
@click.option("--push", metavar="REF", help="Push the image to a registry, e.g. ghcr.io/team/iris:1.0.")
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write the image: PATH.tar as `docker load` takes it, any other PATH as an OCI layout folder.",
)
@click.option(
    "--platform",
    default="linux/amd64",
    show_default=True,
    metavar="LIST",
    help="For which platforms, with commas: linux/amd64,linux/arm64.",
)
@click.option("--base", metavar="REF", help="The image to build on, in place of the config's.")
@click.option(
    "--tag", metavar="REF", help="What an image in a PATH.tar is called; by default after the model."
)
@click.option("--locked", is_flag=True, help="Exactly the base and wheels of truss.lock.")
@click.option(
    "--builder",
    metavar="NAME",
    default="auto",
    help="none: without an engine; docker or podman: with it; auto: with one where the config needs it.",
)
@click.option("--network", metavar="NAME", default="", help="The network of an engine's build, e.g. host.")
@click.option("--verify", is_flag=True, help="Read data files again, even if their digests are remembered.")
@click.option("--no-attestations", is_flag=True, help="Attach no bill of materials and no provenance.")
@json_output
def command(
    directory: Path,
    push: str | None,
    output: Path | None,
    platform: str,
    base: str | None,
    tag: str | None,
    locked: bool,
    builder: str,
    network: str,
    verify: bool,
    no_attestations: bool,
    as_json: bool,
) -> int:
    """Make the image of a Truss, without Docker.

    Wheels are resolved for the platform, laid into layers with the Truss and the server, and put on a base.
    What was made from is written to truss.lock in the Truss.
    """
    from truss.build import LayerCache, Options, add_to_lock, build, read_lock
    from truss.build.containers import build_with_engine, image_name, secrets_of
    from truss.build.dockerfile import needs_engine
    from truss.build.pushes import reach
    from truss.config import read_config
    from truss.environments.kept import cache_dir
    from truss.model import Secrets
    from truss.oci import Platform, Reference

    if push is None and output is None:
        raise click.UsageError("say where the image goes: --push REF or --output PATH")
    destination = None if push is None else Reference.parse(push)
    config = read_config(directory)
    cache = LayerCache(cache_dir() / "images")
    platforms = tuple(Platform.parse(text.strip()) for text in platform.split(","))
    if output is not None and output.suffix == ".tar" and len(platforms) > 1:
        raise click.UsageError("an archive holds one platform: name one with --platform, or write a folder")
    lock = read_lock(directory) if locked else None
    engine = _engine(builder, needs_engine(config))
    if engine is not None:
        if len(platforms) > 1:
            raise click.UsageError("with an engine there is one platform at a time")
        if output is not None and output.suffix != ".tar":
            raise click.UsageError("an engine writes an archive, not a layout: --output PATH.tar")
        if no_attestations:
            note("--no-attestations changes nothing here: what an engine builds has none")
        name = str(destination) if destination else tag or f"{image_name(config, directory)}:latest"
        _, made_of = build_with_engine(
            directory,
            config,
            engine,
            name,
            cache,
            platforms[0],
            base=base,
            lock=lock,
            network=network,
            secrets=Secrets(secrets_of(config)),
            say=note,
            verify=verify,
        )
        if not locked:
            add_to_lock(directory, made_of)
        _deliver(engine, name, platforms[0], destination is not None, output, as_json=as_json)
        return 0
    if destination is not None:
        reach(destination)
    options = Options(
        platforms=platforms,
        base=base,
        lock=lock,
        verify=verify,
        secrets=Secrets(config.secrets),
        attested=not no_attestations and not _only_an_archive(push, output),
    )
    built = build(directory, config, options, cache, say=note)
    if not locked:
        add_to_lock(directory, built.lock)
    pushed = None if destination is None else _push(built, destination, cache)
    name = tag or f"{image_name(config, directory)}:latest"
    if output is not None:
        _write(built, output, name)
    _report(built, pushed, output, name, as_json=as_json)
    return 0


def _only_an_archive(push: str | None, output: Path | None) -> bool:
    """Whether the image goes nowhere but to an archive for an engine, which has no place for more."""
    return push is None and output is not None and output.suffix == ".tar"


def _engine(builder: str, needed: list[str]) -> Engine | None:
    """The engine that builds; None when none is wanted."""
    from truss.build.engine import find_engine

    if builder == "none" or (builder == "auto" and not needed):
        return None
    if needed:
        note(f"an engine builds this image, since the config has {' and '.join(needed)}")
    return find_engine(None if builder == "auto" else builder)


def _deliver(
    engine: Engine, name: str, platform: Platform, pushes: bool, output: Path | None, *, as_json: bool
) -> None:
    """Bring an image of the engine to where it is wanted, and say so."""
    from truss.build.delivered import in_archive, in_registry

    digest = engine.push(name) if pushes else ""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        engine.save(name, output)
    if not as_json:
        result(f"{name}@{digest}" if digest else f"{output} {name}")
        return
    archived = None if output is None else in_archive(output)
    delivered = in_registry(name, digest, platform) if pushes else None
    found = delivered or archived
    assert found is not None  # it went somewhere
    layers = found.layers if found.layers is not None or archived is None else archived.layers
    json_result(
        {
            "reference": f"{name}@{found.digest}" if pushes and found.digest else None,
            "digest": found.digest or None,
            "name": name,
            "output": output and str(output),
            "platforms": [str(platform)],
            "bytes_uploaded": None if pushes else 0,  # the engine does not tell
            "layers": None if layers is None else _described(platform, layers),
            "attached": [],
        }
    )


def _push(built: Built, destination: Reference, cache: LayerCache) -> Pushed:
    from truss.build.pushes import push
    from truss.cli.uploads import shown

    note(f"Pushing to {destination}")
    sizes = {layer.digest: layer.size for image in built.images for layer in image.layers}
    with shown(sum(sizes.values())) as progress:
        return push(built.image, destination, cache, built.attached, progress=progress)


def _write(built: Built, output: Path, name: str) -> None:
    from truss.oci import Image, Reference, write_layout
    from truss.oci.docker_archive import write_docker_archive

    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix != ".tar":
        write_layout(output, built.image, attached=built.attached)
        return
    assert isinstance(built.image, Image)  # of one platform
    write_docker_archive(output, built.image, Reference.parse(name))


def _report(built: Built, pushed: Pushed | None, output: Path | None, name: str, *, as_json: bool) -> None:
    from truss.build.delivered import laid_layers

    digest = str(built.image.digest)
    if not as_json:
        result(str(pushed.reference) if pushed else f"{output} {digest}")
        if pushed:
            note(f"{pushed.bytes_uploaded} bytes uploaded")
        return
    attached = [
        {
            "subject": str(artifact.subject.digest),
            "digest": str(artifact.digest),
            "type": artifact.descriptor.artifact_type,
        }
        for artifact in built.attached
    ]
    json_result(
        {
            "reference": str(pushed.reference) if pushed else None,
            "digest": digest,
            "name": name if output is not None and output.suffix == ".tar" else None,
            "output": None if output is None else str(output),
            "platforms": [str(image.platform) for image in built.images],
            "bytes_uploaded": pushed.bytes_uploaded if pushed else 0,
            "layers": [
                layer for image in built.images for layer in _described(image.platform, laid_layers(image))
            ],
            "attached": attached,
        }
    )


def _described(platform: Platform, layers: Sequence[LaidLayer]) -> list[dict[str, Any]]:
    return [
        {
            "platform": str(platform),
            "digest": layer.digest,
            "bytes": layer.size,
            "created_by": layer.created_by,
        }
        for layer in layers
    ]
