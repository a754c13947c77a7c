"""Workers that ended unexpectedly, as their parent counts them. A worker that is forked later inherits the count and reports it."""

import signal
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from beat_actors.moments import moment

LOOP, WITHIN = 3, 600.0
"""So many ends within so many seconds are a crash loop."""
COUNTED_FOR = 3600.0
"""Seconds for which an end is counted."""


class Restarts:
    """The unexpected ends of one parent's workers. `clock`: seconds, the same in the parent and its children."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: deque[float] = deque(maxlen=1000)
        self._last = ""

    def ended(self, code: int) -> None:
        """Note that a worker ended. `code`: its exit code, or the negative number of the signal that killed it."""
        how = f"exit code {code}" if code >= 0 else f"signal {_signal(-code)}"
        self._last = f"{moment(datetime.now(UTC))} with {how}"
        self._ends.append(self._clock())

    def count(self) -> int:
        """Ends within the last hour."""
        return self._since(COUNTED_FOR)

    def said(self) -> str | None:
        """A sentence on the crash loop, while there is one."""
        recent = self._since(WITHIN)
        if recent < LOOP:
            return None
        return f"{recent} workers of this parent died within {WITHIN / 60:.0f} min, the last at {self._last}"

    def _since(self, seconds: float) -> int:
        first = self._clock() - seconds
        return sum(1 for at in self._ends if at >= first)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


_restarts = Restarts()


def restarts() -> Restarts:
    """Those of this process's parent, or of this process where it is one."""
    return _restarts
