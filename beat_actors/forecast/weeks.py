"""How many calls are to be expected in the days to come, for budgets that last longer than a day. Pure.

Each path puts days together that were: those of the same weekday more often than others. How often each earlier day comes up is drawn anew for each path,
since four weeks do not tell the mean of a month exactly. The rest of today is as `demand` has it.
"""

import random
from collections.abc import Sequence
from itertools import accumulate

from beat_actors.forecast.demand import MOST_DAYS, SATURDAY, SLOTS, Demand

HOUR = 3600.0
SLOTS_AN_HOUR = 6
PATHS = 60
LONGEST = 32
"""Days."""
SAME_WEEKDAY, OTHER_KIND = 12.0, 0.1
"""How much more often a day of the same weekday comes up than another, and a working day for a weekend or the other way round."""


class Weeks:
    """As `Demand`, by hours. `hours`: for how many, at most 32 days."""

    step = HOUR

    def __init__(self, calls: Sequence[int], *, slot: int, weekday: int, hours: int) -> None:
        if not 0 < hours <= LONGEST * 24:
            raise ValueError(f"{hours} hours: from 1 to {LONGEST} days are forecast")
        self._hours, self._weekday = hours, weekday
        self._today = Demand(calls, slot=slot, weekday=weekday, ahead=SLOTS - slot)
        self.days = self._today.days
        now = len(calls) - slot
        self._before = [
            [sum(calls[start + n : start + n + SLOTS_AN_HOUR]) for n in range(0, SLOTS, SLOTS_AN_HOUR)]
            for day in range(1, min(self.days, MOST_DAYS) + 1)
            if (start := now - SLOTS * day) >= 0
        ]

    def paths(self) -> list[list[float]]:
        """Calls by the end of each hour from now on, all equally likely."""
        if not self._before:
            return []
        todays = self._today.paths()
        dice = random.Random(0)
        return [self._path(todays[n % len(todays)], dice) for n in range(PATHS)]

    def _path(self, today: Sequence[float], dice: random.Random) -> list[float]:
        # What is left of today in hours from now on, and the last part of an hour.
        ends = [*range(SLOTS_AN_HOUR, len(today) + 1, SLOTS_AN_HOUR)]
        cumulative = [today[end - 1] for end in ends]
        rest = today[-1] - (cumulative[-1] if cumulative else 0.0)
        often = [dice.expovariate(1.0) for _ in self._before]
        hours: list[float] = []
        weekday = self._weekday
        while len(cumulative) + len(hours) < self._hours:
            weekday = (weekday + 1) % 7
            (day,) = dice.choices(self._before, [n * self._alike(weekday, back) for back, n in enumerate(often, 1)])
            hours += day
        start = cumulative[-1] if cumulative else 0.0
        return [*cumulative, *(start + rest + more for more in accumulate(hours))][: self._hours]

    def _alike(self, weekday: int, back: int) -> float:
        other = (self._weekday - back) % 7
        if other == weekday:
            return SAME_WEEKDAY
        return OTHER_KIND if (other >= SATURDAY) != (weekday >= SATURDAY) else 1.0
