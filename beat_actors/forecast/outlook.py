"""What a limit comes to: whether and when it is used up. Pure; times in epoch seconds."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

ENOUGH_DAYS = 3
"""Earlier days without which nothing is said about when."""
LIKELY = 0.84
"""The probability from which on a warning is due."""
POSSIBLE, SOON = 0.4, 6
"""The probability from which on a warning is due where the calls of the last slots, too, use the limit up within so many slots."""
RECENT = 3
"""Slots whose rate must say so, and the last one's by itself."""
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
"""Of the interval, which holds in four of five cases."""


class Expecting(Protocol):
    """What is to be expected: `Demand`, or `Weeks`. `days`: earlier days that are known. `step`: seconds between two places of a path."""

    days: int

    @property
    def step(self) -> float: ...
    def paths(self) -> list[list[float]]: ...


class Outlook(NamedTuple):
    """`probability` that the limit is used up before it ends, or within a day where its window slides; `None` where too little is known.

    `at`: when, in the middle of the cases; `earliest` and `latest`: of four cases in five. `None`: not in this case. `warn`: whether people should be
    told. `days`: earlier days that were compared with.
    """

    probability: float | None
    at: float | None
    earliest: float | None
    latest: float | None
    warn: bool
    days: int


def outlook(
    demand: Expecting,
    *,
    now: float,
    used: float,
    limit: int,
    leaving: Sequence[float] = (),
    recent: Sequence[int] = (),
    back: int | None = None,
) -> Outlook:
    """`used`: of the limit, at `now`, where the first slot of `demand` begins. `leaving`: calls that leave a sliding window by the end of each slot; none
    where it has a fixed end. `recent`: the calls of the last slots. `back`: slots after which calls that are yet to be made leave the window, where that is
    shorter than the forecast."""
    if used >= limit:
        return Outlook(1.0, now, now, now, warn=True, days=demand.days)
    if demand.days < ENOUGH_DAYS:
        return Outlook(None, None, None, None, warn=False, days=demand.days)
    paths = demand.paths()
    ends = sorted(
        end for path in paths if (end := _full(path, used=used, limit=limit, leaving=leaving, back=back)) is not None
    )
    # As if one case more were known, of which a third comes to pass: nothing is certain because it was so on a few days.
    probability = (len(ends) + 1 / 3) / (len(paths) + 1)

    def at(share: float) -> float | None:
        place = round(share * (len(paths) - 1))
        return now + demand.step * ends[place] if place < len(ends) else None

    left = limit - used
    warn = probability >= LIKELY or (probability >= POSSIBLE and _burns(recent, left))
    return Outlook(probability, at(MIDDLE), at(LOW), at(HIGH), warn, demand.days)


def _full(
    path: Sequence[float], *, used: float, limit: int, leaving: Sequence[float], back: int | None
) -> float | None:
    """Slots from now until the limit is used up."""
    before = used
    for slot, calls in enumerate(path):
        after = used + calls - (leaving[slot] if leaving else 0.0)
        if back is not None and slot >= back:
            after -= path[slot - back]
        if after >= limit:
            return slot + ((limit - before) / (after - before) if after > before else 1.0)
        before = after
    return None


def _burns(recent: Sequence[int], left: float) -> bool:
    """Whether the limit is used up soon at the rate of the last slots and at that of the last one, which tells that it is no burst that is over."""
    if len(recent) < RECENT:
        return False
    return min(sum(recent[-RECENT:]) / RECENT, recent[-1]) * SOON >= left
