"""Which protocol a source speaks."""

from __future__ import annotations

from truss.weights.sources import Source
from truss.weights.store import Store


def open_store(source: Source, secret: str) -> Store:
    """The store of a source; its library is imported here, if it needs one.

    Args:
        source: The source.
        secret: The value of its secret; empty: none was given.

    Raises:
        MissingExtraError: the package that speaks the protocol is not installed.
    """
    if source.scheme == "hf":
        from truss.weights.hub import HubStore

        return HubStore(source, secret)
    if source.scheme in ("s3", "gs"):
        from truss.weights.buckets import gs_store, s3_store

        return (s3_store if source.scheme == "s3" else gs_store)(source, secret)
    from truss.weights.web import WebStore

    return WebStore(source, secret)
