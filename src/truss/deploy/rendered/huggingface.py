"""Hugging Face: a Space that runs the image.

Its form: https://huggingface.co/docs/hub/spaces-sdks-docker. A Space wants a Dockerfile; one line is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NoReturn

from truss.deploy.plan import File, Plan, Price
from truss.deploy.release import PORT, Release
from truss.deploy.rendered.base import refuse_connection, rendered_plan
from truss.deploy.sizes import GIB, Size, enough
from truss.deploy.target import Feature, Options, option
from truss.deploy.yaml_text import yaml_text
from truss.errors import PlanError

_COMMAND = "hf upload --repo-type space OWNER/NAME . ."

# https://huggingface.co/docs/hub/spaces-gpus, the cheapest first: dollars an hour. There is other hardware,
# whose price there was another one not long ago.
HARDWARE = (
    Size("CPU Basic", 2, 16 * GIB),
    Size("CPU Upgrade", 8, 32 * GIB, hourly=0.03),
    Size("Nvidia T4 - small", 4, 15 * GIB, "T4", 1, 0.4),
    Size("Nvidia T4 - medium", 8, 30 * GIB, "T4", 1, 0.6),
    Size("1x Nvidia L4", 8, 30 * GIB, "L4", 1, 0.8),
    Size("Nvidia A10G - small", 4, 15 * GIB, "A10G", 1, 1.0),
    Size("Nvidia A10G - large", 12, 46 * GIB, "A10G", 1, 1.5),
    Size("1x Nvidia L40S", 8, 62 * GIB, "L40S", 1, 1.8),
    Size("2x Nvidia A10G - large", 24, 92 * GIB, "A10G", 2, 3.0),
    Size("4x Nvidia L4", 48, 186 * GIB, "L4", 4, 3.8),
    Size("4x Nvidia A10G - large", 48, 184 * GIB, "A10G", 4, 5.0),
    Size("4x Nvidia L40S", 48, 382 * GIB, "L40S", 4, 8.3),
)
_AS_OF = "2026"


class SpacesOptions(Options, frozen=True, kw_only=True):
    """What a deployment to a Space can be told."""

    repository: Annotated[
        str, option("Where its image is pushed, without a tag; a Space reads public ones.")
    ] = ""
    title: Annotated[str, option("The Space's title; by default the deployment's name.")] = ""


class SpacesTarget:
    """See the module."""

    name = "huggingface-spaces"
    summary = "a Space of Hugging Face, from the image"
    options = SpacesOptions
    features = frozenset({Feature.GPU, Feature.SCALE_TO_ZERO, Feature.SECRETS, Feature.STREAMING})

    def repository(self, options: SpacesOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: SpacesOptions) -> Plan:
        """The Space's two files."""
        files = [File("README.md", _readme(release, options)), File("Dockerfile", _dockerfile(release))]
        hardware = _hardware(release)
        price = None if hardware is None else _price(hardware)
        notes = tuple(_notes(release, hardware))
        return rendered_plan(self.name, release, files, _COMMAND, notes, price=price)

    def connect(self, options: SpacesOptions) -> NoReturn:  # noqa: ARG002  # the protocol's signature
        """Raises: the hub's own command line applies the plan."""
        refuse_connection(self.name, _COMMAND)


def _hardware(release: Release) -> Size | None:
    """The cheapest that is enough, as far as prices are known; what a Space has is chosen in its settings."""
    try:
        return enough(release, HARDWARE, "Spaces")[0]
    except PlanError:
        return None


def _price(hardware: Size) -> Price:
    sleeping = ", which sleeps after 48 hours without requests" if not hardware.hourly else ""
    return Price(hardware.hourly * 730, f"one Space on {hardware.name}{sleeping}", _AS_OF)


def _readme(release: Release, options: SpacesOptions) -> str:
    head = {"title": options.title or release.name, "sdk": "docker", "app_port": PORT}
    about = release.config.description or f"The model {release.name}."
    return f"---\n{yaml_text(head)}---\n\n{about}\n"


def _dockerfile(release: Release) -> str:
    variables = "".join(f"ENV {name}={_quoted(value)}\n" for name, value in release.environment.items())
    return f"FROM {release.image}\n{variables}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _notes(release: Release, hardware: Size | None) -> Iterator[str]:
    yield "the Space has to exist: hf repo create NAME --repo-type space --space_sdk docker"
    what = "GPU" if release.accelerator is not None else "hardware"
    if hardware is None:
        yield f"choose the Space's {what} in its settings: none that has a price here is enough"
    elif hardware.hourly:
        yield f"choose the Space's {what} in its settings, {hardware.name}: files cannot ask for one"
    if release.secrets:
        names = ", ".join(release.secret_variables)
        yield f"put its secrets into the Space's settings, as {names}"
