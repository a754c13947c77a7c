"""Alerts at a half and at four fifths of the day: exact, once each in a window."""

import pytest
import redis

from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.errors import LimitsUnavailable
from beat_actors.settings import LimitChange, Settings
from beat_actors.watch import usage as usage_rules
from beat_actors.watch.rule import Watch
from tests.worlds import MovableClock

NAME = "refresh_profile_insta_daily"
RULE = Watch("limit", usage_rules.limits)


async def told(database: Database) -> list[str]:
    async with database.statements() as alone:
        rows = await alone.rows(
            "SELECT type, data->>'severity' AS severity FROM event WHERE type LIKE 'beat.alert%%' ORDER BY id",
            (),
        )
    return [f"{row.type.rpartition('.')[2]} {row.severity}" for row in rows]


async def test_s9_10_alerts_at_10000_and_16000_once_each_in_a_window(
    database: Database, settings: Settings, valkey: redis.Redis, database_url: str
) -> None:
    clock = MovableClock(database_url)
    said: list[str] = []
    for used, news in (
        (9_999, []),
        (10_000, ["opened info"]),
        (15_999, []),
        (16_000, ["escalated warning"]),
        (20_000, ["escalated critical"]),
        (9_000, ["resolved critical"]),
        (10_000, []),  # the same window still
        (16_000, []),
    ):
        valkey.set(f"{settings.limit_prefix}{NAME}", used)
        await RULE.run(database)
        said += news
        assert sorted(await told(database)) == sorted(said), used
    clock.advance(86_401)
    await RULE.run(database)
    assert (await told(database))[-1] == "opened warning"
    clock.close()


async def test_an_alert_says_when_nothing_will_be_left_and_what_to_do(
    database: Database, settings: Settings, valkey: redis.Redis
) -> None:
    valkey.set(f"{settings.limit_prefix}{NAME}", 16_000)
    await RULE.run(database)
    async with database.statements() as alone:
        (alert,) = await list_alerts(alone)
    assert (alert.key, alert.severity) == (f"limit:{NAME}", "warning")
    assert "16,000 of 20,000 on-demand requests of instagram are used" in alert.cause
    assert "it is exhausted at" in alert.cause  # sixteen thousand within ten minutes
    assert f"beat limits reset {NAME}" in alert.action


async def test_s9_10_a_calendar_day_has_alerts_of_its_own(settings: Settings, valkey: redis.Redis) -> None:
    changed = settings.model_copy(update={"limits": {NAME: LimitChange(calls=10, window="calendar")}})
    database = Database(changed, name="test")
    valkey.set(f"{settings.limit_prefix}{NAME}", 5)
    await RULE.run(database)
    async with database.statements() as alone:
        (alert,) = await list_alerts(alone)
        midnight = await alone.value(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day', 'YYYY-MM-DD')"
        )
    assert alert.key == f"limit:{NAME}:{midnight}"
    await database.close()


async def test_alerts_stand_while_redis_is_away(database: Database, settings: Settings, valkey: redis.Redis) -> None:
    valkey.set(f"{settings.limit_prefix}{NAME}", 16_000)
    await RULE.run(database)
    away = Database(settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"}), name="test")
    with pytest.raises(LimitsUnavailable):
        await RULE.run(away)
    await away.close()
    assert await told(database) == ["opened warning"]
