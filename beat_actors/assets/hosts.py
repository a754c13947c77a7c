"""The hosts of origins: so many downloads of one host at a time, and few from one that answers nobody or denies everything.

What a host cannot take is given back to the rows at once. So a host never holds more than twice its slots of a process's uploads.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from beat_actors.media.appointments import Appointments
from beat_actors.transport.slots import Slots

IN_A_ROW = 8
"""Downloads in a row that reach nobody, or end without a whole answer in time, from which on a host is down."""
DENIED_IN_A_ROW, UNANSWERED = 20, 60.0
"""Downloads in a row that are denied without a reason, and seconds since the host last gave a picture, from which on it denies this process everything."""
DENIED_FOR = 6 * 3600.0
"""Seconds after which a host that denies everything is believed: it has not blocked an address for a while, its URLs are dead."""
PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until one download probes a host that is down: the first time, and at most."""
LONGEST_WAIT = 3600.0
"""Seconds until a download of a host that is down is tried again, at most."""
LONGEST_QUEUE = 900.0
"""The same for a host that has no slot."""
MOST = 4096
"""Hosts that are remembered; the one that was used longest ago is forgotten first."""


class NotNow(Exception):
    """Nothing was sent. The download may be tried again after `pause` seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__(type(self).__doc__)
        self.pause = pause


class HostDown(NotNow):
    """The host answered none of the last downloads"""


class HostDenies(NotNow):
    """The host denied all of the last downloads, so it may have blocked this process"""


class HostBusy(NotNow):
    """The host has as many downloads as it may have, and as many wait"""


class _Breaker:
    """Opens after `most` failures in a row. Then it lets one probe through after each pause, for `lasts` seconds, and then everything."""

    __slots__ = ("_clock", "_kind", "_lasts", "_most", "_pause", "_probe_at", "_since", "failures")

    def __init__(self, kind: type[NotNow], most: int, clock: Callable[[], float], lasts: float = math.inf) -> None:
        self._kind = kind
        self._lasts = lasts
        self._most = most
        self._clock = clock
        self.reset()

    @property
    def is_open(self) -> bool:
        return self.failures >= self._most and self._clock() - self._since < self._lasts

    @property
    def age(self) -> float:
        """Seconds since it opened; 0 where it is closed."""
        return self._clock() - self._since if self.is_open else 0.0

    def check(self) -> None:
        """Raises `NotNow` while nobody may be asked.

        The wait grows with the time for which it has been open. A row that waits for a host that is down for long is claimed seldom, however many
        such rows there are.
        """
        if self.is_open and (pause := self._probe_at - self._clock()) > 0:
            raise self._kind(max(pause, min(self.age / 2, LONGEST_WAIT)))

    def begin(self) -> None:
        """Let one through, as the probe if it is open. Raises `NotNow`."""
        self.check()
        if self.is_open:
            self._put_off()

    def failed(self) -> None:
        self.failures += 1
        # Those that began before it opened end one by one, and put nothing off any more.
        if self.failures == self._most:
            self._since = self._clock()
            self._put_off()

    def reset(self) -> None:
        self.failures = 0
        self._pause = self._probe_at = self._since = 0.0

    def _put_off(self) -> None:
        self._pause = min(self._pause * 2, LONGEST_PAUSE) if self._pause else PAUSE
        self._probe_at = self._clock() + self._pause


class Host:
    """One host. `answered` or `failed` is called at the end of each download that was let through; `gave` or `denied` besides, where it says that."""

    __slots__ = ("_answered_at", "_clock", "_denial", "_down", "_each", "_gave_at", "_inside", "_queue", "slots")

    def __init__(self, each: int, clock: Callable[[], float]) -> None:
        self.slots = Slots(each)
        self._each = each
        self._clock = clock
        self._down = _Breaker(HostDown, IN_A_ROW, clock)
        self._denial = _Breaker(HostDenies, DENIED_IN_A_ROW, clock, DENIED_FOR)
        self._queue = Appointments(each, LONGEST_QUEUE, clock)
        self._inside = 0
        self._answered_at = self._gave_at = -math.inf

    async def begin(self) -> float:
        """Wait for a slot; when that began. Raises `NotNow`, also for those that waited meanwhile. Call `end` once with what this returned."""
        self._down.check()
        self._denial.check()
        if self._inside >= 2 * self._each:  # as many wait as have a slot, so that no slot stays free
            raise HostBusy(self._queue.next())
        self._inside += 1
        try:
            await self.slots.take(urgent=False)
        except BaseException:
            self._inside -= 1
            raise
        try:
            self._down.begin()
            self._denial.begin()
        except NotNow:
            self._leave()
            raise
        return self._clock()

    def end(self, began: float) -> None:
        self._queue.took(self._clock() - began)
        self._leave()

    def _leave(self) -> None:
        self.slots.give_back()
        self._inside -= 1

    def answered(self) -> None:
        self._down.reset()
        self._answered_at = self._clock()

    def failed(self, began: float) -> None:
        """A host that has answered somebody since then is not down: it is slow for some, or this process is."""
        if self._answered_at <= began:
            self._down.failed()

    def gave(self) -> None:
        """It sent a picture, so it does not deny everything."""
        self._denial.reset()
        self._gave_at = self._clock()

    def denied(self) -> bool:
        """It denied a download and did not say why. Returns whether that may be because of this process, and not because of the URL."""
        if self._clock() - self._gave_at <= UNANSWERED:
            return False
        self._denial.failed()
        return self._denial.is_open


class Hosts:
    """For the tasks of one event loop. `each`: downloads of one host at a time. As many more wait for one."""

    def __init__(self, each: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._clock = clock
        self._known: OrderedDict[str, Host] = OrderedDict()

    def one(self, name: str) -> "_Turn":
        """Wait for a slot of the host, and have it while the block runs; the host, and when that began. Raises `NotNow`."""
        return _Turn(self._of(name))

    def _of(self, name: str) -> Host:
        host = self._known.get(name)
        if host is None:
            host = self._known[name] = Host(self._each, self._clock)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(name)
        return host


class _Turn:
    """A slot of a host, in an `async with` block."""

    __slots__ = ("_began", "_host")

    def __init__(self, host: Host) -> None:
        self._host, self._began = host, 0.0

    async def __aenter__(self) -> tuple[Host, float]:
        self._began = await self._host.begin()
        return self._host, self._began

    async def __aexit__(self, *_error: object) -> None:
        self._host.end(self._began)
