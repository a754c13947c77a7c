"""Limits as sliding windows: how much room there is, what a call takes of it, when there is room again. Pure.

A call takes room from its lease on. Until it is settled it is *held*, because nobody knows when the provider will count it;
then it is *charged*, at the latest moment at which the provider can have begun to count it: when its answer began. So whatever
lies between lease and answer, a busy worker, a dead one or a slow provider, no window of `seconds` at the provider holds more
than `calls`.

Charges are kept in buckets of time; the oldest, partly outside, still counts whole. A window of less than `SHORT` seconds has `FINE` buckets
and stores those that have calls, as (buckets before the newest, calls); a longer one has `BUCKETS` and stores all, the newest first.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from beat_actors.platforms.interface import Limit

SHORT = 100.0
FINE, BUCKETS = 100, 20
# Added to the newest bucket of a short window, so that versions that store all buckets take it for the future and free nothing.
SPARSE = 10**12
CUSTOMER = 1
# A reserve is lent to everyone in the last tenth of the provider's day: what is not used by then would be lost.
LEND_AFTER = 0.9
DAY = 86_400.0
# Seconds before there is room that a lease may be given, for a call at that time: about what passes from a turn to a call.
AHEAD = 0.25
# A day's quota may be given out somewhat after midnight. What is refused before that is refused for the day before.
LATE = 600.0
BACK_AT_MOST = 3600.0
"""Seconds before a day's start for which it stays the day after a step back, and calls count in it. A clock that was further ahead was
wrong, and what was counted is today's."""


def subject_of(scope: str, credential_id: int, source: str) -> str:
    """What a limit of this scope counts for."""
    return f"credential:{credential_id}" if scope == "credential" else f"source:{source}"


def margin(limit: Limit) -> float:
    """Seconds by which a window is made longer, because the provider's clock and this one are not the same."""
    return min(max(limit.seconds * 0.02, 0.02), 2.0)


