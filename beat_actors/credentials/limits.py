"""Limits as sliding windows: how much room there is, what a charge does, when there is room again. Pure.

A call is charged when it is leased, and may start up to `slack` later. A window therefore counts charges of the last
`seconds + slack`, and the lease says until when it may be used: whatever the delay in between, no window of `seconds` at the
provider holds more than `calls`. Charges are kept in `BUCKETS` counters; the oldest, partly outside, still counts whole.
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


def slack(limit: Limit) -> float:
    """Seconds that may pass between the charge and the start of the call."""
    return min(max(limit.seconds * 0.2, 0.2), 10.0)


class Window:
    """The usage of one limit by one subject (a credential or a source), at one moment."""

    __slots__ = ("_end", "_left", "counts", "dirty", "head", "limit", "now", "subject", "width")

    def __init__(self, subject: str, limit: Limit, now: float, head: int = 0, counts: Sequence[int] = ()) -> None:
        self.subject = subject
        self.limit = limit
        self.now = now
        self.dirty = False
        if limit.calendar is not None:
            start, self._end = calendar_day(limit.calendar, now)
            self.width = DAY
            self.head = int(start)
            self.counts = [counts[0] if counts and head == self.head else 0]
        else:
            self.width = (limit.seconds + slack(limit)) / BUCKETS
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

    def charge(self, calls: int = 1) -> None:
        self.counts[0] += calls
        self._left -= calls
        self.dirty = True

    def refund(self, charged_at: float, calls: int = 1) -> None:
        """Take back a charge that is known not to have been used."""
        index = 0 if self.limit.calendar else self.head - int(charged_at // self.width)
        if self.limit.calendar and charged_at < self.head:
            return
        if 0 <= index < len(self.counts):
            taken = min(calls, self.counts[index])
            self.counts[index] -= taken
            self._left += taken
            self.dirty = True

    def next_room(self, priority: int = CUSTOMER) -> float:
        """The earliest time at which one more call fits, if nothing else is charged."""
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
        return self.now + self.width * (BUCKETS + 1)  # a reserve larger than the limit: ask again in a window

    def use_until(self) -> float:
        """Until when a call charged now may start. Never past the end of a calendar day."""
        until = self.now + slack(self.limit)
        return min(until, self._end) if self.limit.calendar else until

    def _lends(self) -> bool:
        return self.limit.calendar is not None and self.now >= self.head + (self._end - self.head) * LEND_AFTER


def calendar_day(zone: str, now: float) -> tuple[float, float]:
    """Start and end (epoch seconds) of the provider's day that `now` lies in. Days of 23 and 25 hours are as they are."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    start = datetime.combine(local.date(), time.min, ZoneInfo(zone))
    end = datetime.combine(local.date() + timedelta(days=1), time.min, ZoneInfo(zone))
    return start.astimezone(UTC).timestamp(), end.astimezone(UTC).timestamp()
