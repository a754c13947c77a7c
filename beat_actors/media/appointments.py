"""When work comes again that there is no room for now: spread over the time that the work before it takes.

Without this, work without room would be claimed, given back and claimed again in a circle.
"""

import time
from collections.abc import Callable

SOONEST = 1.0
SMOOTHED = 0.1
"""The share of the newest duration in the mean."""


class Appointments:
    """For the tasks of one event loop. `at_once`: pieces of work at a time. `longest`: seconds until the last appointment; later ones are as late as
    this one, and may be put off again."""

    def __init__(self, at_once: int, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._longest = longest
        self._clock = clock
        self._each = 0.0
        self._last = 0.0

    def took(self, seconds: float) -> None:
        """A piece of work took so long."""
        self._each = seconds if not self._each else self._each + SMOOTHED * (seconds - self._each)

    def next(self) -> float:
        """Seconds until the next free appointment, which is taken by this."""
        now = self._clock()
        self._last = min(max(self._last, now + SOONEST) + self._each / self._at_once, now + self._longest)
        return self._last - now
