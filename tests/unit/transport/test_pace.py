"""The pace of a bucket that refuses: simulated with a clock of its own, so that a minute takes no time."""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from beat_actors.transport.gate import Gate
from beat_actors.transport.pace import IDLE, SLOWEST, START, Pace

Refuses = Callable[[float], bool]
"""Whether a request is refused that comes at this time."""


@dataclass
class Load:
    """Workers that have more objects than can be stored. An object that may not be repeated at once goes behind the others."""

    refuses: Refuses
    latency: float = 0.05
    slots: int = 400
    now: float = 0.0
    sent: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    requests: dict[int, int] = field(default_factory=dict)
    objects: int = 0

    def run(self, pace: Pace, until: float) -> None:
        flying: list[tuple[float, int, int, bool]] = []
        again, late = deque[int](), deque[int]()
        while self.now < until:
            wait = pace.take(self.now) if len(flying) < self.slots else None
            if wait == 0.0:
                if again:
                    one = again.popleft()
                else:
                    self.objects += 1
                    one = self.objects
                self.requests[one] = self.requests.get(one, 0) + 1
                self.sent.append(self.now)
                refused = self.refuses(self.now)
                heapq.heappush(flying, (self.now + self.latency, one, pace.generation, refused))
                continue
            comes = flying[0][0] if flying else float("inf")
            turn = self.now + wait if wait is not None else float("inf")
            self.now = min(comes, turn)
            while flying and flying[0][0] <= self.now:
                _, one, generation, refused = heapq.heappop(flying)
                if not refused:
                    self.stored.append(self.now)
                    pace.accepted(self.now, generation)
                    continue
                pace.refused(self.now, generation)
                (again if pace.may_repeat() else late).append(one)
        self.left = len(late) + len(again)

    def rate(self, begins: float, ends: float) -> float:
        return sum(begins <= at < ends for at in self.stored) / (ends - begins)


def never(_now: float) -> bool:
    return False


class Limited:
    """A bucket that takes so many requests a second, a tenth of them at once, and refuses the others."""

    def __init__(self, capacity: float) -> None:
        self._capacity, self._left, self._at = capacity, capacity / 10, 0.0

    def __call__(self, now: float) -> bool:
        self._left = min(self._left + (now - self._at) * self._capacity, self._capacity / 10)
        self._at = now
        if self._left < 1.0:
            return True
        self._left -= 1.0
        return False


@pytest.mark.slow
@pytest.mark.parametrize("slots", [400, 40, 20])
def test_s7_7_half_refused_for_a_minute_costs_few_requests_and_the_rate_is_back_within_ten_seconds(slots: int) -> None:
    chance = random.Random(7)
    load = Load(lambda now: 30.0 <= now < 90.0 and chance.random() < 0.5, slots=slots)
    load.run(Pace(0.0), until=130.0)
    before = load.rate(20.0, 30.0)
    during = sum(30.0 <= at < 90.0 for at in load.sent)
    assert load.rate(100.0, 110.0) >= 0.9 * before
    assert len(load.sent) / len(load.stored) <= 1.05
    # Also of those that were tried in this minute alone.
    assert during / (during - (len(load.sent) - len(load.requests))) <= 1.5
    assert during <= 60 * 10 * SLOWEST
    assert load.left <= during


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [60, 300, 3500])
def test_s7_7_a_bucket_with_a_limit_is_used_up_to_it_and_refuses_little(capacity: int) -> None:
    load = Load(Limited(capacity), slots=1000)
    load.run(Pace(0.0), until=120.0)
    assert load.rate(30.0, 120.0) >= 0.75 * capacity
    sent = sum(at >= 30.0 for at in load.sent)
    assert sent / sum(at >= 30.0 for at in load.stored) <= 1.1


def test_a_load_begins_slowly_and_grows_while_nothing_is_refused() -> None:
    load = Load(never, slots=10_000)
    load.run(Pace(0.0), until=5.0)
    assert sum(at < 0.5 for at in load.sent) <= START
    assert load.rate(4.0, 5.0) > 3500


def test_a_rate_that_nobody_uses_up_does_not_grow() -> None:
    pace = Pace(0.0)
    for n in range(1000):
        assert pace.take(n * 0.1) == 0.0
        pace.accepted(n * 0.1, pace.generation)
    assert pace.rate == START


def test_after_a_pause_a_load_begins_anew() -> None:
    pace = Pace(0.0)
    load = Load(never, slots=10_000)
    load.run(pace, until=5.0)
    assert pace.rate > START
    assert pace.take(5.0 + IDLE + 1) == 0.0
    assert pace.rate == START


def test_answers_to_requests_before_a_cut_do_not_cut_again() -> None:
    pace = Pace(0.0)
    asked = [pace.generation for _ in range(200)]
    for generation in asked:
        pace.refused(0.1, generation)
    assert pace.rate == START / 2


def test_what_may_be_repeated_at_once_is_bounded() -> None:
    pace = Pace(0.0)
    allowed = sum(pace.may_repeat() for _ in range(1000))
    assert allowed == 20
    for _ in range(101):
        pace.accepted(0.0, pace.generation)
    assert sum(pace.may_repeat() for _ in range(1000)) == 10


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_turns_come_in_order_and_a_cancelled_one_is_passed_over() -> None:
    clock = Clock()
    gate = Gate(clock)
    came = list[int]()

    async def one(n: int) -> None:
        await gate.turn()
        came.append(n)

    await gate.turn()  # the clock stands, so there is no other
    tasks = [asyncio.create_task(one(n)) for n in range(4)]
    await asyncio.sleep(0)
    assert came == []
    tasks[1].cancel()
    clock.now = 1.0
    await asyncio.gather(*tasks, return_exceptions=True)
    assert came == [0, 2, 3]
