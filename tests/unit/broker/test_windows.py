"""Sliding windows: never more than the limit in any window, whatever the delay between charge and call."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beat_actors.broker.windows import BUCKETS, SPARSE, Window, calendar_day, margin
from beat_actors.platforms.interface import Limit

NOON = 1_790_000_000.0


@given(
    calls=st.integers(1, 30),
    seconds=st.sampled_from([1.0, 30.0, 60.0, 3600.0]),
    steps=st.lists(st.tuples(st.floats(0, 0.6), st.integers(1, 40), st.floats(0, 3)), max_size=60),
)
def test_s9_13_no_window_ever_holds_more_calls_than_the_limit(calls, seconds, steps):
    """Leases at arbitrary times, each sent any time later and settled later still. No window of `seconds` holds too many."""
    limit = Limit("l", calls, seconds)
    now, head, counts, sent, out = NOON, 0, (), [], []
    for pause, wanted, delay in steps:
        now += pause * seconds
        window = Window("credential:1", limit, now, head, counts)
        for at in [at for at in out if at <= now]:
            window.charge(at)
        out = [at for at in out if at > now]
        window.hold(len(out))
        for _ in range(wanted):
            if window.left() <= 0:
                break
            window.hold()
            out.append(now + delay * seconds)
            sent.append(out[-1])
        head, counts = window.stored()
    times = sorted(sent)
    for i, first in enumerate(times):
        inside = sum(1 for time in times[i:] if time < first + seconds)
        assert inside <= calls


def simulated(limit: Limit, latencies: list[float], rng: Random, span: float) -> tuple[list[float], float]:
    """When the calls of one credential arrive that are leased as soon as a turn may, and sent when there is room; each arrives at any time
    before its answer begins. Also the mean of what they took."""
    now, stored, out, arrivals, took = NOON, (0, ()), [], [], []
    while now < NOON + span:
        window = Window("credential:1", limit, now, *stored)
        for at in [at for at in out if at <= now]:
            window.charge(at)
        out = [at for at in out if at > now]
        window.hold(len(out))
        while window.opens() <= now:
            sent = window.next_room()
            window.hold()
            took.append(rng.choice(latencies))
            out.append(sent + took[-1])
            arrivals.append(sent + took[-1] * rng.choice((0.0, 1.0, rng.random())))
        stored = window.stored()
        now = max(min([*out, window.opens()]), now + 1e-6)
    return sorted(arrivals), sum(took) / len(took)


@settings(deadline=None)
@given(
    calls=st.integers(1, 20),
    seconds=st.sampled_from([1.0, 10.0, 60.0, 3600.0]),
    latencies=st.lists(st.floats(0, 3), min_size=1, max_size=8),
    seed=st.integers(0, 2**32),
)
def test_s9_13_a_limit_is_used_as_far_as_its_arrivals_are_known_and_never_exceeded(calls, seconds, latencies, seed):
    """However long a call is under way before the provider counts it. Of what is allowed W / (W + latency) can be used."""
    limit = Limit("l", calls, seconds)
    span = 40 * (seconds + max(latencies))
    arrivals, latency = simulated(limit, latencies, Random(seed), span)
    assert all(later - first >= seconds for first, later in zip(arrivals, arrivals[calls:], strict=False))
    bound = calls * span / (seconds + latency)
    assert len(arrivals) >= 0.9 * bound


@given(
    seconds=st.sampled_from([1.0, 10.0, 99.0, 100.0, 3600.0]),
    ages=st.lists(st.floats(0, 2), max_size=30),
    later=st.floats(0, 2),
)
def test_what_is_stored_of_a_window_is_all_that_counts_in_it(seconds, ages, later):
    limit = Limit("l", 100, seconds)
    window = Window("s", limit, NOON)
    for age in ages:
        window.charge(NOON - age * seconds)
    again = Window("s", limit, NOON, *window.stored())
    assert (again.left(), again.next_room()) == (window.left(), window.next_room())
    assert again.left() <= 100 - sum(1 for age in ages if age < 1)
    then = Window("s", limit, NOON + later * seconds, *again.stored())
    assert then.left() <= 100 - sum(1 for age in ages if age + later < 1)
    assert max(map(len, (window.stored()[1], then.stored()[1]))) <= max(2 * len(ages), BUCKETS + 1)


@pytest.mark.parametrize("seconds", [1.0, 30.0])
def test_what_the_version_before_stored_of_a_short_window_still_counts_and_then_ends(seconds):
    before = (seconds + min(max(seconds * 0.1, 0.1), 2.0)) / BUCKETS
    head, counts = int(NOON // before), [2, 1] + [0] * (BUCKETS - 2) + [1]
    limit = Limit("l", 5, seconds)
    assert Window("s", limit, NOON, head, counts).left() == 5 - 3
    assert Window("s", limit, NOON + 0.9 * seconds, head, counts).left() == 5 - 3
    assert Window("s", limit, NOON + 1.2 * seconds, head, counts).left() == 5
    # The version before takes what this one stores for the future, and keeps all of it.
    window = Window("s", limit, NOON)
    window.charge(NOON)
    assert window.stored()[0] >= SPARSE > NOON / before


@given(calls=st.integers(1, 50), charged=st.integers(1, 50), age=st.floats(0, 2))
def test_there_is_room_again_exactly_when_it_was_promised(calls, charged, age):
    limit = Limit("l", calls, 60)
    window = Window("s", limit, NOON)
    window.charge(NOON, min(charged, calls))
    later = Window("s", limit, NOON + age, *window.stored())
    promised = later.next_room()
    at = Window("s", limit, promised + 1e-6, *later.stored())
    assert at.left() >= 1
    if later.left() < 1:
        before = Window("s", limit, promised - later.width / 2, *later.stored())
        assert before.left() < 1


def test_what_is_held_takes_room_and_what_is_charged_takes_it_by_its_time():
    limit = Limit("l", 5, 60)
    window = Window("s", limit, NOON)
    window.hold(2)
    assert window.left() == 3
    window = Window("s", limit, NOON)
    window.charge(NOON - 50, 2)
    window.charge(NOON - 500, 2)
    assert window.left() == 3
    assert Window("s", limit, NOON + 30, *window.stored()).left() == 5


def test_a_clock_that_steps_back_frees_nothing():
    limit = Limit("l", 5, 60)
    window = Window("s", limit, NOON)
    window.charge(NOON, 5)
    assert Window("s", limit, NOON - 90, *window.stored()).left() == 0


@pytest.mark.parametrize(("seconds", "step"), [(1, 3), (5, 3), (60, 300), (3600, 7200)])
def test_a_clock_that_steps_forth_empties_no_window(seconds, step):
    limit = Limit("l", 5, seconds)
    window = Window("s", limit, NOON)
    window.charge(NOON, 5)
    stepped = Window("s", limit, NOON + step, *window.stored(), [(NOON, step)])
    assert (stepped.left(), stepped.dirty) == (0, True)
    again = Window("s", limit, NOON + step, *stepped.stored(), [(NOON, step)])
    assert (again.left(), again.dirty) == (0, False)
    later = NOON + step + 1.3 * seconds
    assert Window("s", limit, later, *again.stored(), [(NOON, step)]).left() == 5


def test_a_clock_that_steps_over_midnight_gives_no_day_twice():
    limit = Limit("daily", 10, 86_400, calendar="UTC")
    _, midnight = calendar_day("UTC", NOON)
    window = Window("s", limit, midnight - 1)
    window.charge(midnight - 1, 10)
    forth = Window("s", limit, midnight + 2, *window.stored(), [(midnight - 1, 3)])
    assert (forth.left(), forth.dirty) == (0, True)
    window = Window("s", limit, midnight + 2)
    window.charge(midnight + 2, 3)
    back = Window("s", limit, midnight - 1, *window.stored())
    back.charge(midnight - 1)
    assert Window("s", limit, midnight + 5, *back.stored()).left() == 6
    wrong = Window("s", limit, midnight - 7200, *window.stored())
    assert (wrong.left(), wrong.dirty) == (7, True)
    assert Window("s", limit, midnight, *wrong.stored()).left() == 10


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 24), ("America/Los_Angeles", 24)])
def test_s9_8_a_calendar_limit_resets_at_the_providers_midnight(zone, hours):
    limit = Limit("daily", 10, 86_400, calendar=zone)
    start, end = calendar_day(zone, NOON)
    assert end - start == hours * 3600
    window = Window("s", limit, end - 5)
    window.charge(end - 5, 10)
    assert window.left() == 0
    assert window.next_room() == end
    assert Window("s", limit, end, *window.stored()).left() == 10


def test_days_of_23_and_25_hours_are_as_they_are():
    lengths = {
        round((calendar_day("America/Los_Angeles", day)[1] - calendar_day("America/Los_Angeles", day)[0]) / 3600)
        for day in (1_772_971_200.0 + 3600 * 12, 1_793_530_800.0 + 3600 * 12, NOON)  # 8 March and 1 November 2026
    }
    assert lengths == {23, 24, 25}


def test_s9_12_batch_cannot_take_the_reserve_until_it_is_lent_near_the_reset():
    limit = Limit("daily", 100, 86_400, calendar="UTC", reserve=0.2)
    start, end = calendar_day("UTC", NOON)
    morning = Window("s", limit, start + 60)
    morning.charge(start + 60, 80)
    assert morning.left(priority=3) == 0
    assert morning.left(priority=1) == 20
    assert start < morning.next_room(priority=3) < end
    evening = Window("s", limit, end - 60, *morning.stored())
    assert evening.left(priority=3) == 20


def test_a_call_that_arrives_late_is_still_inside():
    limit = Limit("l", 1, 1)
    window = Window("s", limit, NOON)
    window.charge(NOON)
    still = Window("s", limit, NOON + 1 + margin(limit) - 0.01, *window.stored())
    assert still.left() == 0


def test_a_call_of_the_day_before_is_not_charged_to_this_one():
    limit = Limit("daily", 10, 86_400, calendar="UTC")
    start, _ = calendar_day("UTC", NOON)
    window = Window("s", limit, start + 5)
    window.charge(start - 60)
    assert window.left() == 10
    window.charge(start - 1)  # it may have arrived after midnight
    assert window.left() == 9


def test_a_day_that_the_provider_calls_spent_is_full_until_its_end_and_no_longer():
    limit = Limit("daily", 10, 86_400, calendar="America/Los_Angeles", reserve=0.2)
    start, end = calendar_day("America/Los_Angeles", NOON)
    window = Window("s", limit, start + 3600)
    window.charge(start + 3000, 4)
    assert window.fill(start + 3500)
    assert (window.used, window.left(), window.dirty) == (10, 0, True)
    assert not window.fill(start + 3500)
    assert window.next_room() == end
    evening = Window("s", limit, end - 1, *window.stored())
    assert evening.left(priority=3) == 0
    assert Window("s", limit, end + 1, *window.stored()).left() == 10


def test_a_day_is_not_filled_by_what_was_refused_the_day_before():
    limit = Limit("daily", 10, 86_400, calendar="UTC")
    start, _ = calendar_day("UTC", NOON)
    window = Window("s", limit, start + 5)
    assert not window.fill(start - 60)
    assert window.left() == 10
