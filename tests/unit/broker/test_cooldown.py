"""The cooldown of a credential: the longest of what stands, what was said, and the step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.broker.cooldown import BACKOFF, CLEAN_HOUR, Cooldown, cool, cool_until_reset, step_now

NOW = 1_790_000_000.0


def test_s3_13_the_backoff_is_10_30_60_minutes():
    lengths, since, step, now = [], None, 0, NOW
    for _ in range(4):
        cooldown = cool(standing=since, said=None, step=step, since=since, now=now, chance=0)
        lengths.append(cooldown.until - now)
        since, step, now = cooldown.until, cooldown.step, cooldown.until + 1
    assert lengths == [600, 1800, 3600, 3600]


def test_s3_13_the_backoff_falls_one_step_for_each_clean_hour():
    assert step_now(3, NOW, NOW + CLEAN_HOUR - 1) == 3
    assert step_now(3, NOW, NOW + CLEAN_HOUR) == 2
    assert step_now(3, NOW, NOW + 10 * CLEAN_HOUR) == 0
    assert step_now(3, NOW + 60, NOW) == 3


@pytest.mark.parametrize(("said", "least"), [(45.0, 600), (700.0, 700), (90_000.0, 90_000)])
def test_s3_13_what_the_provider_says_wins_when_it_is_longer(said, least):
    assert cool(standing=None, said=said, step=0, since=None, now=NOW, chance=0).until - NOW == least


def test_a_first_short_pause_is_taken_at_its_word_and_a_second_climbs():
    first = cool(standing=None, said=2, step=0, since=None, now=NOW, chance=0)
    assert first == Cooldown(NOW + 2, 0)
    second = cool(standing=first.until, said=2, step=0, since=first.until, now=first.until + 5, chance=0)
    assert second.until - (first.until + 5) == BACKOFF[0]
    assert second.step == 1


@given(
    standing=st.none() | st.floats(NOW - 1e5, NOW + 1e5),
    said=st.none() | st.floats(0, 1e5),
    step=st.integers(0, 3),
    since=st.none() | st.floats(NOW - 1e5, NOW + 1e4),
    chance=st.floats(0, 1),
)
def test_s3_13_a_cooldown_is_never_shortened_nor_shorter_than_was_said(standing, said, step, since, chance):
    cooldown = cool(standing=standing, said=said, step=step, since=since, now=NOW, chance=chance)
    assert cooldown.until >= (standing or 0)
    assert cooldown.until >= NOW + (said or 0)
    assert 0 <= cooldown.step <= len(BACKOFF)


def test_a_spent_quota_waits_for_the_reset_and_is_no_offence():
    cooldown = cool_until_reset(standing=None, reset=7200, step=1, now=NOW, chance=0)
    assert cooldown == Cooldown(NOW + 7200, 1)
    assert cool_until_reset(standing=NOW + 9000, reset=10, step=1, now=NOW, chance=0).until == NOW + 9000
