"""When a limit is used up, from what was used on earlier days."""

from hypothesis import given
from hypothesis import strategies as st

from beat_actors.forecast.demand import SLOT, SLOTS, Demand
from beat_actors.forecast.outlook import ENOUGH_DAYS, Outlook, outlook

NOW = 1_000 * SLOTS * SLOT
EVEN = [10] * SLOTS


def of(
    calls: list[int], *, limit: int, used: int | None = None, weekday: int = 0, leaving: tuple[float, ...] = ()
) -> Outlook:
    """At the slot at which these calls end."""
    slot = len(calls) % SLOTS
    today = sum(calls[len(calls) - slot :])
    demand = Demand(calls, slot=slot, weekday=weekday, ahead=SLOTS - slot)
    now = NOW + slot * SLOT
    return outlook(
        demand, now=now, used=today if used is None else used, limit=limit, leaving=leaving, recent=calls[-3:]
    )


def test_days_that_are_alike_give_the_time_to_the_slot() -> None:
    found = of(EVEN * 10 + [10] * 30, limit=600)
    assert found.at is not None
    assert found.probability is not None
    assert found.probability > 0.9
    assert abs(found.at - (NOW + 60 * SLOT)) < SLOT
    assert found.warn


def test_a_day_that_always_lasts_is_not_warned_of() -> None:
    found = of(EVEN * 10 + [10] * 30, limit=1_600)
    assert found.probability is not None
    assert found.probability < 0.1
    assert (found.at, found.earliest, found.warn) == (None, None, False)


def test_a_rush_in_the_morning_is_usual_where_every_day_has_one() -> None:
    """The rate of the last ten minutes would use up the limit at once."""
    day = [1] * 48 + [30] * 12 + [1] * 84
    found = of(day * 10 + day[:55], limit=600)
    assert not found.warn
    assert sum(day) < 600


def test_a_day_that_begins_with_twice_the_usual_is_expected_to_go_on_so() -> None:
    found = of(EVEN * 10 + [20] * 40, limit=2_000)
    assert found.probability is not None
    assert found.probability > 0.9
    assert found.at is not None
    assert abs(found.at - (NOW + 100 * SLOT)) < 10 * SLOT


def test_the_weekend_is_compared_with_weekends() -> None:
    """Four weeks of working days with many calls: today is a Sunday."""
    week = EVEN * 5 + [2] * SLOTS * 2
    calls = week * 3 + week[: 6 * SLOTS] + [2] * 20
    assert not of(calls, limit=1_000, weekday=6).warn
    working = EVEN * 5 + [10] * SLOTS * 2
    assert of(working * 3 + working[: 6 * SLOTS] + [10] * 20, limit=1_000, weekday=6).warn


def test_what_leaves_a_sliding_window_gives_room() -> None:
    calls = EVEN * 10
    leaving = tuple(10.0 * (n + 1) for n in range(SLOTS))
    found = of(calls, limit=1_500, used=1_440, leaving=leaving)
    assert found.at is None
    assert of(calls, limit=1_500, used=1_440).at is not None


def test_with_few_days_it_is_said_that_too_little_is_known() -> None:
    found = of(EVEN * (ENOUGH_DAYS - 1) + [10] * 30, limit=600)
    assert (found.probability, found.at, found.earliest, found.latest, found.warn) == (None, None, None, None, False)
    assert found.days == ENOUGH_DAYS - 1
    assert of(EVEN * ENOUGH_DAYS + [10] * 30, limit=600).probability is not None


def test_a_limit_that_is_used_up_is_used_up_now() -> None:
    found = of(EVEN * 10 + [10] * 60, limit=600)
    assert (found.probability, found.at) == (1.0, NOW + 60 * SLOT)


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=SLOTS),
    st.integers(0, 30 * SLOTS),
    st.integers(1, 200_000),
    st.integers(0, 6),
    st.booleans(),
    st.integers(0, SLOTS),
)
def test_whatever_was_used_no_time_is_past_or_out_of_order(
    pattern: list[int], length: int, limit: int, weekday: int, slides: bool, cut: int
) -> None:
    calls = (pattern * (length // len(pattern) + 1))[:length]
    slot = length % SLOTS
    calls = calls[cut:]  # it began on some day at some time
    ahead = SLOTS if slides else SLOTS - slot
    now = NOW + slot * SLOT
    leaving = tuple(float(n) for n in range(ahead)) if slides else ()
    found = outlook(
        Demand(calls, slot=slot, weekday=weekday, ahead=ahead),
        now=now,
        used=sum(calls[-10:]),
        limit=limit,
        leaving=leaving,
        recent=calls[-3:],
    )
    times = [at for at in (found.earliest, found.at, found.latest) if at is not None]
    assert times == sorted(times)
    assert all(now <= at <= now + ahead * SLOT for at in times)
    assert found.probability is None or 0 <= found.probability <= 1
    assert found.latest is None or found.at is not None
    assert found.at is None or found.earliest is not None
