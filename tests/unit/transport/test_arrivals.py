"""By when a call had arrived: soon, unless something was slower than usual, and never after its answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.transport.arrivals import ARRIVES_WITHIN, OF_LATE, Arrivals

SECONDS = st.floats(0, 30)


def seen(*took: float) -> Arrivals:
    arrivals = Arrivals()
    for each in took:
        arrivals.after("lama", 0.0, each, answered=True)
    return arrivals


def test_of_an_unknown_source_a_call_arrived_just_before_its_answer() -> None:
    assert Arrivals().after("lama", 0.1, 2.0, answered=True) == 2.0
    assert seen(0.5).after("other", 0.1, 2.0, answered=True) == 2.0


def test_an_answer_as_fast_as_others_shows_that_the_call_was_on_its_way_for_a_moment() -> None:
    assert seen(2.0, 1.5).after("lama", 0.1, 1.6, answered=True) == pytest.approx(0.1 + ARRIVES_WITHIN)


def test_p4_what_took_longer_than_usual_may_have_been_counted_as_much_later() -> None:
    """As when everything stands still for two seconds: the calls are counted when it goes on."""
    assert seen(0.12, 0.3, 0.15).after("lama", 0.0, 2.15, answered=True) == pytest.approx(2.15)
    assert seen(0.5).after("lama", 0.0, 0.8, answered=True) == pytest.approx(0.25 + 0.3)


def test_what_was_never_answered_may_be_counted_until_the_end_and_says_nothing_of_what_is_usual() -> None:
    arrivals = seen(0.1)
    assert arrivals.after("lama", 0.05, 20.0, answered=False) == 20.0
    assert arrivals.after("lama", 0.0, 0.1, answered=False) == 0.1
    assert arrivals.after("lama", 0.0, 5.0, answered=True) == 5.0


def test_what_was_usual_long_ago_is_forgotten() -> None:
    arrivals = seen(0.01, *[3.0] * OF_LATE)
    assert arrivals.after("lama", 0.0, 3.0, answered=True) == pytest.approx(ARRIVES_WITHIN)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=60), st.booleans())
def test_it_is_never_before_the_call_was_sent_nor_after_its_answer(
    calls: list[tuple[float, float]], answered: bool
) -> None:
    arrivals = Arrivals()
    for sent_after, waited in calls:
        found = arrivals.after("lama", sent_after, sent_after + waited, answered=answered)
        assert sent_after <= found <= sent_after + waited
