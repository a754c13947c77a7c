"""Breakers: closed, open for 30 s × trips, then one probe. They judge calls by the time at which these began."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.broker.breaker import AT_LEAST, AT_ONCE, BUCKET, LASTING, Breaker, Called, Witnesses, bucket_of

NOW = 1_790_000_000.0
TIMES = st.floats(NOW - 120, NOW, allow_nan=False)
OUTCOMES = st.lists(st.builds(Called, TIMES, st.integers(1, 5), st.booleans()), max_size=30)


def failed(calls: int, at: float = NOW) -> Called:
    return Called(at, calls, failed=True)


def well(calls: int, at: float = NOW) -> Called:
    return Called(at, calls, failed=False)


def test_s1_3_more_than_half_of_at_least_five_within_a_minute_open_it():
    assert not Breaker().judged([failed(4)], NOW).is_open(NOW)
    opened = Breaker().judged([failed(5)], NOW)
    assert opened.open_until == NOW + 30
    assert opened.needs_probe(NOW + 30)
    half = Breaker().judged([well(3), failed(3)], NOW)
    assert not half.is_open(NOW)
    assert half.judged([failed(1)], NOW).is_open(NOW)


def test_five_failures_that_are_spread_over_fifty_calls_are_no_outage():
    assert not Breaker().judged([*[failed(1)] * 5, well(45)], NOW).is_open(NOW)


START = bucket_of(NOW) * BUCKET * 1.0
"""When the newest bucket begins."""


def test_a_source_that_is_gone_is_left_before_half_of_a_minute_has_failed():
    busy = Breaker().counted([well(30, START - 10 * n) for n in range(1, 6)])
    gone = busy.judged([failed(AT_ONCE, START + 1)], START + LASTING)
    assert gone.is_open(START + LASTING)
    assert gone.opened_by is not None
    assert (gone.opened_by.calls, gone.opened_by.failures) == (AT_ONCE, AT_ONCE)
    slowly = busy.judged([failed(4, START + 1)], START + LASTING).judged([failed(6, START + 11)], START + 12)
    assert slowly.is_open(START + 12)


@pytest.mark.parametrize(
    ("outcomes", "now"),
    [
        ([failed(AT_ONCE - 1, START + 1)], START + LASTING),  # too few
        ([failed(AT_ONCE, START + 1)], START + LASTING - 1),  # one lost connection
        ([failed(3 * AT_ONCE, START + 1), well(1, START + 2)], START + LASTING),
        ([failed(4, START + 1), well(1, START + 2), failed(6, START + 11)], START + 12),
    ],
)
def test_a_source_that_answers_now_and_then_is_not_gone(outcomes, now):
    busy = Breaker().counted([well(30, START - 10 * n) for n in range(1, 6)])
    assert not busy.judged(outcomes, now).is_open(now)


def test_a_source_that_one_process_of_several_does_not_reach_is_not_gone():
    busy = Breaker().counted([well(30, START - 10 * n) for n in range(1, 6)])
    unreached = [Called(START + 1, AT_ONCE, failed=True, unreached_by="a")]
    several = Witnesses(well=frozenset({"b", "c"}))
    assert not busy.judged(unreached, START + LASTING, several).is_open(START + LASTING)
    both = [*unreached, Called(START + 1, 1, failed=True, unreached_by="b")]
    assert busy.judged(both, START + LASTING, several).is_open(START + LASTING)


def test_failures_of_an_earlier_minute_do_not_count():
    old = Breaker().judged([failed(2, NOW), well(1, NOW + 1), failed(1, NOW + 2)], NOW + 2)
    assert not old.judged([failed(2, NOW + 75)], NOW + 75).is_open(NOW + 75)


@pytest.mark.parametrize(("trips", "seconds"), [(1, 30), (2, 60), (9, 270), (10, 300), (40, 300)])
def test_each_failed_probe_opens_it_for_longer(trips, seconds):
    breaker = Breaker().judged([failed(5)], NOW)
    now = NOW
    for _ in range(trips - 1):
        now = breaker.open_until or 0
        breaker = breaker.probed(failed(1, now), now)
    assert (breaker.open_until or 0) - now == seconds


def test_only_the_probe_closes_it():
    breaker = Breaker().judged([failed(5)], NOW)
    assert breaker.judged([well(20, NOW + 1)], NOW + 1) == breaker
    assert breaker.judged([failed(20, NOW + 1)], NOW + 1) == breaker
    assert breaker.probed(well(1, NOW + 31), NOW + 32).open_until is None


def test_a_probe_of_before_decides_nothing():
    again = Breaker().judged([failed(5)], NOW).probed(failed(1, NOW + 31), NOW + 40)
    assert again.probed(well(1, NOW + 32), NOW + 80) == again
    assert again.probed(failed(1, NOW + 32), NOW + 80) == again


def test_stragglers_that_began_before_it_closed_do_not_open_it_again():
    closed = Breaker().judged([failed(5)], NOW).probed(well(1, NOW + 31), NOW + 32)
    assert closed.judged([failed(20, NOW - 1)], NOW + 33).open_until is None


@given(OUTCOMES, st.randoms())
def test_the_order_in_which_outcomes_are_written_does_not_matter(outcomes, rng):
    shuffled = list(outcomes)
    rng.shuffle(shuffled)
    assert Breaker().counted(shuffled) == Breaker().counted(outcomes)
    assert Breaker().judged(shuffled, NOW) == Breaker().judged(outcomes, NOW)


@given(OUTCOMES)
def test_it_opens_on_the_rate_of_the_calls_of_its_window_and_on_nothing_else(outcomes):
    counted = Breaker().counted(outcomes)
    assert 0 <= counted.failures <= counted.calls <= sum(one.calls for one in outcomes)
    opens = Breaker().judged(outcomes, NOW).is_open(NOW)
    most = counted.calls >= AT_LEAST and counted.failures * 2 > counted.calls
    gone = [one for one in (counted.latest(1), counted.latest(2)) if one.failures == one.calls >= AT_ONCE]
    assert opens == (most or any(NOW - one.recent[0][0] * BUCKET >= LASTING for one in gone))


@given(OUTCOMES, TIMES)
def test_what_began_before_its_last_change_never_counts(outcomes, since):
    later = [one for one in outcomes if one.began > since]
    assert Breaker(since=since).counted(outcomes) == Breaker(since=since).counted(later)
