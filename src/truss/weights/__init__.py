"""Weights from elsewhere: what a config names, fetched once into a cache, and put where the model looks.

Reading what a config asks for (`sources`) is pure and apart from fetching (`fetch`) and placing (`place`).
Each protocol is a module that lists files and reads one from any byte on.
"""

from truss.weights.sources import Source, When, libraries_of, sources_of

__all__ = ["Source", "When", "libraries_of", "sources_of"]
