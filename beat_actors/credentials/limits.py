"""Limits as sliding windows: how much room there is, what a call takes of it, when there is room again. Pure.

A call takes room from its lease on. Until it is settled it is *held*, because nobody knows when the provider will count it;
then it is *charged*, at the latest moment at which the provider can have begun to count it: when its answer began. So whatever
lies between lease and answer, a busy worker, a dead one or a slow provider, no window of `seconds` at the provider holds more
than `calls`. Charges are kept in `BUCKETS` counters; the oldest, partly outside, still counts whole.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from beat_actors.platforms.interface import Limit

BUCKETS = 20
CUSTOMER = 1
# A reserve is lent to everyone in the last tenth of the provider's day: what is not used by then would be lost.
LEND_AFTER = 0.9
DAY = 86_400.0
# A day's quota may be given out somewhat after midnight. What is refused before that is refused for the day before.
LATE = 600.0


def margin(limit: Limit) -> float:
    """Seconds by which a window is made longer, because calls that were sent apart may arrive closer together."""
    return min(max(limit.seconds * 0.1, 0.1), 2.0)


class Window:
    """The usage of one limit by one subject (a credential or a source), at one moment."""

    __slots__ = ("_end", "_held", "_left", "counts", "dirty", "head", "limit", "now", "subject", "width")

    def __init__(self, subject: str, limit: Limit, now: float, head: int = 0, counts: Sequence[int] = ()) -> None:
        self.subject = subject
        self.limit = limit
        self.now = now
        self.dirty = False
        self._held = 0
        if limit.calendar is not None:
            start, self._end = calendar_day(limit.calendar, now)
            self.width = DAY
            self.head = int(start)
            self.counts = [counts[0] if counts and head == self.head else 0]
        else:
            self.width = (limit.seconds + margin(limit)) / BUCKETS
            self._end = 0.0
            self.head = int(now // self.width)
            gone = self.head - head
            if gone < 0:  # the clock stepped back: keep every charge, as if it had just happened
                self.counts = [sum(counts)] + [0] * BUCKETS
            else:
                kept = list(counts[: max(0, BUCKETS + 1 - gone)])
                self.counts = [0] * min(gone, BUCKETS + 1) + kept
                self.counts += [0] * (BUCKETS + 1 - len(self.counts))
        self._left = limit.calls - sum(self.counts)

    def left(self, priority: int = CUSTOMER) -> int:
        """Calls that may still be leased now to a request of this priority."""
        if priority == CUSTOMER or not self.limit.reserve or self._lends():
            return self._left
        return self._left - int(self.limit.calls * self.limit.reserve)

    def hold(self, calls: int = 1) -> None:
        """A call is leased: it takes room until it is settled."""
        self._held += calls
        self._left -= calls

    def charge(self, at: float, calls: int = 1) -> None:
        """A call began to count, at `at` or before."""
        if self.limit.calendar is not None:
            if at < self.head - margin(self.limit):  # it belongs to the day before
                return
            age = 0
        else:
            age = max(0, self.head - int(at // self.width))
        if age < len(self.counts):
            self.counts[age] += calls
            self._left -= calls
            self.dirty = True

    def fill(self, at: float) -> bool:
        """The provider says that nothing is left of the day, whatever was counted here. Returns whether that was news."""
        before = self._left
        self.charge(at, max(0, self.limit.calls - sum(self.counts)))
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
        for age in range(len(self.counts) - 1, -1, -1):
            missing -= self.counts[age]
            if missing <= 0:
                return (self.head - age + BUCKETS + 1) * self.width
        return self.now + self.width * (BUCKETS + 1)

    def _lends(self) -> bool:
        return self.limit.calendar is not None and self.now >= self.head + (self._end - self.head) * LEND_AFTER


def calendar_day(zone: str, now: float) -> tuple[float, float]:
    """Start and end (epoch seconds) of the provider's day that `now` lies in. Days of 23 and 25 hours are as they are."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    start = datetime.combine(local.date(), time.min, ZoneInfo(zone))
    end = datetime.combine(local.date() + timedelta(days=1), time.min, ZoneInfo(zone))
    return start.astimezone(UTC).timestamp(), end.astimezone(UTC).timestamp()
