"""A Truss's own Python environment: made with uv from its requirements, kept, and served in."""

from truss.environments.kept import ensure_environment
from truss.environments.own import own_requirement
from truss.environments.wanted import Wanted, wanted_by

__all__ = ["Wanted", "ensure_environment", "own_requirement", "wanted_by"]
