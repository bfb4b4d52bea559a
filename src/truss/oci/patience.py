"""Patience: how often something that failed for now is tried again, and after which pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

_LONGEST_RETRY_AFTER = 120.0


@dataclass(frozen=True)
class Patience:
    """How often, and after which pauses, something that failed for now is tried again.

    Attributes:
        tries: How often it is tried in all.
        first: Seconds before the second try; every further pause is twice as long.
        longest: Seconds that no pause exceeds, unless the server asks for more.
        pause: What waits for a number of seconds.
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0
    pause: Callable[[float], None] = time.sleep

    def before(self, attempt: int, asked: float = 0.0) -> None:
        """Wait before the given attempt (1 is the second); at least as long as the server asked for.

        The pause is shortened by chance, so that many clients do not come back at once.
        """
        backed_off = min(self.longest, self.first * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        self.pause(max(backed_off, min(asked, _LONGEST_RETRY_AFTER)))
