"""The rest of a credential: the longest of what stands, what was said, and the ladder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.broker.cooldown import CLEAN_HOUR, LADDER, Cooldown, cool, cool_until_reset, step_now

NOW = 1_790_000_000.0


def test_s3_13_the_ladder_is_10_30_60_minutes():
    rests, since, step, now = [], None, 0, NOW
    for _ in range(4):
        rest = cool(standing=since, said=None, ladder=step, since=since, now=now, chance=0)
        rests.append(rest.until - now)
        since, step, now = rest.until, rest.ladder, rest.until + 1
    assert rests == [600, 1800, 3600, 3600]


def test_s3_13_the_ladder_falls_one_step_for_each_clean_hour():
    assert step_now(3, NOW, NOW + CLEAN_HOUR - 1) == 3
    assert step_now(3, NOW, NOW + CLEAN_HOUR) == 2
    assert step_now(3, NOW, NOW + 10 * CLEAN_HOUR) == 0
    assert step_now(3, NOW + 60, NOW) == 3


@pytest.mark.parametrize(("said", "least"), [(45.0, 600), (700.0, 700), (90_000.0, 90_000)])
def test_s3_13_what_the_provider_says_wins_when_it_is_longer(said, least):
    assert cool(standing=None, said=said, ladder=0, since=None, now=NOW, chance=0).until - NOW == least


def test_a_first_short_pause_is_taken_at_its_word_and_a_second_climbs():
    first = cool(standing=None, said=2, ladder=0, since=None, now=NOW, chance=0)
    assert first == Cooldown(NOW + 2, 0)
    second = cool(standing=first.until, said=2, ladder=0, since=first.until, now=first.until + 5, chance=0)
    assert second.until - (first.until + 5) == LADDER[0]
    assert second.ladder == 1


@given(
    standing=st.none() | st.floats(NOW - 1e5, NOW + 1e5),
    said=st.none() | st.floats(0, 1e5),
    ladder=st.integers(0, 3),
    since=st.none() | st.floats(NOW - 1e5, NOW + 1e4),
    chance=st.floats(0, 1),
)
def test_s3_13_a_rest_is_never_shortened_nor_shorter_than_was_said(standing, said, ladder, since, chance):
    rest = cool(standing=standing, said=said, ladder=ladder, since=since, now=NOW, chance=chance)
    assert rest.until >= (standing or 0)
    assert rest.until >= NOW + (said or 0)
    assert 0 <= rest.ladder <= len(LADDER)


def test_a_spent_quota_waits_for_the_reset_and_is_no_offence():
    rest = cool_until_reset(standing=None, reset=7200, ladder=1, now=NOW, chance=0)
    assert rest == Cooldown(NOW + 7200, 1)
    assert cool_until_reset(standing=NOW + 9000, reset=10, ladder=1, now=NOW, chance=0).until == NOW + 9000