class Window:
    """The usage of one limit by one subject (a credential or a source), at one moment.

    `head`, `counts`: as `stored` gave them, in this version or in the one before. `head` is then the bucket of `now`, of `width` seconds.
    `steps`: (clock before, seconds) of steps forth of the clock by which charges from before them are moved.
    """

    __slots__ = ("_buckets", "_calls", "_end", "_left", "dirty", "head", "limit", "now", "subject", "width")

    def __init__(
        self,
        subject: str,
        limit: Limit,
        now: float,
        head: int = 0,
        counts: Sequence[int] = (),
        steps: Sequence[tuple[float, float]] = (),
    ) -> None:
        self.subject = subject
        self.limit = limit
        self.now = now
        self.dirty = False
        self._calls: dict[int, int] = {}
        self._left = limit.calls
        self._end = 0.0
        if limit.calendar is not None:
            start, self._end = calendar_day(limit.calendar, now)
            self._buckets, self.width, self.head = 0, DAY, int(start)
            if head > self.head and head - now <= BACK_AT_MOST:  # the clock stepped back over midnight
                start, self._end = calendar_day(limit.calendar, head)
                self.head = int(start)
            if head >= self.head or self._stepped_over_midnight(limit.calendar, head, steps):
                self._add(self.head, sum(counts))
                self.dirty = head != self.head
            return
        self._buckets = FINE if limit.seconds < SHORT else BUCKETS
        self.width = (limit.seconds + margin(limit)) / self._buckets
        self.head = int(now // self.width)
        for bucket, calls in _read(limit, self.width, head, counts):
            # After a step back of the clock every charge is kept, as if it had just happened.
            moved = min(self._moved(bucket, steps), self.head)
            self._add(moved, calls)
            self.dirty |= moved != bucket

    def stored(self) -> tuple[int, list[int]]:
        """`head` and `counts`, to be kept."""
        if self.limit.calendar is not None:
            return self.head, [self.used]
        if self._buckets == BUCKETS:
            return self.head, [self._calls.get(self.head - age, 0) for age in range(BUCKETS + 1)]
        newest = max(self._calls, default=self.head)
        pairs = ((newest - bucket, calls) for bucket, calls in sorted(self._calls.items(), reverse=True))
        return SPARSE + newest, [number for pair in pairs for number in pair]

    @property
    def used(self) -> int:
        """Calls that are charged and still count."""
        return sum(self._calls.values())

    def left(self, priority: int = CUSTOMER) -> int:
        """Calls that may still be leased now to a request of this priority."""
        if priority == CUSTOMER or not self.limit.reserve or self._lends():
            return self._left
        return self._left - int(self.limit.calls * self.limit.reserve)

    def hold(self, calls: int = 1) -> None:
        """A call is leased: it takes room until it is settled."""
        self._left -= calls

    def charge(self, at: float, calls: int = 1) -> None:
        """A call began to count, at `at` or before."""
        bucket = self.head
        if self.limit.calendar is None:
            bucket = min(self.head, int(at // self.width))
        elif at < self.head - margin(self.limit) and self.now >= self.head:  # it belongs to the day before
            return
        self.dirty |= self._add(bucket, calls)

    def fill(self, at: float) -> bool:
        """The provider says that nothing is left of the day, whatever was counted here. Returns whether that was news."""
        before = self._left
        self.charge(at, max(0, self.limit.calls - self.used))
        return self._left < before

    def next_room(self, priority: int = CUSTOMER) -> float:
        """The earliest time at which one more call fits, if nothing else is leased, and what is held was sent just now."""
        missing = 1 - self.left(priority)
        if missing <= 0:
            return self.now
        if self.limit.calendar is not None:
            if priority != CUSTOMER and self._left > 0:
                return max(self.now, self.head + (self._end - self.head) * LEND_AFTER)
            return self._end
        for bucket, calls in sorted(self._calls.items()):
            missing -= calls
            if missing <= 0:
                return (bucket + self._buckets + 1) * self.width
        return self.now + self.width * (self._buckets + 1)

    def opens(self, priority: int = CUSTOMER) -> float:
        """The earliest time at which a turn can lease one more call, which then may have to wait until `next_room`."""
        ahead = 0.0 if self.limit.calendar is not None else min(AHEAD, self.limit.seconds / 2)
        return max(self.now, self.next_room(priority) - ahead)

    def _moved(self, bucket: int, steps: Sequence[tuple[float, float]]) -> int:
        """The bucket of charges after steps forth of the clock: as old as they were."""
        for before, seconds in steps:
            if bucket * self.width <= before:
                bucket += ceil(seconds / self.width)
        return bucket

    def _stepped_over_midnight(self, zone: str, head: int, steps: Sequence[tuple[float, float]]) -> bool:
        """Whether a step forth made the day of these charges yesterday; they count today then."""
        return any(
            int(calendar_day(zone, before)[0]) == head and int(calendar_day(zone, before + seconds)[0]) == self.head
            for before, seconds in steps
        )

    def _add(self, bucket: int, calls: int) -> bool:
        """Whether these calls still count."""
        if bucket < self.head - self._buckets or not calls:
            return False
        self._calls[bucket] = self._calls.get(bucket, 0) + calls
        self._left -= calls
        return True

    def _lends(self) -> bool:
        return self.limit.calendar is not None and self.now >= self.head + (self._end - self.head) * LEND_AFTER


def _read(limit: Limit, width: float, head: int, counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """What is stored of a window without a calendar: buckets of `width` seconds and their calls."""
    if head >= SPARSE:
        for age, calls in zip(counts[::2], counts[1::2], strict=True):
            yield head - SPARSE - age, calls
    elif limit.seconds >= SHORT:
        yield from ((head - age, calls) for age, calls in enumerate(counts))
    else:  # the version before: longer buckets, all of them, of which each call counts at the end of its own
        before = (limit.seconds + min(max(limit.seconds * 0.1, 0.1), 2.0)) / BUCKETS
        yield from ((int((head - age + 1) * before // width), calls) for age, calls in enumerate(counts) if calls)


def calendar_day(zone: str, now: float) -> tuple[float, float]:
    """Start and end (epoch seconds) of the provider's day that `now` lies in. Days of 23 and 25 hours are as they are."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    start = datetime.combine(local.date(), time.min, ZoneInfo(zone))
    end = datetime.combine(local.date() + timedelta(days=1), time.min, ZoneInfo(zone))
    return start.astimezone(UTC).timestamp(), end.astimezone(UTC).timestamp()
