"""Images of Trusses: made without a container engine where wheels are enough, with one where they are not."""

from truss.build.cache import LayerCache
from truss.build.daemonless import Built, Options, build
from truss.build.lock import Lock, add_to_lock, found_lock, read_lock, write_lock

__all__ = [
    "Built",
    "LayerCache",
    "Lock",
    "Options",
    "add_to_lock",
    "build",
    "found_lock",
    "read_lock",
    "write_lock",
]
