"""How right forecasts of daily limits are: `make forecast`.

Simulated days of five shapes, each with another level, slow noise and bursts. A limit is set that two days in five last. Every ten minutes of each day the
forecast is made from the four weeks before, and so is the one that it is compared with: the rate of the last ten minutes goes on. Then follow the calls of
all credentials of a source (`bench.pools`), and the expected end of a request before which 100,000 wait (`bench.waiting`). The command fails if a goal is
missed.
"""

import argparse
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from beat_actors.forecast.demand import MOST_DAYS, SLOT, SLOTS, Demand
from beat_actors.forecast.outlook import RECENT, outlook
from beat_actors.quotas.foreseen import TOLD
from bench import pools, waiting

Shape = Callable[[int], Sequence[float]]
"""The shares of a day's calls, for the day of this number."""
MEAN = 17_000
LEVEL, NOISE, MEMORY = 0.22, 0.08, 0.9
"""Standard deviations of the logarithms of a day's level and of a slot's noise, and how much of the noise of a slot goes over to the next."""
BURSTS, LIKELY_BURST = 2, 0.4
QUIET_WEEKEND = 0.6
LASTING = 0.4
"""The share of days that the limit is set to last."""
IN_TIME, EACH = 3, 18
"""Slots: of a warning that is in time, and between two forecasts whose interval is looked at."""
MOST_FALSE, OF_THE_RATE, LEAST_WARNED, HELD = 0.25, 1 / 3, 0.99, (0.75, 0.85)


def bell(at: float, hours: float) -> Callable[[float], float]:
    return lambda hour: math.exp(-(((hour - at) / hours) ** 2))


def shares(weight: Callable[[float], float]) -> Sequence[float]:
    weights = [weight(slot / 6) for slot in range(SLOTS)]
    return [one / sum(weights) for one in weights]


OFFICE = shares(lambda hour: 0.15 + bell(14, 3.5)(hour))
TWO = shares(lambda hour: 0.1 + bell(9, 1.5)(hour) + 1.2 * bell(20, 2)(hour))
EVEN = shares(lambda _: 1.0)
NIGHT = shares(lambda hour: 1.5 if hour < 5 else 0.25)
SHAPES: dict[str, Shape] = {
    "office hours": lambda _: OFFICE,
    "even": lambda _: EVEN,
    "two peaks": lambda _: TWO,
    "batch at night": lambda _: NIGHT,
    "other weekends": lambda day: OFFICE if day % 7 < 5 else TWO,
}


@dataclass
class Found(pools.Found):
    """Days, and forecasts whose interval was looked at; and the warnings of the rate that it is compared with."""

    rate_warned: int = 0
    rate_false: int = 0


def a_day(dice: random.Random, shape: Sequence[float], *, quiet: bool) -> list[int]:
    level = math.exp(dice.gauss(0, LEVEL)) * (QUIET_WEEKEND if quiet else 1)
    bursts = [
        (dice.randrange(SLOTS), dice.randint(3, 12), dice.uniform(1.5, 3))
        for _ in range(BURSTS)
        if dice.random() < LIKELY_BURST
    ]
    noise, calls = 0.0, list[int]()
    for slot, share in enumerate(shape):
        noise = MEMORY * noise + dice.gauss(0, NOISE)
        mean = MEAN * share * level * math.exp(noise)
        for begins, length, factor in bursts:
            mean *= factor if begins <= slot < begins + length else 1
        calls.append(max(0, round(dice.gauss(mean, math.sqrt(mean)))))
    return calls


def back_test(name: str, shape: Shape, days: int, seed: int) -> Found:
    dice = random.Random(f"{name} {seed}")
    weekly = name == "other weekends"
    every = [a_day(dice, shape(day), quiet=weekly and day % 7 >= 5) for day in range(MOST_DAYS + days)]
    limit = sorted(map(sum, every))[int(len(every) * LASTING)]
    found = Found()
    for number in range(MOST_DAYS, MOST_DAYS + days):
        before = [calls for day in every[number - MOST_DAYS : number] for calls in day]
        _one_day(found, before, every[number], limit, weekday=number % 7)
    return found


