"""Models that stream: lines as fast as they are read, or with pauses, each with the time of its making."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any


class Model:
    """Answers `{"lines": N, "pause": SECONDS}` with so many lines of twenty signs."""

    async def predict(self, request: dict[str, Any]) -> AsyncIterator[str]:
        """Lines that say when they were made, on the clock that all processes of a machine share."""
        for _ in range(int(request["lines"])):
            yield f"{time.monotonic():019.9f}\n"
            await asyncio.sleep(float(request["pause"]))
