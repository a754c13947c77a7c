"""Which limits stand above a platform: declared, changed by settings, paced."""

import dataclasses

import pytest

from beat_actors.errors import BadSettings
from beat_actors.platforms.interface import RequestLimit
from beat_actors.platforms.registry import platform
from beat_actors.quotas.stack import UNBOUNDED, most, stacks
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings, load
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.worlds import registered


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch):
    def with_limits(text: str) -> Settings:
        monkeypatch.setenv("BEAT_DATABASE_URL", "postgresql://beat@localhost/beat")
        monkeypatch.setenv("BEAT_REDIS_URL", "redis://localhost")
        monkeypatch.setenv("BEAT_VAULT_KEYS", VAULT_KEYS)
        monkeypatch.setenv("BEAT_MESSAGE_KEYS", MESSAGE_KEYS)
        monkeypatch.setenv("BEAT_LIMITS", text)
        return load()

    return with_limits


def test_instagrams_stack_is_what_operators_know(configured) -> None:
    found = {
        limit.name: (limit.calls, limit.seconds, limit.per_subject)
        for limit in stacks(configured("{}"))["instagram"].limits
    }
    assert found == {
        "refresh_profile_insta_daily": (20_000, 86_400, False),
        "refresh_profile_insta_daily_pace": (750, 3600, False),
        "refresh_profile_insta_minute": (60, 60, False),
        "refresh_profile_insta_handle": (1, 1, True),
    }


def test_settings_change_a_limit_and_its_pace_follows(configured) -> None:
    settings = configured('{"refresh_profile_insta_daily": {"calls": 48000, "window": "calendar", "reserve": 0.5}}')
    daily, pace, *_ = stacks(settings)["instagram"].limits
    assert (daily.calls, daily.calendar, daily.reserve, pace.calls) == (48_000, True, 0.5, 1000)
    assert most(daily, Priority.BATCH) == 24_000
    assert most(pace, Priority.CUSTOMER) == UNBOUNDED
    assert most(pace, Priority.STANDARD) == most(pace, Priority.BATCH) == 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"nonsense": {"calls": 1}}', "there is no limit 'nonsense'; there is: refresh_profile_insta_daily"),
        ('{"refresh_profile_insta_daily": {"calls": 0}}', "BEAT_LIMITS: "),
        ('{"refresh_profile_insta_daily": {"window": "fixed"}}', "BEAT_LIMITS: "),
        ('{"refresh_profile_insta_daily": {"call": 5}}', "BEAT_LIMITS: "),
    ],
)
def test_a_wrong_change_is_refused_by_name(configured, text: str, said: str) -> None:
    with pytest.raises(BadSettings) as refused:
        stacks(configured(text))
    assert said in str(refused.value)


def test_two_limits_of_a_name_would_count_in_one_key(configured) -> None:
    copy = dataclasses.replace(platform("instagram"), name="copy")
    with registered(copy), pytest.raises(ValueError, match="is declared twice"):
        stacks(configured("{}"))


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "a:b", "calls": 1, "seconds": 1},
        {"name": "a", "calls": 0, "seconds": 1},
        {"name": "a", "calls": 1, "seconds": 0},
        {"name": "a", "calls": 1, "seconds": 60, "reserve": 1.0},
        {"name": "a", "calls": 1, "seconds": 60, "pace": 60},
    ],
)
def test_a_limit_that_cannot_be_kept_is_not_declared(declared: dict) -> None:
    with pytest.raises(ValueError, match="limit"):
        RequestLimit(**declared)


def test_batch_work_leaves_a_part_of_each_shared_window_to_the_others(configured) -> None:
    stack = stacks(configured("{}"))["instagram"]
    shared = [limit for limit in stack.limits if not limit.per_subject and not limit.spares_customers]
    assert [limit.seconds for limit in shared] == [86_400, 60]
    for limit in shared:
        assert most(limit, Priority.BATCH) == limit.calls * 0.9
        assert most(limit, Priority.CUSTOMER) == limit.calls
