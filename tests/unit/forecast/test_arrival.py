"""When work that waits is done."""

import math
import random

import pytest

from beat_actors.forecast.arrival import HORIZON, WIDEST, Room, ahead, arrival, spread, walk

NOW = 1_800_000_000.0
DAY = 86_400.0


def test_without_budgets_it_goes_at_the_pace() -> None:
    found = arrival(600, start=NOW + 60, rate=2.0, factor=1.5, now=NOW)
    assert found.at == NOW + 60 + 300
    assert found.earliest == pytest.approx(NOW + 60 + 200, abs=0.03 * 260)
    assert found.latest == pytest.approx(NOW + 60 + 450, abs=0.03 * 510)
    assert not found.held_back


def test_a_daily_budget_makes_it_wait_for_its_resets_and_not_for_a_rate() -> None:
    resets = [(NOW + day * DAY, 5_000.0) for day in range(1, 30)]
    found = arrival(17_000, start=NOW, rate=50.0, factor=1.2, sources=[[Room(1_000, resets=resets)]], now=NOW)
    # 1,000 today, 5,000 on each of three days, the last thousand on the fourth.
    assert found.at is not None
    assert found.earliest is not None
    assert found.latest is not None
    assert NOW + 4 * DAY <= found.at < NOW + 4.1 * DAY
    assert found.held_back
    assert found.earliest <= found.at <= found.latest


def test_budgets_of_days_that_pass_unused_do_not_pile_up() -> None:
    resets = [(NOW + day * DAY, 5_000.0) for day in range(1, 30)]
    room = Room(1_000, [(NOW + DAY, 700.0)], resets=resets)
    # It starts in the middle of the sixth day: 5,000 are left on it, and as many on each of the next.
    found = walk(12_000, start=NOW + 5.5 * DAY, rate=50.0, sources=[[room]], now=NOW)
    assert found is not None
    assert NOW + 7 * DAY <= found < NOW + 7.2 * DAY


def test_calls_that_are_made_come_free_again_when_they_leave_the_window() -> None:
    found = walk(1_000, start=NOW, rate=100.0, sources=[[Room(200, window=3600.0)]], now=NOW)
    assert found is not None
    assert 4 * 3600 <= found - NOW <= 4 * 3600 * 1.1


def test_a_source_with_room_takes_what_another_cannot() -> None:
    empty = [Room(0, [(NOW + DAY, 10_000)])]
    assert (walk(100, start=NOW, rate=10.0, sources=[empty], now=NOW) or 0) >= NOW + DAY
    both = walk(100, start=NOW, rate=10.0, sources=[empty, [Room(1_000)]], now=NOW)
    assert both == pytest.approx(NOW + 10, abs=2)


def test_a_cooldown_that_ends_lets_it_go_on() -> None:
    found = walk(1_000, start=NOW, rate=100.0, sources=[[Room(400, [(NOW + 3600, 1_000)])]], now=NOW)
    assert found is not None
    assert NOW + 3600 <= found <= NOW + 3600 * 1.03


def test_what_never_has_room_has_no_time() -> None:
    assert walk(10, start=NOW, rate=1.0, sources=[[Room(5)]], now=NOW) is None
    assert walk(10, start=NOW, rate=5 / HORIZON, now=NOW) is None
    found = arrival(10, start=NOW, rate=1.0, factor=2.0, sources=[[Room(5)]], now=NOW)
    assert (found.at, found.latest, found.held_back) == (None, None, True)


def test_little_knowledge_is_a_wide_interval_and_even_minutes_a_narrow_one() -> None:
    assert spread([]) == spread([7]) == spread([0, 0]) == WIDEST
    assert 1.1 < spread([600] * 10) < 1.25 < spread([900, 100, 700, 1500, 20, 600]) <= WIDEST


def test_no_time_lies_in_the_past_and_more_work_never_ends_sooner() -> None:
    dice = random.Random(1)
    for _ in range(200):
        frees = [(NOW + dice.uniform(-100, 3 * DAY), dice.uniform(0, 500)) for _ in range(dice.randrange(5))]
        rooms = [[Room(dice.uniform(0, 300), frees, dice.choice([None, 60.0, DAY]))] for _ in range(dice.randrange(3))]
        start, rate = NOW + dice.uniform(-DAY, DAY), math.exp(dice.uniform(-3, 5))
        work = dice.uniform(0, 2_000)
        ends = [walk(each, start=start, rate=rate, sources=rooms, now=NOW) or math.inf for each in (work, work * 1.5)]
        assert max(NOW, start) <= ends[0] <= ends[1]


def test_rows_beyond_the_bound_are_estimated_from_looks_at_some_places() -> None:
    dice = random.Random(2)
    # Dense at first, sparse later, with a gap.
    ids = sorted({*dice.sample(range(1, 100_000), 60_000), *dice.sample(range(250_000, 1_000_000), 30_000)})
    probes = []
    for place in range(1, 1_000_000, 62_500):
        found = [one for one in ids if one >= place][:200]
        probes.append((place, len(found), found[-1] if found else place))
    assert ahead(probes, 1_000_001) == pytest.approx(90_000, rel=0.2)
