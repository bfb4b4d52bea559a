"""The image of a Truss, put together without a container engine.

What is in it, the lowest first: the base | wheels, large ones alone | the server | small data | large data
files, one by one | the model's code and config. So an edit of the code changes kilobytes on top.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from truss.build import wheels
from truss.build.attestations import attestations
from truss.build.baked import baked_entries, baked_layers
from truss.build.base import check_python
from truss.build.cache import LayerCache, key_of
from truss.build.chosen import Say, check_lock, chosen_base, chosen_wheels, lock_of
from truss.build.components import Materials, components_of, from_text, licences_in, normal, to_text
from truss.build.dockerfile import needs_engine
from truss.build.lock import Lock
from truss.build.own import server_layers, truss_digest, truss_layers
from truss.build.resolution import Target, unpack
from truss.build.settings import container_settings
from truss.config import CONFIG_FILE, TrussConfig
from truss.environments import Wanted, wanted_by
from truss.environments.builds import with_cpu_builds
from truss.errors import ImageError
from truss.oci import Artifact, Image, ImageIndex, Layer, Platform, build_image, build_index
from truss.oci.pull import Pulled, pull_image

_FORMAT = "3"
"""Part of every key: raised when the same wheels come to lie in layers in another way."""


@dataclass(frozen=True)
class Options:
    """How an image is made.

    Attributes:
        platforms: For what it is made.
        base: The base, in place of the config's.
        lock: Exactly which base and wheels; None: the newest that fit.
        verify: Read data files again, even if their digests are remembered.
        secrets: The values of the secrets that open stores of weights, by name.
        attested: Whether a bill of materials and the provenance go along.
    """

    platforms: tuple[Platform, ...]
    base: str | None = None
    lock: Lock | None = None
    verify: bool = False
    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    attested: bool = True


@dataclass(frozen=True)
class Built:
    """An image that was made, and what it was made from.

    Attributes:
        image: For one platform, or an index over several.
        lock: Its base and wheels, so that the same can be made again.
        attached: What goes along with each platform's image: its bill of materials and its provenance.
    """

    image: Image | ImageIndex
    lock: Lock
    attached: tuple[Artifact, ...] = ()

    @property
    def images(self) -> tuple[Image, ...]:
        """The images, one per platform."""
        return self.image.images if isinstance(self.image, ImageIndex) else (self.image,)


def build(
    truss_dir: Path, config: TrussConfig, options: Options, cache: LayerCache, say: Say = lambda _: None
) -> Built:
    """Make the image of a Truss.

    Args:
        truss_dir: The Truss.
        config: Its config.
        options: How.
        cache: Where layers are kept.
        say: Told what goes on.

    Raises:
        EnvironmentBuildError: a requirement cannot be met, or has no wheel.
        ImageError: the base is not to be had, a file cannot be read, or the config needs an engine.
        MissingExtraError: uv, or a package that fetches weights, is not installed.
        WeightsError: weights that the config names elsewhere cannot be fetched.
    """
    needed = needs_engine(config)
    if needed:
        raise ImageError(
            f"{' and '.join(needed)} can only be satisfied by a container engine",
            where=str(truss_dir / CONFIG_FILE),
            hint="build with one: --builder docker",
        )
    truss_dir = truss_dir.resolve()
    wanted = wanted_by(truss_dir, config, own=None)
    if options.lock is not None:
        check_lock(options.lock, wanted, config, options.base)
    baked = baked_layers(baked_entries(config, options.secrets, say), cache, verify=options.verify)
    own = truss_layers(truss_dir, config, cache, verify=options.verify)
    made = [
        _for_platform(platform, wanted, config, baked, own, options, cache, say)
        for platform in options.platforms
    ]
    images = [one.image for one in made]
    bases = {one.image.platform: one.base for one in made}
    lock = lock_of(wanted, config, bases, {one.image.platform: one.wheels for one in made})
    attached = [artifact for one in made for artifact in one.attached]
    return Built(images[0] if len(images) == 1 else build_index(images), lock, tuple(attached))


@dataclass(frozen=True)
class _Made:
    """The image for one platform, and what it was made from."""

    image: Image
    base: Pulled
    wheels: str
    attached: tuple[Artifact, ...]


def _for_platform(
    platform: Platform,
    wanted: Wanted,
    config: TrussConfig,
    baked: Sequence[Layer],
    own: Sequence[Layer],
    options: Options,
    cache: LayerCache,
    say: Say,
) -> _Made:
    target = Target(platform, wanted.python)
    reference = chosen_base(config, wanted.python, options.base, options.lock)
    with ThreadPoolExecutor(1) as pool:  # the registry is asked while wheels are looked for
        pulling = pool.submit(pull_image, reference, platform)
        text = chosen_wheels(wanted, target, options.lock, cache, say)
        pulled = pulling.result()
    check_python(pulled.image.config.env, wanted.python, reference)  # before wheels are fetched for it
    of_wheels = _Wheels(text, wanted, target, cache, say)
    layers = of_wheels.layers()
    digest = truss_digest(own)
    settings = container_settings(pulled.image.config, config, platform, digest)
    stack = [*layers, *server_layers(cache), *baked, *own]
    image = build_image(settings, stack, base=pulled.image, annotations=_base_annotations(pulled))
    if not options.attested:
        return _Made(image, pulled, text, ())
    made_of = Materials(
        name=config.model_name or "model",
        image=image,
        base=replace(pulled.reference, digest=None),
        base_digest=str(pulled.image.digest),
        python=wanted.python,
        components=components_of(text, from_text(of_wheels.licences())),
        truss_digest=digest,
    )
    return _Made(image, pulled, text, attestations(made_of))


@dataclass(frozen=True)
class _Wheels:
    """Resolved wheels, and where what is made of them is kept."""

    lock: str
    wanted: Wanted
    target: Target
    cache: LayerCache
    say: Say

    def layers(self) -> list[Layer]:
        """Their layers."""
        return self.cache.layers(self._key("wheels"), self._pack)

    def licences(self) -> str:
        """What their metadata says of licences, as `components.to_text` writes it."""

        def find() -> str:  # somebody deleted what was noted when they were packed
            with self._unpacked() as folder:
                return to_text(licences_in(folder))

        return self.cache.text(self._key("licences"), find)

    def _key(self, what: str) -> str:
        return key_of(what, _FORMAT, self.lock, str(self.target.platform), self.target.python)

    def _pack(self) -> Iterator[Layer]:
        with self._unpacked() as folder:
            self.cache.text(self._key("licences"), lambda: to_text(licences_in(folder)))
            installed = wheels.installed(folder)
            shared = wheels.shared_files(installed)
            for group in wheels.grouped(installed):
                yield from self.cache.layers(
                    self._key_of_group(group, shared), partial(self._pack_group, group, folder)
                )

    def _pack_group(self, group: wheels.Group, folder: Path) -> list[Layer]:
        self.say(f"Packing {group.name}")
        return [self.cache.layer(wheels.entries(folder, group.wheels), group.name)]

    def _key_of_group(self, group: wheels.Group, shared: frozenset[str]) -> str:
        """What decides what is in a layer: its own wheels, unless they write what others write as well."""
        digests = {one.name: one.sha256 for one in components_of(self.lock, {}) if not one.from_source}
        made_of = [digests.get(normal(wheel.distribution), "") for wheel in group.wheels]
        alone = all(made_of) and not any(shared.intersection(wheel.files) for wheel in group.wheels)
        named = key_of(group.name, *made_of) if alone else key_of(group.name, self.lock)
        return key_of("group", _FORMAT, named, str(self.target.platform), self.target.python)

    @contextmanager
    def _unpacked(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.cache.folder) as place:
            folder = Path(place)
            self.say(f"Fetching wheels for {self.target.platform}")
            with_cpu_builds(lambda wishes: unpack(self.lock, wishes, self.target, folder), self.wanted)
            yield folder


def _base_annotations(pulled: Pulled) -> dict[str, str]:
    named = replace(pulled.reference, digest=None)
    return {
        "org.opencontainers.image.base.name": str(named),
        "org.opencontainers.image.base.digest": str(pulled.reference.digest),
    }
