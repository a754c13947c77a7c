"""Keys of Redis that held something else than they are for: another type, garbage, or a flag that never ends.

Whatever lies in Redis is input. The scripts delete such a key and make it anew, and work goes on from the rows. Each process logs the keys that
it found and reports them in its row for ten minutes, so that an alert names them.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterable

from beat_actors.logger import get_logger

log = get_logger(__name__)

TOLD_FOR = 600.0
"""Seconds after a key was last found for which the process reports it."""
REMEMBERED, NAMED = 100, 10
"""Keys that a process remembers, and those that it names."""


def wake_up_channel(namespace: str) -> str:
    """The channel on which a worker is told that there are messages. Its name is that of older versions, which listen and publish beside this one."""
    return f"{namespace}:bell"


class UnusableKeys:
    """Those that this process found. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, float] = {}

    def found(self, keys: Iterable[bytes]) -> None:
        """Log keys and remember them; the common case is that there are none."""
        names = sorted({key[:200].decode("ascii", "backslashreplace") for key in keys})
        if not names:
            return
        log.error("redis_keys_unusable", keys=names[:NAMED], count=len(names))
        with self._lock:
            for name in names:
                self._found.pop(name, None)
                self._found[name] = self._clock()
            for oldest in list(self._found)[:-REMEMBERED]:
                del self._found[oldest]

    def said(self) -> str | None:
        """A sentence that names the keys that were found of late."""
        with self._lock:
            names = sorted(name for name, at in self._found.items() if self._clock() - at <= TOLD_FOR)
        if not names:
            return None
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"in Redis these keys held something else than they are for: {', '.join(names[:NAMED])}{more}"


@functools.cache
def unusable_keys() -> UnusableKeys:
    """That of this process."""
    return UnusableKeys()
