"""The data breaker: a source whose data are bad leaves the chain, is sampled, and comes back by evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.trust.breaker import AT_LEAST, GOOD, ONE_IN, SHARE, TRIED, USUAL, DataBreaker

NOW = 1_790_000_000.0
OPEN = DataBreaker().broke(NOW, "18 of 20 samples were refuted")


def test_a_source_whose_records_are_bad_more_often_than_usual_leaves_the_chain() -> None:
    breaker = DataBreaker().counted(90, 0, NOW)
    assert not breaker.counted(9, 9, NOW).is_open
    opened = breaker.counted(10, 10, NOW)
    assert (opened.is_open, opened.open_since) == (True, NOW)
    assert opened.why == "10 % of the last 100 records were bad; 0.2 % is usual"


def test_a_normal_day_never_opens_it() -> None:
    breaker = DataBreaker()
    for _ in range(1000):
        breaker = breaker.counted(100, 1, NOW)
    assert not breaker.is_open
    assert breaker.usual == pytest.approx(0.01, abs=0.005)


def test_what_is_usual_for_a_source_is_learnt() -> None:
    poor = DataBreaker()
    for _ in range(2000):
        poor = poor.counted(100, 4, NOW)
    assert not poor.counted(100, 10, NOW).is_open
    assert DataBreaker().counted(100, 10, NOW).is_open


def test_an_open_one_lets_one_call_in_fifty_go() -> None:
    assert [call for call in range(200) if OPEN.asks(call)] == [0, 50, 100, 150]
    assert all(DataBreaker().asks(call) for call in range(200))


def test_it_closes_when_19_of_the_last_20_sampled_records_are_good() -> None:
    breaker = OPEN
    for _ in range(30):
        breaker = breaker.sampled(good=False)
    for _ in range(GOOD):
        assert breaker.is_open
        breaker = breaker.sampled(good=True)
    assert not breaker.is_open
    fresh = OPEN
    for _ in range(TRIED - 1):
        fresh = fresh.sampled(good=True)
    assert fresh.is_open
    assert not fresh.sampled(good=False).is_open


def test_one_good_record_in_ten_closes_nothing() -> None:
    breaker = OPEN
    for n in range(500):
        breaker = breaker.sampled(good=n % 10 == 0)
    assert breaker.is_open


def test_while_it_is_open_nothing_is_counted_and_it_opens_once() -> None:
    assert OPEN.counted(1000, 1000, NOW + 5) is OPEN
    assert OPEN.broke(NOW + 5, "again") is OPEN
    assert DataBreaker().sampled(good=True) == DataBreaker()


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1)), max_size=40))
def test_it_opens_only_where_enough_are_bad(batches: list[tuple[int, float]]) -> None:
    breaker, bad = DataBreaker(), 0
    for seen, share in batches:
        odd = int(seen * share)
        bad += odd
        breaker = breaker.counted(seen, odd, NOW)
        assert breaker.usual >= USUAL
        if breaker.is_open:
            assert bad >= AT_LEAST
            return
        assert breaker.recent.odd < AT_LEAST or breaker.recent.odd <= max(SHARE, 1.0) * breaker.recent.seen


def test_the_samples_are_few() -> None:
    assert sum(OPEN.asks(call) for call in range(1000)) == 1000 // ONE_IN
