"""The image that others are built on: which, and as exactly which content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from truss.config import TrussConfig
from truss.errors import ImageError
from truss.oci import Reference, Repository
from truss.oci.reference import DOCKER_HUB

MIRROR_VARIABLE = "TRUSS_BASE_REGISTRY"
"""The environment variable that names a registry to take base images from, in place of Docker Hub."""


def base_reference(
    config: TrussConfig, python: str, given: str | None = None, variables: Mapping[str, str] = os.environ
) -> Reference:
    """The base of a Truss's image: what the caller gives, else what its config says, else Python's own.

    Args:
        config: The Truss's config.
        python: The version of Python that the default base has to hold, `3.11`.
        given: A reference that goes before the config's.
        variables: Environment variables: `TRUSS_BASE_REGISTRY` is taken in place of Docker Hub.

    Raises:
        InvalidReferenceError: a reference is not one.
    """
    stated = given or (config.base_image.image if config.base_image is not None else "")
    reference = Reference.parse(stated or f"python:{python}-slim")
    mirror = variables.get(MIRROR_VARIABLE, "").strip().rstrip("/")
    if not mirror or reference.repository.registry != DOCKER_HUB:
        return reference
    host, _, path = mirror.partition("/")
    name = f"{path}/{reference.repository.name}" if path else reference.repository.name
    return replace(reference, repository=Repository(host, name))


def stands_for(locked: Reference, wanted: Reference) -> bool:
    """Whether a base that was taken is the one that is wanted: from a mirror, it has the mirror's name.

    Args:
        locked: The base as it was taken, with its digest.
        wanted: The base as it is asked for, of no mirror.
    """
    if locked.tag != wanted.tag or wanted.digest not in (None, locked.digest):
        return False
    taken, asked = locked.repository, wanted.repository
    if taken == asked:
        return True
    return asked.registry == DOCKER_HUB and f"/{taken.name}".endswith(f"/{asked.name}")


def check_python(variables: Mapping[str, str], python: str, reference: Reference) -> None:
    """Refuse a base that says it holds another Python than the wheels are for.

    Args:
        variables: The base's environment variables; Python's own images state `PYTHON_VERSION`.
        python: The version that is wanted, `3.11`.
        reference: The base.

    Raises:
        ImageError: it holds another version.
    """
    stated = variables.get("PYTHON_VERSION", "")
    if stated and ".".join(stated.split(".")[:2]) != python:
        raise ImageError(
            f"the base holds Python {stated}, and the Truss is for Python {python}",
            where=str(reference),
            hint="set python_version in config.yaml, or choose another base with --base",
        )
