"""Workers that ended unexpectedly, as their parent counts them. The count is in memory that its workers share, and they report it."""

import mmap
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

from beat_actors.moments import moment

LOOP, WITHIN = 3, 600.0
"""So many ends within so many seconds are a crash loop."""
COUNTED_FOR = 3600.0
"""Seconds for which an end is counted."""
KEPT = 1000
NUMBER, AT, CODE, FIRST = range(4)
"""Places in the shared memory: how many ends there were, the time (epoch seconds) and the code of the last one, and the first of the times of all."""


class Restarts:
    """The unexpected ends of one parent's workers. `clock`: seconds, the same in the parent and its children."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # A fork shares it. The parent alone writes, and its workers read numbers that are whole.
        self._shared = memoryview(mmap.mmap(-1, 8 * (FIRST + KEPT))).cast("d")

    def ended(self, code: int) -> None:
        """Note that a worker ended. `code`: its exit code, or the negative number of the signal that killed it."""
        number = int(self._shared[NUMBER])
        self._shared[FIRST + number % KEPT] = self._clock()
        self._shared[AT], self._shared[CODE] = time.time(), code
        self._shared[NUMBER] = number + 1

    def count(self) -> int:
        """Ends within the last hour."""
        return self._since(COUNTED_FOR)

    def said(self) -> str | None:
        """A sentence on the crash loop, while there is one."""
        recent = self._since(WITHIN)
        if recent < LOOP:
            return None
        at, code = datetime.fromtimestamp(self._shared[AT], UTC), int(self._shared[CODE])
        how = f"exit code {code}" if code >= 0 else f"signal {_signal(-code)}"
        return f"{recent} workers of this parent died within {WITHIN / 60:.0f} min, the last at {moment(at)} with {how}"

    def _since(self, seconds: float) -> int:
        first = self._clock() - seconds
        number = min(int(self._shared[NUMBER]), KEPT)
        return sum(1 for at in self._shared[FIRST : FIRST + number] if at >= first)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


_restarts = Restarts()


def restarts() -> Restarts:
    """Those of this process's parent, or of this process where it is one."""
    return _restarts
