"""References: the names of images, `registry/repository:tag@digest`.

The rules are those that container engines share: a first part with a dot, a colon or an upper-case letter,
and the name `localhost`, are registries; anything else is a repository on Docker Hub, where names of one part
live under `library/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from truss.errors import BrokenImageError, InvalidReferenceError
from truss.oci.digest import Digest

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST_REPOSITORY = 255
_EXAMPLE = "write it like ghcr.io/team/model:1.0"


@dataclass(frozen=True, order=True)
class Repository:
    """Where the versions of an image are kept.

    Attributes:
        registry: Host and port, e.g. `docker.io`, `localhost:5000`, `[::1]:5000`.
        name: The path on that registry, e.g. `library/python`.
    """

    registry: str
    name: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"


@dataclass(frozen=True)
class Reference:
    """The name of one image.

    Attributes:
        repository: Where it is kept.
        tag: A name that may move; `None` when only a digest was given.
        digest: Exactly which content; `None` when only a tag was given.
    """

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; without tag and digest it means the tag `latest`.

        Raises:
            InvalidReferenceError: It is not one; the hint says which part is wrong.
        """
        name, digest = _split_digest(text, text.strip())
        name, tag = _split_tag(text, name)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(_repository(text, name), tag, digest)

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest is not None else self.tag or DEFAULT_TAG

    def at(self, digest: Digest) -> Reference:
        """The same image, pinned to `digest`."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.repository}{tag}{digest}"


def _split_digest(text: str, rest: str) -> tuple[str, Digest | None]:
    name, at, digest = rest.partition("@")
    if not at:
        return name, None
    try:
        return name, Digest.parse(digest)
    except BrokenImageError as error:
        raise _invalid(text, str(error.hint)) from None


def _split_tag(text: str, rest: str) -> tuple[str, str | None]:
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag or tag.endswith("]"):  # the colon of a port, or of an IPv6 address
        return rest, None
    if _TAG.fullmatch(tag) is None:
        rule = "up to 128 letters, digits, '_', '.' and '-', beginning with none of the last two"
        raise _invalid(text, f"the tag '{tag}' is not one: {rule}")
    return name, tag


def _repository(text: str, name: str) -> Repository:
    if "://" in name:
        raise _invalid(text, f"leave out '{name.partition('://')[0]}://'")
    first, slash, rest = name.partition("/")
    if slash and _names_a_registry(first):
        registry, path = first, rest
    else:
        registry, path = DOCKER_HUB, name
    if _REGISTRY.fullmatch(registry) is None:
        raise _invalid(text, f"'{registry}' is no registry: a host name, and a port where it has one")
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = DOCKER_HUB
    _check_path(text, path)
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Repository(registry, path)


def _names_a_registry(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _check_path(text: str, path: str) -> None:
    if not path:
        raise _invalid(text, f"the name of the image is missing: {_EXAMPLE}")
    if path != path.lower():
        raise _invalid(text, f"names are in lower case: '{path.lower()}'")
    for part in path.split("/"):
        if _PART.fullmatch(part) is None:
            rule = "letters and digits, with single '.', '_', '__' or dashes between"
            raise _invalid(text, f"'{part}' is no part of a name: {rule}")
    if len(path) > _LONGEST_REPOSITORY:
        raise _invalid(text, f"the name has {len(path)} characters; {_LONGEST_REPOSITORY} are allowed")


def _invalid(text: str, hint: str) -> InvalidReferenceError:
    return InvalidReferenceError(f"'{text}' does not name an image", hint=hint)
