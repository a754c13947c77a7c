"""When work that waits is done: it goes on at the pace of late, and no faster than the budgets of calls have room. Pure; times in epoch seconds."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

DRIFT = 0.08
"""By which share the pace of the minutes to come differs from that of the last ones, beside the spread of these."""
OF_FOUR_IN_FIVE = 1.2816
"""Standard deviations between which four cases in five lie."""
WIDEST = 3.0
"""By which factor the pace may differ where little is known of it."""
STEP, OF_THE_WAY = 2.0, 0.02
"""The walk goes on by so many seconds at least, or by this share of what it has gone."""
OTHERS = 0.05
"""By which share of a budget other work may use more or less of it than is known."""
HORIZON = 30 * 86_400.0
"""Seconds after which nothing is said."""


class Room(NamedTuple):
    """A budget of calls. `left`: now. `frees`: what becomes free later, as (at, calls): calls that leave the window, cooldowns that end. `window`:
    seconds after which a call that is made now is free again; `None`: not within the time that is looked at. `resets`: as (at, calls), when the window
    begins anew and what there is room for then, whatever was left before."""

    left: float
    frees: Sequence[tuple[float, float]] = ()
    window: float | None = None
    resets: Sequence[tuple[float, float]] = ()


class Arrival(NamedTuple):
    """`at`: in the middle of the cases; `earliest` and `latest`: of four cases in five. `None`: later than anything is said about. `held_back`: the
    budgets delay it, and not the pace."""

    at: float | None
    earliest: float | None
    latest: float | None
    held_back: bool = False


def spread(minutes: Sequence[int]) -> float:
    """By which factor the pace to come may be higher or lower than the mean of these minutes, in four cases of five."""
    mean = statistics.fmean(minutes) if minutes else 0.0
    if len(minutes) < 2 or mean <= 0:
        return WIDEST
    within = statistics.variance(minutes) / mean**2 / len(minutes) + 1 / (mean * len(minutes))
    return min(WIDEST, math.exp(OF_FOUR_IN_FIVE * math.sqrt(within + DRIFT**2)))


def arrival(
    work: float,
    *,
    start: float,
    rate: float,
    factor: float,
    sources: Sequence[Sequence[Room]] = (),
    now: float,
    more: float = 0.0,
) -> Arrival:
    """When so many calls have been made.

    `start`: the first can be made then. `rate`: calls a second, which may be `factor` times higher or lower. `sources`: the budgets of each source that can
    make the calls; all budgets of a source must have room. No source: nothing is known of budgets. `more`: by how much the work may be more.
    """
    at = walk(work, start=start, rate=rate, sources=sources, now=now)
    free = walk(work, start=start, rate=rate, now=now)
    soon = walk(max(0.0, work - more), start=start, rate=rate * factor, sources=_other(sources, 1 + OTHERS), now=now)
    late = walk(work + more, start=start, rate=rate / factor, sources=_other(sources, 1 - OTHERS), now=now)
    return Arrival(
        at,
        None if soon is None else max(start, now, soon - OF_THE_WAY * (soon - now)),
        None if late is None else late + OF_THE_WAY * (late - now),
        held_back=bool(sources) and (at is None or free is None or at - free > STEP + OF_THE_WAY * (at - now)),
    )


def walk(work: float, *, start: float, rate: float, sources: Sequence[Sequence[Room]] = (), now: float) -> float | None:
    """The time at which the work is done; `None`: later than the horizon."""
    end, at = now + HORIZON, max(start, now)
    if not sources:
        done = at + work / rate
        return done if done <= end else None
    walked = [[_Walked(room) for room in rooms] for rooms in sources]
    changes = (when for rooms in sources for room in rooms for when, _ in (*room.frees, *room.resets))
    moments = sorted({when for when in changes if when > at}, reverse=True)
    while at <= end:
        while moments and moments[-1] <= at:
            moments.pop()
        backs = [back for rooms in walked for one in rooms if (back := one.back) is not None and back > at]
        until = min([at + max(STEP, OF_THE_WAY * (at - now)), *moments[-1:], *backs])
        able = rate * (until - at)
        before = work
        for rooms in walked:
            left = min((room.free(at) for room in rooms), default=math.inf)
            made = max(0.0, min(left, able, work))
            for room in rooms:
                room.take(made, at, until)
            able, work = able - made, work - made
        if work <= 1e-6:
            return at + (until - at) * min(1.0, before / (rate * (until - at)))
        at = until
    return None


def _other(sources: Sequence[Sequence[Room]], share: float) -> list[list[Room]]:
    """The same budgets with more or less room."""
    return [
        [
            room._replace(left=room.left * share, frees=_times(room.frees, share), resets=_times(room.resets, share))
            for room in rooms
        ]
        for rooms in sources
    ]


def _times(calls: Sequence[tuple[float, float]], share: float) -> list[tuple[float, float]]:
    return [(at, count * share) for at, count in calls]


class _Walked:
    """A room during the walk."""

    def __init__(self, room: Room) -> None:
        self._left, self._window = room.left, room.window
        # What becomes free at a reset is part of it.
        changes = [(at, False, calls) for at, calls in room.frees] + [(at, True, calls) for at, calls in room.resets]
        self._changes = sorted(changes)
        self._next = 0
        self._made: list[tuple[float, float]] = []
        self._back = 0

    def free(self, at: float) -> float:
        """Calls that there is room for then."""
        while self._next < len(self._changes) and self._changes[self._next][0] <= at:
            _, anew, calls = self._changes[self._next]
            self._left = calls if anew else self._left + calls
            self._next += 1
        if self._window is not None:
            while self._back < len(self._made) and self._made[self._back][0] + self._window <= at:
                self._left += self._made[self._back][1]
                self._back += 1
        return self._left

    @property
    def back(self) -> float | None:
        """When the first calls of the walk leave the window."""
        if self._window is None or self._back >= len(self._made):
            return None
        return self._made[self._back][0] + self._window

    def take(self, calls: float, since: float, until: float) -> None:
        self._left -= calls
        if calls and self._window is not None:
            self._made.append(((since + until) / 2, calls))


def ahead(probes: Sequence[tuple[int, int, int]], end: int) -> float:
    """How many rows lie before the id `end`, from looks at some places: (id, rows that were found from it on, the id of the last of them), the lowest
    first. Between two places the rows are taken to lie as densely as after the first of them."""
    places = [*(place for place, _, _ in probes), end]
    total = 0.0
    for (place, rows, last), (_, after) in zip(probes, pairwise(places), strict=True):
        total += min(1.0, rows / max(1, last - place + 1)) * (after - place)
    return total
