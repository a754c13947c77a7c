"""How many calls are to be expected: the usual course of a day, at today's level.

Days of the same weekday count most. The level of today is what was used since midnight, compared with what is usual; what was different within the last
hour decays within an hour. How far earlier days were from what the same rule would have expected of them is how uncertain it is.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

SLOT = 600.0
"""Seconds."""
SLOTS = 144
"""Of a day."""
MOST_DAYS = 28
"""Days that are compared with."""
COURSE_DAYS = 14
"""Days that make the usual course."""
HOUR = 6
"""Slots."""
OF_THE_DAY, OF_THE_HOUR = 0.08, 0.02
"""Shares of a usual day that the usual level counts as, beside what was used since midnight and within the last hour."""
SAME_WEEKDAY, OTHER_KIND = 3.0, 0.3
"""Weights of days: of the same weekday, and of a working day for a weekend or the other way round. Every other day has 1."""
SATURDAY = 5


class Demand:
    """What is expected from now on.

    `calls`: of complete slots, the oldest first; the last one has just ended. `slot`: of the day (0 to 143), which begins now. `weekday`: of today, 0 is
    Monday. `ahead`: for how many slots, at most a day.
    """

    step = SLOT

    def __init__(self, calls: Sequence[int], *, slot: int, weekday: int, ahead: int) -> None:
        if not 0 <= slot < SLOTS or not 0 < ahead <= SLOTS:
            raise ValueError(f"a day has {SLOTS} slots: slot={slot}, ahead={ahead}")
        self._slot, self._ahead, self._weekday = slot, ahead, weekday
        now = len(calls)
        self.days = max(0, min(MOST_DAYS, (now - slot) // SLOTS))
        """Whole earlier days that are known."""
        self._total = [0, *accumulate(calls)]
        self._starts = [now - SLOTS * day for day in range(1, self.days + 1)]
        self._course = [self._usual(calls, now, offset) for offset in range(-slot, ahead)] if self.days else []
        self._usual_total = [0.0, *accumulate(self._course)]
        self._day = sum(calls[max(0, now - SLOTS * min(self.days, COURSE_DAYS)) :]) / max(
            1, min(self.days, COURSE_DAYS)
        )

    def paths(self) -> list[list[float]]:
        """As many as there are days: how many calls may have been made by the end of each slot, all equally likely."""
        expected = self._expected(*self._levels(len(self._total) - 1))
        found = []
        for start in self._starts:
            theirs = self._expected(*self._levels(start))
            found.append(
                [
                    calls * (self._total[start + n] - self._total[start]) / usual if usual > 0 else 0.0
                    for n, (calls, usual) in enumerate(zip(expected, theirs, strict=True), 1)
                ]
            )
        return found

    def _usual(self, calls: Sequence[int], now: int, offset: int) -> float:
        weekday = (self._weekday + (self._slot + offset) // SLOTS) % 7
        weights = total = 0.0
        for day in range(1, min(self.days, COURSE_DAYS) + 1):
            other = (weekday - day) % 7
            weight = SAME_WEEKDAY if other == weekday else 1.0
            if (other >= SATURDAY) != (weekday >= SATURDAY):
                weight = OTHER_KIND
            weights += weight
            total += weight * calls[now + offset - SLOTS * day]
        return total / weights

    def _levels(self, at: int) -> tuple[float, float]:
        """Of the day to which this place in the calls belongs, and of its last hour: what was used, divided by what is usual."""
        usual, total = self._usual_total, self._total
        of_day, of_hour = OF_THE_DAY * self._day, OF_THE_HOUR * self._day
        if self._day <= 0:
            return 1.0, 1.0
        level = (total[at] - total[at - self._slot] + of_day) / (usual[self._slot] + of_day)
        back = min(self._slot, HOUR)
        recent = total[at] - total[at - back] + of_hour * level
        return level, recent / (usual[self._slot] - usual[self._slot - back] + of_hour)

    def _expected(self, level: float, recent: float) -> list[float]:
        """Calls by the end of each slot."""
        course = self._course[self._slot :]
        return list(
            accumulate(calls * (level + (recent - level) * math.exp(-slot / HOUR)) for slot, calls in enumerate(course))
        )
