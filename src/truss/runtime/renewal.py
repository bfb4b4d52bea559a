"""The worker's part in taking up edits: import what changed between two batches, and report."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from truss.errors import TrussError
from truss.model import LoadedModel, Steps
from truss.model.interface import interface
from truss.model.live import LiveModel
from truss.runtime.execution import describe_error


class Renewal:
    """Takes up the code of a model as it is now, when the front asks.

    Args:
        live: The model.
        check: Looks at the model that is to answer from now on; what it raises keeps the one of before.
    """

    def __init__(self, live: LiveModel, check: Callable[[LoadedModel], None]) -> None:
        self._live = live
        self._check = check

    @property
    def steps(self) -> Steps:
        """The steps of the model as it answers now."""
        return self._live.loaded.steps

    def run(self) -> dict[str, Any]:
        """Take up what has changed; gives the report for the front."""
        started = perf_counter()
        try:
            taken = self._live.take_up(self._check)
        except TrussError as error:
            return {"error": describe_error(error)}
        seconds = perf_counter() - started
        said = interface(self.steps)
        return {"files": taken.files, "kept": taken.kept, "seconds": seconds, "interface": said}
