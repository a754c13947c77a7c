"""When a limit will be exhausted: from what its window holds, and how fast it came in of late."""

import math

import pytest

from beat_actors.platforms.interface import RequestLimit
from beat_actors.quotas.forecast import BUCKETS, Usage

DAY = 86_400
NOON = 20_000 * DAY + DAY / 2
SLIDING = RequestLimit("day", 20_000, DAY)
CALENDAR = RequestLimit("day", 20_000, DAY, calendar=True)


def usage(limit: RequestLimit, now: float, made: dict[float, int]) -> Usage:
    """`made`: moment -> calls."""
    calls: dict[int, int] = {}
    for at, number in made.items():
        bucket = math.floor(at / (limit.seconds / BUCKETS))
        calls[bucket] = calls.get(bucket, 0) + number
    return Usage(limit, now, sum(made.values()), calls)


def steadily(per_minute: int, since: float, now: float) -> dict[float, int]:
    return {since + 60 * n: per_minute for n in range(math.ceil((now - since) / 60))}


@pytest.mark.parametrize("limit", [SLIDING, CALENDAR])
def test_s9_6_at_sixty_a_minute_the_day_is_gone_after_five_hours_and_33_minutes(limit: RequestLimit) -> None:
    start = 20_000 * DAY
    for minutes in (30, 120, 300):
        now = start + 60.0 * minutes
        found = usage(limit, now, steadily(60, start, now))
        at = found.exhausted_at()
        assert at is not None
        # A rate that is taken over ten minutes of buckets is a few per cent off.
        assert abs(at - start - 20_000) < 0.1 * (20_000 - 60 * minutes) + 60


def test_a_rush_is_seen_within_minutes() -> None:
    quiet = steadily(1, NOON - 4 * 3600, NOON - 600)
    rushing = usage(SLIDING, NOON, quiet | steadily(60, NOON - 600, NOON))
    assert usage(SLIDING, NOON, quiet).exhausted_at() is None
    assert rushing.exhausted_at() is not None


def test_a_window_that_empties_as_fast_as_it_fills_is_never_exhausted() -> None:
    even = usage(SLIDING, NOON, steadily(13, NOON - DAY, NOON))
    assert even.used > 18_000
    assert even.exhausted_at() is None
    assert abs(even.rate() * 60 - 13) < 1.5


def test_what_leaves_the_window_in_time_makes_room() -> None:
    """Nearly full, but half of it leaves within the hour, which is sooner than what comes in would fill the rest."""
    old = {NOON - DAY + 1800: 10_000, NOON - 3600: 9_500}
    assert usage(SLIDING, NOON, old | steadily(5, NOON - 600, NOON)).exhausted_at() is None
    at = usage(SLIDING, NOON, old | steadily(40, NOON - 600, NOON)).exhausted_at()
    assert at is not None
    assert at < NOON + 1800


def test_a_calendar_day_that_ends_first_is_not_exhausted() -> None:
    start = 20_000 * DAY
    now = start + DAY - 3600.0
    assert usage(CALENDAR, now, {start + 60.0: 10_000} | steadily(60, now - 600, now)).exhausted_at() is None
    at = usage(CALENDAR, now, {start + 60.0: 18_000} | steadily(60, now - 600, now)).exhausted_at()
    assert at is not None
    assert now < at < now + 3600
    early = usage(CALENDAR, start + 30.0, {start + 1.0: 30})
    assert early.rate() <= 1
    assert early.renews_at == start + DAY


def test_an_empty_and_a_full_window() -> None:
    empty = usage(SLIDING, NOON, {})
    assert (empty.rate(), empty.exhausted_at(), empty.renews_at) == (0, None, None)
    full = usage(SLIDING, NOON, {NOON - 3600: 20_000})
    assert full.exhausted_at() == NOON
    assert full.renews_at is not None
    assert 0 <= full.renews_at - (NOON - 3600 + DAY) <= SLIDING.seconds / BUCKETS
