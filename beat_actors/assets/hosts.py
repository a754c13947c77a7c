"""The hosts of origins: so many downloads of one host at a time, and few from one that answers nobody."""

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from beat_actors.transport.slots import Slots

IN_A_ROW = 8
"""Downloads in a row that reach nobody, or end without a whole answer in time, from which on a host is down."""
PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until one download probes a host that is down: the first time, and at most."""
MOST = 4096
"""Hosts that are remembered; the one that was used longest ago is forgotten first."""


class HostDown(Exception):
    """Nobody is asked at this host for `pause` seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__("the host is down")
        self.pause = pause


class Host:
    """One host. `answered` or `failed` is called at the end of each download that was let through."""

    __slots__ = ("_answered_at", "_clock", "_failures", "_pause", "_probe_at", "slots")

    def __init__(self, slots: Slots, clock: Callable[[], float]) -> None:
        self.slots = slots
        self._clock = clock
        self._failures = 0
        self._pause = 0.0
        self._probe_at = 0.0
        self._answered_at = -math.inf

    def is_down(self) -> float:
        """Seconds for which nobody is asked; 0 where somebody may be."""
        return max(self._probe_at - self._clock(), 0.0) if self._failures >= IN_A_ROW else 0.0

    def begin(self) -> float:
        """Let a download through, as the probe if the host was down; returns when it began. Raises `HostDown`."""
        if pause := self.is_down():
            raise HostDown(pause)
        if self._failures >= IN_A_ROW:
            self._put_off()
        return self._clock()

    def answered(self) -> None:
        self._failures = 0
        self._pause = 0.0
        self._answered_at = self._clock()

    def failed(self, began: float) -> None:
        """A host that has answered somebody since then is not down: it is slow for some, or this process is."""
        if self._answered_at > began:
            return
        self._failures += 1
        # Those that began before the host was down end one by one, and put nothing off any more.
        if self._failures == IN_A_ROW:
            self._put_off()

    def _put_off(self) -> None:
        self._pause = min(self._pause * 2, LONGEST_PAUSE) if self._pause else PAUSE
        self._probe_at = self._clock() + self._pause


class Hosts:
    """For the tasks of one event loop. `each`: downloads of one host at a time."""

    def __init__(self, each: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._clock = clock
        self._known: OrderedDict[str, Host] = OrderedDict()

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[tuple[Host, float]]:
        """Wait for a slot of the host, and have it while the block runs; yields when that began, too. Raises `HostDown`, also for those that waited meanwhile."""
        host = self._of(name)
        if pause := host.is_down():
            raise HostDown(pause)
        async with host.slots.one(urgent=False):
            yield host, host.begin()

    def _of(self, name: str) -> Host:
        host = self._known.get(name)
        if host is None:
            host = self._known[name] = Host(Slots(self._each), self._clock)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(name)
        return host
