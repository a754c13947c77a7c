"""How right the expected end of a request is, with 100,000 waiting before it: part of `make forecast`.

The simulated platform leases second by second. Its pace drifts, more urgent work comes between, credentials cool down, and limits of a day or an hour hold
it back. The estimate knows what Beat knows at that moment: the leases of the last ten minutes, looks at some places of the lane, and the room of the
credentials together. The simulation keeps the calls of each credential by itself.
"""

import math
import random
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from beat_actors.forecast.arrival import Room, ahead
from beat_actors.requests.expected import Expected, Pace, Place, in_turn
from beat_actors.requests.pace import LOOKED_AT, PLACES

WAITING = 100_000
NOW = 1_800_000_000.0
STEP = 10.0
"""Seconds."""
BEFORE = 60
"""Steps that the platform has run when it is asked."""
DAY = 86_400.0
MOST_STEPS = int(20 * DAY / STEP)
NOISE, MEMORY = 0.02, 0.995
"""Of the logarithm of the pace: standard deviation of what each step adds, and how much of it goes over to the next: over hours, a fifth of the pace."""


@dataclass
class Credential:
    """Its calls within the window, as (at, calls)."""

    left: int
    calls: int
    window: float
    cools_until: float = 0.0
    made: deque[tuple[float, int]] = field(default_factory=deque)

    def free(self, at: float, *, calendar: bool) -> int:
        while self.made and (self.made[0][0] // DAY < at // DAY if calendar else self.made[0][0] + self.window <= at):
            self.left += self.made.popleft()[1]
        return self.left if at >= self.cools_until else 0

    def take(self, at: float, calls: int) -> None:
        self.left -= calls
        self.made.append((at, calls))


@dataclass(frozen=True)
class World:
    """`rate`: leases a second. `urgent`: the share of them that more urgent work takes. `credentials` may make `calls` in `window` seconds each, or in a
    calendar day; 0: nothing limits them. `cooling`: the share of them that cools down for up to six hours at first."""

    rate: float
    urgent: float = 0.0
    credentials: int = 0
    calls: int = 0
    window: float = DAY
    calendar: bool = False
    cooling: float = 0.0


WORLDS = {
    "the pace alone": World(100),
    "urgent work between": World(100, urgent=0.3),
    "a limit of a day": World(100, credentials=20, calls=2_000, calendar=True),
    "a sliding day": World(100, credentials=20, calls=2_000),
    "a sliding hour": World(100, credentials=100, calls=200, window=3600.0),
    "cooldowns": World(100, urgent=0.1, credentials=40, calls=4_000, cooling=0.5),
}
EXPECTED_WITHIN, HOLDS = 0.20, 0.75


def back_test(world: World, runs: int, dice: random.Random) -> tuple[list[float], int]:
    """Errors, divided by the time that it took; and how many intervals held."""
    errors, held = [], 0
    for _ in range(runs):
        error, holds = one_run(world, dice)
        errors.append(error)
        held += holds
    return errors, held


def one_run(world: World, dice: random.Random) -> tuple[float, bool]:
    at, level = NOW + dice.uniform(0, DAY), 0.0
    pool = [Credential(world.calls, world.calls, world.window) for _ in range(world.credentials)]
    for one in pool:
        used_before(one, at, world, dice)
    leased, own = deque[float](maxlen=BEFORE), deque[float](maxlen=6)
    work, asked_at = float(WAITING), at
    expected: Expected | None = None
    for step in range(MOST_STEPS):
        level = MEMORY * level + dice.gauss(0, NOISE)
        able = world.rate * math.exp(level) * STEP
        between = able * world.urgent * dice.uniform(0.5, 1.5)
        given = limited(pool, at, able, world)
        mine = max(0.0, given - between)
        leased.append(given)
        own.append(mine)
        if step == BEFORE:
            expected, asked_at = estimate(world, pool, at, list(leased), sum(own) / 60, work, dice), at
        if step >= BEFORE:
            work -= mine
        at += STEP
        if work <= 0:
            break
    if expected is None or expected.at is None or expected.earliest is None:
        return 1.0, False
    took = at - asked_at
    latest = math.inf if expected.latest is None else expected.latest.timestamp()
    return abs(expected.at.timestamp() - at) / took, expected.earliest.timestamp() <= at <= latest


def used_before(one: Credential, at: float, world: World, dice: random.Random) -> None:
    """What it made within its window before."""
    since = at - (at % DAY if world.calendar else world.window)
    for moment in sorted(dice.uniform(since, at) for _ in range(8)):
        one.take(moment, int(dice.uniform(0, 0.08) * world.calls))
    if dice.random() < world.cooling:
        one.cools_until = at + dice.uniform(0, 6 * 3600)


def limited(pool: Sequence[Credential], at: float, able: float, world: World) -> float:
    """How many calls are made of so many."""
    if not pool:
        return able
    given = 0
    for one in pool:
        calls = min(one.free(at, calendar=world.calendar), int(able) - given)
        if calls > 0:
            one.take(at, calls)
            given += calls
    return float(given)


def estimate(
    world: World,
    pool: Sequence[Credential],
    at: float,
    leased: Sequence[float],
    own: float,
    work: float,
    dice: random.Random,
) -> Expected:
    minutes = [round(sum(leased[n : n + 6])) for n in range(0, len(leased), 6)]
    rate = minutes[-1] / 60
    pace = Pace(datetime.fromtimestamp(at, UTC), rate or None, own or None, 1.0)
    place = Place(round(looked(int(work), dice)), 0, exact=False)
    moving = [one for one in minutes if one]
    sources = [[room(world, pool, at)]] if pool else []
    return in_turn(place, pace, moving, None, 1.0, 1, own=False, sources=sources)


def looked(count: int, dice: random.Random) -> float:
    """The estimate of so many rows from looks at some places, where rows of other lanes lie between them more or less densely."""
    end = count * 4
    edges = [0.0, *sorted(dice.random() for _ in range(4)), 1.0]
    weights = [dice.uniform(0.3, 1.0) for _ in range(5)]
    mean = sum(weight * (after - before) for weight, before, after in zip(weights, edges, edges[1:], strict=False))
    shares = [weight / mean * count / end for weight in weights]
    probes = []
    for n in range(PLACES):
        share = shares[max(i for i in range(5) if edges[i] <= n / PLACES)]
        place = 1 + end * n // PLACES
        probes.append((place, LOOKED_AT, place + round(LOOKED_AT / min(1.0, share))))
    return ahead(probes, end + 1)


def room(world: World, pool: Sequence[Credential], at: float) -> Room:
    """As `quotas.pools` keeps it: by ten minutes."""
    frees: dict[float, float] = {}
    resets: list[tuple[float, float]] = []
    left = 0
    for one in pool:
        free = one.free(at, calendar=world.calendar)
        left += free
        if at < one.cools_until:
            until = math.ceil(one.cools_until / 600) * 600.0
            frees[until] = frees.get(until, 0) + one.left
        if not world.calendar:
            for made, calls in one.made:
                until = math.ceil((made + world.window) / 600) * 600.0
                frees[until] = frees.get(until, 0) + calls
    if world.calendar:
        midnight = (at // DAY + 1) * DAY
        frees = {until: calls for until, calls in frees.items() if until < midnight}
        resets = [(midnight + day * DAY, sum(one.calls for one in pool)) for day in range(30)]
    return Room(left, sorted(frees.items()), None if world.calendar else world.window, resets)


def main(runs: int, seed: int) -> bool:
    """Print it; whether the goals are reached."""
    print(f"\n{WAITING:,} fetches wait before a request; {runs} runs of each")
    print(f"{'':20} {'median error':>13} {'nine of ten':>12} {'interval holds':>15}")
    every, all_held = [], 0
    for name, world in WORLDS.items():
        errors, held = back_test(world, runs, random.Random(f"{name} {seed}"))
        every += errors
        all_held += held
        print(_row(name, errors, held / runs), flush=True)
    print(_row("all", every, all_held / len(every)))
    goals = {
        f"the expected end of a request is right within {EXPECTED_WITHIN:.0%} at the median": statistics.median(every)
        <= EXPECTED_WITHIN,
        f"its interval of four cases in five holds in at least {HOLDS:.0%}": all_held / len(every) >= HOLDS,
    }
    for goal, reached in goals.items():
        print(f"{'ok    ' if reached else 'MISSED'} {goal}")
    return all(goals.values())


def _row(name: str, errors: Sequence[float], held: float) -> str:
    return f"{name:20} {statistics.median(errors):13.1%} {statistics.quantiles(errors, n=10)[8]:12.1%} {held:15.1%}"
