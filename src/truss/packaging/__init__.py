"""From an object to a Truss folder: layout, requirement capture, golden requests."""

from truss.packaging.create import create_truss
from truss.packaging.init import init_truss
from truss.packaging.readme import readme

__all__ = ["create_truss", "init_truss", "readme"]