def _one_day(found: Found, before: list[int], calls: list[int], limit: int, *, weekday: int) -> None:
    total = [0, *accumulate(calls)]
    end = next((slot for slot, used in enumerate(total) if used >= limit), None)
    warned = rate_warned = None
    for slot in range(SLOTS if end is None else end):
        used = total[slot]
        if rate_warned is None and slot and calls[slot - 1] and slot + (limit - used) / calls[slot - 1] < SLOTS:
            rate_warned = slot
        looks = slot > 0 and slot % EACH == 0
        if warned is not None and not looks:
            continue
        demand = Demand(before + calls[:slot], slot=slot, weekday=weekday, ahead=SLOTS - slot)
        one = outlook(demand, now=slot * SLOT, used=used, limit=limit, recent=calls[max(0, slot - RECENT) : slot])
        if warned is None and one.warn:
            warned = slot
        if (
            looks
            and end is not None
            and one.at is not None
            and one.earliest is not None
            and (one.probability or 0) >= TOLD
        ):
            found.timed += 1
            # It is used up within the slot before `end`.
            found.held += one.earliest <= end * SLOT and (one.latest is None or one.latest >= (end - 1) * SLOT)
            found.errors.append(abs(one.at / SLOT - end) / (end - slot))
    if end is None:
        found.lasted += 1
        found.false += warned is not None
        found.rate_false += rate_warned is not None
    else:
        found.used_up += 1
        found.warned += warned is not None and end - warned >= IN_TIME
        found.rate_warned += rate_warned is not None and end - rate_warned >= IN_TIME


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=200, help="of each shape")
    parser.add_argument("--runs", type=int, default=50, help="of each world in which 100,000 wait")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(
        f"{options.days} days of each shape; a limit that {LASTING:.0%} of the days last; four weeks before each day are known"
    )
    print(
        f"{'':16} {'used up':>8} {'warned >= 30 min before':>24} {'by the rate':>12} {'lasted':>7} {'false alarms':>13} {'by the rate':>12} {'interval holds':>15} {'median error':>13}"
    )
    every = Found()
    for name, shape in SHAPES.items():
        found = back_test(name, shape, options.days, options.seed)
        for key, value in vars(found).items():
            setattr(every, key, getattr(every, key) + value)
        print(_row(name, found), flush=True)
    print(_row("all", every))
    false, rate_false = every.false / every.lasted, every.rate_false / every.lasted
    goals = {
        f"warned at least 30 minutes before in {LEAST_WARNED:.0%} of exhaustions": every.warned / every.used_up
        >= LEAST_WARNED,
        f"false alarms on at most {MOST_FALSE:.0%} of the days that last": false <= MOST_FALSE,
        "false alarms at most a third of those of the rate": false <= rate_false * OF_THE_RATE,
        f"the interval of four cases in five holds in {HELD[0]:.0%} to {HELD[1]:.0%}": HELD[0]
        <= every.held / every.timed
        <= HELD[1],
    }
    for goal, reached in goals.items():
        print(f"{'ok    ' if reached else 'MISSED'} {goal}")
    right = [
        pools.main(
            lambda dice, day: a_day(dice, OFFICE if day % 7 < 5 else TWO, quiet=day % 7 >= 5),
            options.days,
            options.seed,
        ),
        waiting.main(options.runs, options.seed),
    ]
    return 0 if all([*goals.values(), *right]) else 1


def _row(name: str, found: Found) -> str:
    return (
        f"{name:16} {found.used_up:8} {found.warned / max(1, found.used_up):24.1%} {found.rate_warned / max(1, found.used_up):12.1%} "
        f"{found.lasted:7} {found.false / max(1, found.lasted):13.1%} {found.rate_false / max(1, found.lasted):12.1%} "
        f"{found.held / max(1, found.timed):15.1%} {statistics.median(found.errors or [math.nan]):13.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
