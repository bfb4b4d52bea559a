"""What fetching needs of a store, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from truss.config import secret_variable
from truss.errors import WeightsError
from truss.weights.sources import Source

BLOCK = 1 << 20
"""How many bytes are read and written at a time."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a store.

    Attributes:
        path: Where it is below the source, `/` between the parts.
        size: How many bytes it has; None: the store does not tell.
        version: What changes when its content does, such as an entity tag; empty: the store has nothing.
        digests: What its content has to come to: by algorithm (`sha256`, `md5`, `git`), in hexadecimal.
        address: How the store itself finds it.
    """

    path: str
    size: int | None
    version: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a source as they are now.

    Attributes:
        files: All that the source's patterns let through.
        revision: The commit that they belong to; empty where there are none.
    """

    files: tuple[RemoteFile, ...]
    revision: str = ""


class Store(Protocol):
    """A source, spoken to by its protocol. Used by several threads at a time."""

    def listing(self) -> Listing:
        """The source's files.

        Raises:
            WeightsError: there are none, or they are not shown.
            OSError: the store cannot be reached for now.
        """

    def read(self, file: RemoteFile, start: int) -> tuple[int, Iterator[bytes]]:
        """A file's content from a byte on: where it really begins, which may be 0, and what follows.

        Raises:
            WeightsError: the file is not there, or not shown.
            OSError: the store cannot be reached for now, or broke off; later blocks may raise it too.
        """


def missing(source: Source, what: str = "there is nothing at this address") -> WeightsError:
    """The error for a source that is not there."""
    hint = "correct the address in config.yaml"
    if source.scheme == "hf":
        hint += f"; a private repository needs the secret '{source.secret or 'hf_access_token'}'"
    return WeightsError(what, where=bare(source.url), hint=hint)


def refused(source: Source, *, given: bool) -> WeightsError:
    """The error for a source that is not shown, which names the secret that would open it.

    Args:
        source: The source.
        given: Whether a secret was found and sent.
    """
    if given:
        hint = f"the secret '{source.secret}' has a value that the store does not take: give it another"
    elif source.secret:
        hint = (
            f"give the secret '{source.secret}' a value: declare it under `secrets:` in config.yaml, "
            f"and set {secret_variable(source.secret)} or the file /secrets/{source.secret}"
        )
    else:
        hint = "name the secret that opens it in config.yaml (`auth_secret_name`), and give it a value"
    return WeightsError("the store refuses to show this", where=bare(source.url), hint=hint)


def bare(url: str) -> str:
    """An address for messages: without what may be a secret in it, a password or a signature."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
