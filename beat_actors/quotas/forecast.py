"""How fast a limit is being used, and when nothing will be left of it at that rate. Pure; times in epoch seconds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from beat_actors.platforms.interface import RequestLimit

BUCKETS = 1000
"""Buckets of a window, as in stack.lua."""
RECENT = 600.0
"""Seconds over which the rate is taken, where the window is so long: long enough to be a rate, short enough to see a rush."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a limit's window holds: the calls made in each bucket that is still inside. `now` is Redis' clock."""

    limit: RequestLimit
    now: float
    used: int
    calls: Mapping[int, int]

    @property
    def width(self) -> float:
        return self.limit.seconds / BUCKETS

    @property
    def renews_at(self) -> float | None:
        """When the next call leaves the window; `None` where it is empty."""
        if self.limit.calendar:
            return (math.floor(self.now / self.limit.seconds) + 1.0) * self.limit.seconds
        return min((self._leaves(bucket) for bucket in self.calls), default=None)

    def _leaves(self, bucket: int) -> float:
        return (bucket + BUCKETS + 1) * self.width

    def rate(self) -> float:
        """Calls a second of late."""
        span = min(RECENT, float(self.limit.seconds))
        if self.limit.calendar:
            span = min(span, self.now % self.limit.seconds)
        first = math.floor((self.now - span) / self.width)
        seconds = max(self.now - first * self.width, self.width)
        return sum(calls for bucket, calls in self.calls.items() if bucket >= first) / seconds

    def exhausted_at(self) -> float | None:
        """When the window is full if the rate stays as it is; `None` where calls leave it as fast as they come, or it ends before."""
        rate, used, at = self.rate(), float(self.used), self.now
        if used >= self.limit.calls:
            return at
        if rate == 0:
            return None
        if self.limit.calendar:
            full = at + (self.limit.calls - used) / rate
            return full if self.renews_at is not None and full < self.renews_at else None
        for bucket in sorted(self.calls):
            full, leaves = at + (self.limit.calls - used) / rate, max(at, self._leaves(bucket))
            if full < leaves:
                return full
            used += rate * (leaves - at) - self.calls[bucket]
            at = leaves
        return None
