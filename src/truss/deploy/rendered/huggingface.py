"""Hugging Face: a Space that runs the image.

Its form: https://huggingface.co/docs/hub/spaces-sdks-docker. A Space wants a Dockerfile; one line is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NoReturn

from truss.deploy.plan import File, Plan
from truss.deploy.release import PORT, Release
from truss.deploy.rendered.base import refuse_connection, rendered_plan
from truss.deploy.target import Feature, Options, option
from truss.deploy.yaml_text import yaml_text

_COMMAND = "hf upload --repo-type space OWNER/NAME . ."


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
        return rendered_plan(self.name, release, files, _COMMAND, tuple(_notes(release)))

    def connect(self, options: SpacesOptions) -> NoReturn:  # noqa: ARG002  # the protocol's signature
        """Raises: the hub's own command line applies the plan."""
        refuse_connection(self.name, _COMMAND)


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


def _notes(release: Release) -> Iterator[str]:
    yield "the Space has to exist: hf repo create NAME --repo-type space --space_sdk docker"
    if release.accelerator is not None:
        yield "choose the Space's GPU in its settings: files cannot ask for one"
    if release.secrets:
        names = ", ".join(release.secret_variables)
        yield f"put its secrets into the Space's settings, as {names}"
