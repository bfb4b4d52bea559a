"""How often what failed for now is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How often, and after which pauses.

    Attributes:
        tries: How many tries in a row may get no further.
        first: Seconds before the second try; every further pause is twice as long.
        longest: Seconds that no pause exceeds.
        pause: What waits for a number of seconds.
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 15.0
    pause: Callable[[float], None] = time.sleep

    def before(self, attempt: int) -> None:
        """Wait before the given attempt (1 is the second); shortened by chance, lest all come at once."""
        self.pause(min(self.longest, self.first * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))  # noqa: S311
