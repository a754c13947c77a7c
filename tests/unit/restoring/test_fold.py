"""The fold of a log: of each field the newest value that is told, and since when it is so."""

from datetime import UTC, datetime, timedelta

from beat_actors.restoring.fold import Observation, fold, newest_first

START = datetime(2030, 1, 1, tzinfo=UTC)


def observed(day: int, metrics: str, dimensions: str = "{}", *, bad: bool = False) -> Observation:
    return Observation(START + timedelta(days=day), day, "lama", 1, day, metrics, dimensions, bad=bad)


def test_a_field_has_the_newest_value_and_the_time_since_when_it_is_so() -> None:
    told = [observed(1, '{"n":5}'), observed(2, '{"n":5}'), observed(3, "{}", '{"words":"x"}'), observed(4, '{"n":5}')]
    found = fold(newest_first(told))
    n = found.fields["n"]
    assert (n.value, n.at, n.since) == (b"5", START + timedelta(days=4), START + timedelta(days=1))
    assert n.of is told[3]
    assert found.fields["words"].of is told[2]


def test_a_value_that_came_back_is_so_since_it_came_back() -> None:
    told = [observed(1, '{"n":5}'), observed(2, '{"n":6}'), observed(3, '{"n":5}'), observed(4, '{"n":5}')]
    assert fold(newest_first(told)).fields["n"].since == START + timedelta(days=3)


def test_bad_observations_are_left_out_and_named() -> None:
    told = [observed(1, '{"n":5}'), observed(2, '{"n":5000}', '{"words":"bug"}', bad=True), observed(3, '{"n":5}')]
    found = fold(newest_first(told))
    assert found.fields["n"].since == START + timedelta(days=1)
    assert found.affected == {"n", "words"}
    assert found.first_bad == START + timedelta(days=2)
    assert found.bad_requests == {2}
