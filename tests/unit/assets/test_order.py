"""The order of uploads, against an oracle that knows everything beforehand."""

import heapq
import random
from collections.abc import Callable

import pytest

from beat_actors.assets.order import COUNTED, ENDLESS, PATIENCE, SOON, SOON_MOST, Ageing, Rate, horizon, soon

HOUR = 3600.0
BATCH = 8
"""As 200 of 100,000."""
Row = tuple[int, float, int]
"""Class, deadline, number: rows are numbered as they came."""


def backlog(seed: int, count: int, hours: float) -> list[Row]:
    """A tenth avatars; previews of posts that live for up to 108 hours, stories for up to 24, others that are expected to live for a day.
    A twentieth has died before. `hours` scales all of it."""
    rng = random.Random(seed)
    found = []
    for n in range(count):
        of_class = rng.choices((0, 1, 2, 3), (10, 50, 25, 15))[0]
        life = (108, 108, 24, 24)[of_class] * hours
        found.append((of_class, rng.uniform(-0.05, 1) * life * HOUR, n))
    return found


def saved(rows: list[Row], rate: float, choose: Callable[[list[Row], float, int], list[Row]]) -> list[tuple[int, bool]]:
    """The uploads in their order, at `rate` a second: the class of each, and whether it was saved in time."""
    left, now, order = list(rows), 0.0, list[tuple[int, bool]]()
    while left:
        chosen = choose(left, now, BATCH)
        gone = {row[2] for row in chosen}
        left = [row for row in left if row[2] not in gone]
        for row in chosen:
            now += 1 / rate
            order.append((row[0], now <= row[1]))
    return order


def fifo(left: list[Row], _now: float, batch: int) -> list[Row]:
    return left[:batch]


def ours(rate: float) -> Callable[[list[Row], float, int], list[Row]]:
    """What the statement `claim` does with what `horizon` says. The rate is thought to be a third of what it is: two other processes upload."""

    def choose(left: list[Row], now: float, batch: int) -> list[Row]:
        urgent = now + horizon(min(len(left), COUNTED), rate / 3)
        soon = now + BATCH / rate

        def place(row: Row) -> tuple[int, float, float]:
            of_class, deadline, _ = row
            if deadline <= soon:
                return 3, of_class, -deadline
            if of_class == 0:
                return 0, 0, deadline
            return (1, 0, deadline) if deadline <= urgent else (2, of_class, deadline)

        return heapq.nsmallest(batch, left, key=place)

    return choose


def oracle(rows: list[Row], rate: float, *, avatars_first: bool) -> int:
    """The most that can be saved. Uploads take equally long, so the earliest deadline that can still be met is the best choice at each moment;
    of avatars alone at first, or without regard to the classes."""
    uploads = saved = 0
    for classes in ((0,), (1, 2, 3)) if avatars_first else ((0, 1, 2, 3),):
        for deadline in sorted(row[1] for row in rows if row[0] in classes):
            if (uploads + 1) / rate <= deadline:
                uploads, saved = uploads + 1, saved + 1
    return saved


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8, 1.2])
def test_s7_3_and_s7_10_in_time_is_at_least_95_percent_of_what_an_oracle_saves(seed: int, share: float) -> None:
    """`share`: of the backlog that can be uploaded until the last picture dies."""
    rows = backlog(seed, 3000, 1.0)
    rate = share * len(rows) / (108 * HOUR)
    best, free = (oracle(rows, rate, avatars_first=first) for first in (True, False))
    order = saved(rows, rate, ours(rate))
    count = sum(in_time for _, in_time in order)
    without = sum(in_time for _, in_time in saved(rows, rate, fifo))
    print(f"of {len(rows)}: oracle {best}, without classes {free}; beat {count}, first in first out {without}")
    assert count >= 0.95 * best
    assert count >= 0.85 * free
    last = max(n for n, (of_class, in_time) in enumerate(order) if of_class == 0 and in_time)
    assert {of_class for of_class, _ in order[: last + 1]} == {0}


def test_classes_count_where_everything_can_be_saved() -> None:
    rows = [row for row in backlog(1, 3000, 1.0) if row[1] > HOUR]
    order = saved(rows, 100.0, ours(100.0))
    assert all(in_time for _, in_time in order)
    classes = [of_class for of_class, _ in order]
    assert classes == sorted(classes)


def test_a_long_backlog_is_taken_for_endless_and_a_short_one_for_what_it_takes() -> None:
    assert horizon(COUNTED, 1000.0) == ENDLESS
    assert 60 <= horizon(0, 0.0) <= 61
    assert horizon(1000, 100.0) == 80


@pytest.mark.parametrize("room", [1, 3, 20, 200])
def test_s7_10_the_last_class_gets_5_percent_of_starts_though_avatars_come_for_ever(room: int) -> None:
    ageing, now, classes = Ageing(), 0.0, list[int]()
    for _ in range(20_000 // room):
        now += 1.0 if room > 1 else 0.2
        share = ageing.share(room, now)
        got = ([1] * share + [2] * share + [3] * share + [0] * room)[:room]
        if share == 1 and room < 3:
            got = [3]
        ageing.claimed(got, room, share, now)
        if now > PATIENCE + 10:
            classes += got
    assert classes.count(3) >= 0.05 * len(classes)
    assert classes.count(0) >= 0.7 * len(classes)


def test_s7_10_avatars_that_end_are_all_first() -> None:
    ageing = Ageing()
    for second in range(int(PATIENCE)):
        assert ageing.share(200, second) == 0
        ageing.claimed([0] * 200, 200, 0, second)
    ageing.claimed([0] * 20 + [1] * 180, 200, 0, PATIENCE + 1)
    assert ageing.share(200, PATIENCE + 2) == 0


def test_the_rate_is_measured_while_something_is_uploaded() -> None:
    rate = Rate()
    for second in range(60):
        rate.done(100, 2.0, float(second))
    assert 90 < rate.per_second < 140
    assert 1.9 < rate.latency < 2.1
    rate.idle()
    rate.done(1, 2.0, 10_000.0)
    assert rate.per_second > 90


def test_an_asset_can_hardly_be_saved_whose_deadline_is_nearer_than_an_upload_takes() -> None:
    assert [soon(seconds) for seconds in (0.1, 10.0, 1000.0)] == [SOON, 15.0, SOON_MOST]
