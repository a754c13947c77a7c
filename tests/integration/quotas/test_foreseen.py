"""When limits will be used up: what is kept of their use, what is forecast of it, and what came of it."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.forecast.demand import SLOT, SLOTS
from beat_actors.platforms.interface import RequestLimit
from beat_actors.quotas import foreseen
from beat_actors.quotas.budgets import BudgetView
from beat_actors.quotas.forecast import Usage
from beat_actors.quotas.foreseen import accuracy, keep

DAY = 86_400
DAILY = RequestLimit("daily", 1_000, DAY, calendar=True)
NAMED = ("instagram", "daily")


def usage(at: float, calls: dict[int, int], limit: RequestLimit = DAILY) -> Usage:
    """`calls`: by slots since 1970."""
    width = limit.seconds / 1000
    buckets: dict[int, int] = {}
    for slot, count in calls.items():
        bucket = int(-(-slot * SLOT // width))
        buckets[bucket] = buckets.get(bucket, 0) + count
    return Usage(limit, at, sum(calls.values()), buckets)


async def days(database: Database, until: float, count: int, per_slot: int = 10) -> None:
    """So many days of even use before this midnight, as the scheduler has looked at them."""
    for day in range(count, 0, -1):
        first = int(until // SLOT) - day * SLOTS
        for slot in (SLOTS // 2, SLOTS):
            seen = {first + n: per_slot for n in range(slot)}
            await keep(database, {NAMED: usage((first + slot) * SLOT, seen)})


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)


@pytest.fixture
def midnight() -> float:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


async def test_s9_10_a_limit_that_will_be_used_up_is_forecast(
    database: Database, rows: psycopg.Connection, midnight: float
) -> None:
    await days(database, midnight, 5)
    first = int(midnight // SLOT)
    now = (first + 48) * SLOT
    calls = {first + n: 10 for n in range(48)}
    assert await keep(database, {NAMED: usage(now, calls)}) == 1
    (made, until, probability, at, warned) = rows.execute(
        "SELECT made_at, until, probability, at, warned FROM limit_forecast ORDER BY made_at DESC LIMIT 1"
    ).fetchone()  # type: ignore[misc]
    assert made == datetime.fromtimestamp(now, UTC)
    assert until == datetime.fromtimestamp(midnight + DAY, UTC)
    assert probability > 0.8
    assert abs(at.timestamp() - (first + 100) * SLOT) <= SLOT
    assert warned
    assert await keep(database, {NAMED: usage(now + 5, calls)}) == 1
    assert rows.execute("SELECT count(*) FROM limit_forecast WHERE made_at = %s", (made,)).fetchone() == (1,)


async def test_a_slot_is_kept_once_and_a_reset_takes_nothing_of_it(
    database: Database, rows: psycopg.Connection, midnight: float
) -> None:
    first = int(midnight // SLOT)
    calls = {first + n: 7 for n in range(6)}
    await keep(database, {NAMED: usage((first + 6) * SLOT, calls)})
    await keep(database, {NAMED: usage((first + 6) * SLOT + 300, {})})
    await keep(database, {NAMED: usage((first + 7) * SLOT, {first + 6: 3})})
    found = rows.execute("SELECT slot, calls FROM limit_usage ORDER BY slot").fetchall()
    assert found == [*((first + n, 7) for n in range(6)), (first + 6, 3)]


async def test_what_came_of_forecasts_is_on_record(
    database: Database, rows: psycopg.Connection, midnight: float
) -> None:
    """A day that was warned of and used up, one that was warned of and lasted, and one that lasted without a word."""
    now = datetime.now(UTC)
    forecasts = [
        # made_at, until, probability, at, earliest, latest, warned, used_up_at
        (now - timedelta(hours=70), now - timedelta(hours=60), 0.9, timedelta(hours=4), timedelta(hours=3), timedelta(hours=6), True, timedelta(hours=5)),
        (now - timedelta(hours=46), now - timedelta(hours=36), 0.9, timedelta(hours=4), timedelta(hours=3), timedelta(hours=6), True, None),
        (now - timedelta(hours=20), now - timedelta(hours=10), 0.1, None, None, None, False, None),
    ]  # fmt: skip
    for made, until, probability, *times, warned, used_up in forecasts:
        moments = [None if time is None else made + time for time in times]
        rows.execute(
            "INSERT INTO limit_forecast (name, made_at, until, probability, at, earliest, latest, warned, used_up_at)"
            " VALUES ('daily', %s, %s, %s, %s, %s, %s, %s, %s)",
            (made, until, probability, *moments, warned, None if used_up is None else made + used_up),
        )
    (found,) = await accuracy(database)
    assert (found.forecasts, found.used_up, found.warned_in_time, found.lasted, found.false_alarms) == (3, 1, 1, 2, 1)
    assert (found.timed, found.held) == (1, 1.0)
    assert found.median_error == pytest.approx(0.2)


async def test_a_limit_that_is_used_up_ends_its_forecasts(
    database: Database, rows: psycopg.Connection, midnight: float
) -> None:
    now = datetime.now(UTC)
    rows.execute(
        "INSERT INTO limit_forecast (name, made_at, until, probability, warned) VALUES ('daily', %s, %s, 0.9, true), ('daily', %s, %s, 0.9, true)",
        (now - timedelta(hours=2), now + timedelta(hours=2), now - timedelta(hours=5), now - timedelta(hours=3)),
    )
    first = int(midnight // SLOT)
    await keep(database, {NAMED: usage(now.timestamp(), {first: 1_000})})
    found = rows.execute("SELECT used_up_at IS NOT NULL FROM limit_forecast ORDER BY made_at").fetchall()
    assert found == [(False,), (True,)]


async def test_a_limit_that_will_probably_be_used_up_is_an_alert(midnight: float) -> None:
    at = datetime.fromtimestamp(midnight, UTC)
    view = BudgetView(
        name="daily", platform="instagram", calls=1_000, used=480, until=at + timedelta(days=1), days=28, warn=True, probability=0.93,
        used_up_at=at + timedelta(hours=16), earliest=at + timedelta(hours=15), latest=at + timedelta(hours=18),
    )  # fmt: skip
    alert = foreseen._alert(view)
    assert "480 of 1,000" in alert.cause
    assert "93%" in alert.cause
    assert "beat forecast" in alert.action
