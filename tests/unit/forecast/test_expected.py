"""When a request is expected to be complete, and why no time is known."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from beat_actors.forecast.arrival import Room
from beat_actors.requests.expected import FEW, Pace, Place, in_progress, in_turn, no_time, starts

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
RUNNING = [600] * 10


class Why(NamedTuple):
    why: str
    until: datetime | None
    source: str | None = "lama"


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_budget_that_is_used_up_is_waited_for_also_where_nothing_was_leased_of_late() -> None:
    midnight = (NOW + timedelta(hours=12)).timestamp()
    rooms = [[Room(0, [(midnight + day * 86_400, 5_000) for day in range(5)])]]
    for minutes, leases in (([], None), ([3, 1], 0.02)):
        found = in_turn(
            Place(7_000, 0, exact=True), Pace(NOW, leases, None, 2.0), minutes, None, 2.0, 1, own=False, sources=rooms
        )
        assert found.at is not None
        assert found.earliest is not None
        assert timedelta(hours=36) <= found.at - NOW < timedelta(hours=37.5)
        assert found.earliest <= found.at
        assert "the budgets of calls delay it" in found.basis
        assert "where there is room, 10.0 leases a second are assumed" in found.basis


def test_without_a_pace_few_have_a_wide_interval_and_many_have_none() -> None:
    nothing = Pace(NOW, None, None, None)
    few = in_turn(Place(FEW, 0, exact=True), nothing, [], None, 2.0, 1, own=False)
    assert few.at is not None
    assert few.earliest is not None
    assert few.latest is not None
    assert (few.latest - NOW) / (few.earliest - NOW) > 5
    many = in_turn(Place(FEW + 1, 0, exact=True), nothing, [], None, 2.0, 1, own=False)
    assert (many.at, many.earliest, many.latest) == (None, None, None)
    assert (
        many.unknown
        == "101 fetches are ahead of it, and nothing was leased within the last minutes from which a pace follows"
    )


def test_an_account_waits_at_its_own_pace_whatever_the_platform_does() -> None:
    place, own = Place(120, 0, exact=True), 2.0
    told = [
        in_turn(place, Pace(NOW, leases, own, 0.0), minutes, None, 0.0, 1, own=True)
        for leases, minutes in ((2.0, [120]), (500.0, [30_000] * 10))
    ]
    assert told[0] == told[1]
    assert told[0].at == later(60)


def test_a_tenant_takes_turns_at_the_rate_that_it_got() -> None:
    found = in_turn(Place(100, 50, exact=True), Pace(NOW, 10.0, 2.0, 0.0), RUNNING, later(30), 0.0, 5, own=False)
    assert found.at == later(30 + 5 + 50)
    assert found.basis.startswith("150 fetches are ahead of it; it can run after what it waits for;")


@pytest.mark.parametrize(
    ("blockers", "next_at", "said"),
    [
        ([], None, None),
        ([Why("cooling down", later(9))], later(9), None),
        ([Why("outage: its breaker is open", later(9)), Why("cooling down", later(99), "tikwm")], later(9), None),
        ([Why("dead", None)], None, "lama: dead; nobody knows when that ends"),
        ([Why("the flow look is paused", None, None)], None, "the flow look is paused; nobody knows when that ends"),
        (
            [Why("dead", None), Why("paused by an operator: no calls are sent", later(60))],
            later(60),
            "lama: paused by an operator: no calls are sent; it is tried again at 2026-01-05T12:01:00Z, and whether it works then is not known",
        ),
    ],
)
def test_no_time_is_told_of_what_nobody_knows_the_end_of(
    blockers: list[Why], next_at: datetime | None, said: str | None
) -> None:
    assert no_time(blockers, next_at) == said


def test_an_outage_is_no_time_at_which_it_goes_on() -> None:
    blockers = [Why("outage: its breaker is open", later(9)), Why("cooling down", later(99), "tikwm")]
    assert starts(blockers, later(9)) == later(99)
    assert starts([], later(9)) == later(9)
    assert starts([], None) is None


def test_calls_in_progress_end_within_what_the_flow_took() -> None:
    found = in_progress(later(4), NOW, 5.0)
    assert (found.earliest, found.at, found.latest) == (NOW, later(4), later(10))
