"""How right forecasts of the calls of all credentials of a source are: part of `make forecast`.

A source has 50 credentials with a limit of a sliding day, of a calendar day, or a quota of a month. The days are those of `bench.forecast`. What is used is
counted here by each ten minutes; the forecast knows the four weeks before, what is left, and when it becomes free.
"""

import math
import random
import statistics
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from beat_actors.forecast.demand import MOST_DAYS, SLOT, SLOTS
from beat_actors.forecast.outlook import Outlook
from beat_actors.quotas.foreseen import TOLD
from beat_actors.quotas.pools import Budget, _outlook

Days = Callable[[random.Random, int], list[int]]
MIDNIGHT = 1_800_230_400.0
"""A Monday at 00:00 UTC, as day 0 is one."""
LOOKS = 18
"""Slots between two forecasts of a day."""
MONTH = 30
LASTING = 0.4
HELD, MEDIAN = (0.72, 0.90), 0.25


@dataclass
class Found:
    """What came of forecasts. `timed`: those that told a time, of what was used up; `held`: of these, whose interval held; `errors`: of these, relative."""

    used_up: int = 0
    lasted: int = 0
    warned: int = 0
    false: int = 0
    timed: int = 0
    held: int = 0
    errors: list[float] = field(default_factory=list)

    def add(self, one: Outlook, now: float, end: float | None) -> None:
        """A forecast, and the time at which it was used up within its time."""
        if end is None:
            self.lasted += 1
            self.false += one.warn
            return
        self.used_up += 1
        self.warned += one.warn
        if one.at is None or one.earliest is None or (one.probability or 0) < TOLD:
            return
        self.timed += 1
        self.held += one.earliest - SLOT <= end <= (math.inf if one.latest is None else one.latest + SLOT)
        self.errors.append(abs(one.at - end) / max(SLOT, end - now))


def budget(
    left: float, limit: int, *, frees: Sequence[tuple[float, float]], window: float | None, until: float | None
) -> Budget:
    return Budget("s:l", "s", "l", "credential", 50, 0, 0, limit, round(left), list(frees), window, until, None, [])


def _known(calls: Sequence[int], now: int, first: int) -> dict[int, int]:
    return {
        first + n: calls[n] for n in range(now - (MOST_DAYS + 1) * SLOTS if now > (MOST_DAYS + 1) * SLOTS else 0, now)
    }


def sliding(calls: Sequence[int], found: Found) -> None:
    """A window of a day. It is looked at while it is not used up."""
    total = [0, *accumulate(calls)]
    used = [total[n] - total[max(0, n - SLOTS)] for n in range(len(total))]
    limit = sorted(max(used[n : n + SLOTS]) for n in range(MOST_DAYS * SLOTS, len(calls) - SLOTS, SLOTS))[
        int((len(calls) // SLOTS - MOST_DAYS - 1) * LASTING)
    ]
    first = int(MIDNIGHT // SLOT)
    for now in range(MOST_DAYS * SLOTS, len(calls) - SLOTS, LOOKS):
        if used[now] >= limit:
            continue
        end = next((n for n in range(now + 1, now + SLOTS + 1) if used[n] >= limit), None)
        frees = [((first + n + 1) * SLOT + 86_400.0, float(calls[n])) for n in range(now - SLOTS, now)]
        at = (first + now) * SLOT
        one = _outlook(
            budget(limit - used[now], limit, frees=frees, window=86_400.0, until=None), _known(calls, now, first), at
        )
        found.add(one, at, None if end is None else (first + end) * SLOT)


def calendar(calls: Sequence[int], found: Found) -> None:
    """A day that begins anew at midnight."""
    days = [sum(calls[n : n + SLOTS]) for n in range(0, len(calls), SLOTS)]
    limit = sorted(days[MOST_DAYS:])[int((len(days) - MOST_DAYS) * LASTING)]
    fixed(calls, found, limit, range(MOST_DAYS, len(days)), 1, LOOKS)


def monthly(calls: Sequence[int], found: Found) -> None:
    """A quota of 30 days; looked at once a day."""
    starts = range(MOST_DAYS, len(calls) // SLOTS - MONTH, MONTH)
    totals = sorted(sum(calls[day * SLOTS : (day + MONTH) * SLOTS]) for day in starts)
    fixed(calls, found, totals[int(len(totals) * LASTING)], starts, MONTH, SLOTS)


def fixed(calls: Sequence[int], found: Found, limit: int, starts: range, days: int, every: int) -> None:
    total, first = [0, *accumulate(calls)], int(MIDNIGHT // SLOT)
    for day in starts:
        begins, ends = day * SLOTS, (day + days) * SLOTS
        end = bisect_left(total, total[begins] + limit)
        for now in range(begins, min(end, ends), every):
            left = limit - (total[now] - total[begins])
            at = (first + now) * SLOT
            one = _outlook(
                budget(left, limit, frees=[], window=None, until=(first + ends) * SLOT), _known(calls, now, first), at
            )
            found.add(one, at, (first + end) * SLOT if end <= ends else None)


KINDS = {"a sliding day": sliding, "a calendar day": calendar, "a month": monthly}


def main(days: Days, count: int, seed: int) -> bool:
    """Print it; whether the goals are reached. `days`: makes the calls of the day of a number."""
    print(
        f"\nall credentials of a source together; {count} days before which four weeks are known, for a month four times as many"
    )
    print(
        f"{'':16} {'forecasts':>10} {'used up':>8} {'warned':>8} {'lasted':>7} {'false':>7} {'interval holds':>15} {'median error':>13}"
    )
    reached = True
    for name, kind in KINDS.items():
        found, dice = Found(), random.Random(f"{name} {seed}")
        of_kind = count * 4 if kind is monthly else count
        calls = [one for day in range(MOST_DAYS + of_kind) for one in days(dice, day)]
        kind(calls, found)
        held, error = found.held / max(1, found.timed), statistics.median(found.errors or [math.nan])
        print(
            f"{name:16} {found.used_up + found.lasted:10} {found.used_up:8} {found.warned / max(1, found.used_up):8.1%} {found.lasted:7} "
            f"{found.false / max(1, found.lasted):7.1%} {held:15.1%} {error:13.1%}",
            flush=True,
        )
        good = HELD[0] <= held <= HELD[1] and error <= MEDIAN
        print(
            f"{'ok    ' if good else 'MISSED'} {name}: the interval holds in {HELD[0]:.0%} to {HELD[1]:.0%}, the median error is at most {MEDIAN:.0%}"
        )
        reached &= good
    return reached
