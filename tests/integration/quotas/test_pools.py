"""The budgets of calls to providers: a row for each limit of a source, however many credentials it has."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.forecast.arrival import walk
from beat_actors.forecast.demand import SLOT, SLOTS
from beat_actors.quotas import foreseen, pool_alerts, pools
from beat_actors.quotas.budgets import PoolView

CREDENTIALS = """
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret)
SELECT 'tiktok', 'tikwm', 'c' || n, decode(md5(n::text), 'hex'), 'k', '' FROM generate_series(1, %s) n
"""
USED = """
INSERT INTO credential_usage (subject, limit_name, head, counts) SELECT 'credential:' || id, 'day', %s, %s FROM credential
"""
WIDTH = (86_400 + 2) / 20
"""Seconds of a bucket of a window of a day."""


@pytest.fixture
def rows(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def pool(database: Database) -> PoolView:
    (found,) = [one for one in await pools.foresee(database) if one.name == "tikwm:day"]
    return found


def days(rows: psycopg.Connection[Any], calls: int, count: int = 7) -> None:
    """So many days and the present one, with so many calls each ten minutes."""
    now = int(time.time() // SLOT)
    rows.execute(
        "INSERT INTO limit_usage (name, slot, calls) SELECT 'tikwm:day', slot, %s FROM generate_series(%s::bigint, %s::bigint) slot",
        (calls, now - count * SLOTS - now % SLOTS, now - 1),
    )


async def test_many_credentials_are_one_row_with_the_worst_of_them(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    rows.execute(CREDENTIALS, (10_000,))
    head = int(time.time() // WIDTH)
    rows.execute(USED, (head, [100] + [0] * 9 + [50] + [0] * 10))
    rows.execute(
        "UPDATE credential_usage SET counts[1] = 4900 WHERE subject = (SELECT 'credential:' || max(id) FROM credential)"
    )
    rows.execute(
        "UPDATE credential SET disabled_till = now() + interval '30 minutes' WHERE id IN (SELECT id FROM credential ORDER BY id LIMIT 10)"
    )
    rows.execute("UPDATE credential SET dead_at = now() WHERE id IN (SELECT id FROM credential ORDER BY id LIMIT 5)")
    rows.execute("ANALYZE credential; ANALYZE credential_usage")
    found = await pool(database)
    assert (found.credentials, found.cooling) == (9_995, 5)
    assert found.calls == 9_995 * 5_000
    assert found.left == 9_989 * 4_850 + 50
    assert [one.used for one in found.worst] == [4_950, 150, 150]
    assert found.worst[0].credential_id == rows.execute("SELECT max(id) FROM credential").fetchone()[0]  # type: ignore[index]
    assert found.unknown == "too little history: 0 of 3 days are known"
    assert (found.probability, found.used_up_at, found.warn) == (None, None, False)


async def test_a_pool_that_is_used_up_before_it_frees_is_told_with_an_interval(
    database: Database, rows: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.execute(CREDENTIALS, (2,))
    days(rows, 60)
    # 9,200 of 10,000 are used, of which nothing leaves the window within hours: at 60 in ten minutes the rest lasts 133 minutes.
    rows.execute(USED, (int(time.time() // WIDTH), [4_600] + [0] * 20))
    found = await pool(database)
    assert found.unknown is None
    assert found.probability is not None
    assert found.probability > 0.9
    assert found.warn
    assert found.used_up_at is not None
    assert abs(found.used_up_at - datetime.now(UTC) - timedelta(minutes=133)) < timedelta(minutes=15)
    assert await pool_alerts.alerts(database) == [], "nobody has looked at the pools"
    await pools.keep(database)
    monkeypatch.setattr(pools, "look", None)  # alerts read what was noted, and no credential
    (alert,) = [one for one in await pool_alerts.alerts(database) if one.key == "forecast:tikwm:day"]
    assert alert.source == "tikwm"
    assert "800 of 10,000 calls are left" in alert.cause
    rows.execute("UPDATE budget SET made_at = now() - interval '1 hour'")
    assert await pool_alerts.alerts(database) == [], "what was noted so long ago says nothing"
    monkeypatch.undo()
    # What leaves the window in time is room again.
    rows.execute("UPDATE credential_usage SET counts = %s", ([0] * 20 + [4_600],))
    assert not (await pool(database)).warn


async def test_what_is_forecast_of_a_pool_is_written_down_with_what_came_of_it(
    database: Database, rows: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreseen, "EVERY", 1)
    rows.execute(CREDENTIALS, (2,))
    days(rows, 60)
    rows.execute(USED, (int(time.time() // WIDTH), [4_600] + [0] * 20))
    assert await foreseen.note_pools(database, await pools.keep(database)) == 1
    rows.execute("UPDATE credential_usage SET counts[1] = 5000")
    assert await foreseen.note_pools(database, await pools.keep(database)) == 0
    (told,) = await foreseen.accuracy(database)
    assert (told.name, told.forecasts, told.used_up) == ("tikwm:day", 1, 1)


async def test_a_forecast_of_a_pool_is_made_once_for_each_time(
    database: Database, rows: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreseen, "EVERY", 1)
    rows.execute(CREDENTIALS, (2,))
    days(rows, 60)
    rows.execute(USED, (int(time.time() // WIDTH), [4_600] + [0] * 20))
    made = [await foreseen.note_pools(database, await pools.keep(database)) for _ in range(3)]
    assert made[0] == 1
    # Ten minutes may end between two of them.
    assert rows.execute("SELECT count(*) FROM limit_forecast").fetchone() == (sum(made),)


async def test_credentials_of_owners_are_no_common_budget(database: Database, rows: psycopg.Connection[Any]) -> None:
    rows.execute(CREDENTIALS, (2,))
    days(rows, 100)
    rows.execute("UPDATE credential SET owner = 'o', shared = false WHERE id = (SELECT min(id) FROM credential)")
    rows.execute(USED, (int(time.time() // WIDTH), [4_600] + [0] * 20))
    found = await pool(database)
    assert (found.probability, found.warn) == (None, False)
    assert found.unknown is not None
    assert found.unknown.startswith("1 of its 2 credentials serve their owner alone")


async def test_calls_are_kept_by_ten_minutes_and_a_quiet_scheduler_spreads_them(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    rows.execute(CREDENTIALS, (1,))
    total = "INSERT INTO call_total VALUES ('tiktok', 'tikwm', 'profile', %s, %s) ON CONFLICT (platform, source, operation, outcome) DO UPDATE SET calls = excluded.calls"
    rows.execute(total, ("ok", 1_000))
    rows.execute(total, ("unused", 77))
    await foreseen.note_pools(database, await pools.keep(database))
    kept = "SELECT sum(calls)::integer, count(*)::integer FROM limit_usage WHERE name = 'tikwm:day'"
    assert rows.execute(kept).fetchone() == (None, 0)  # since when the first thousand were made is not known
    rows.execute(total, ("ok", 1_060))
    await pools.keep(database)
    assert rows.execute(kept).fetchone()[0] == 60  # type: ignore[index]
    rows.execute("DELETE FROM limit_usage")
    rows.execute("UPDATE budget SET slot = slot - 5")
    rows.execute(total, ("ok", 1_660))
    await pools.keep(database)
    found = rows.execute("SELECT calls FROM limit_usage WHERE name = 'tikwm:day'").fetchall()
    assert found == [(100,)] * 6


async def test_what_a_provider_reports_of_a_month_is_a_budget_too(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    rows.execute(CREDENTIALS, (2,))
    rows.execute("UPDATE credential SET reported_remaining = 40000, reported_reset_at = now() + interval '20 days'")
    now = int(time.time() // SLOT)
    rows.execute(
        "INSERT INTO limit_usage (name, slot, calls) SELECT 'tikwm:reported', slot, 50 FROM generate_series(%s::bigint, %s::bigint) slot",
        (now - 27 * SLOTS - now % SLOTS, now - 1),
    )
    (found,) = [one for one in await pools.foresee(database) if one.scope == "reported"]
    assert (found.name, found.left, found.credentials) == ("tikwm:reported", 80_000, 2)
    # 7,200 a day: 80,000 last for eleven days.
    assert found.used_up_at is not None
    assert abs(found.used_up_at - datetime.now(UTC) - timedelta(days=11.1)) < timedelta(days=1)
    assert found.warn
    rows.execute("UPDATE credential SET reported_reset_at = now() + interval '6 days'")
    (found,) = [one for one in await pools.foresee(database) if one.scope == "reported"]
    assert (found.used_up_at, found.warn) == (None, False)


async def test_what_waits_is_told_the_room_of_its_sources(database: Database, rows: psycopg.Connection[Any]) -> None:
    rows.execute(CREDENTIALS, (2,))
    rows.execute(USED, (int(time.time() // WIDTH), [5_000] + [0] * 20))
    await pools.keep(database)
    async with database.statements() as alone:
        ((room,),) = (await pools.rooms(alone, ["tikwm"], "profile", owned=True)).sources
        assert room.left == 0
        now = time.time()
        at = walk(1_000, start=now, rate=100.0, sources=[[room]], now=now)
        assert at is not None
        assert 22 * 3600 < at - now < 27 * 3600
        assert await pools.rooms(alone, ["tikwm", "api23"], "profile", owned=False) == (
            [],
            None,
        )  # nothing bounds the other one
        rows.execute("UPDATE budget SET made_at = now() - interval '1 hour'")
        assert await pools.rooms(alone, ["tikwm"], "profile", owned=False) == ([], None)


async def test_calls_of_owners_are_no_room_for_the_work_of_others(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    rows.execute(CREDENTIALS, (3,))
    rows.execute("UPDATE credential SET owner = label, shared = false WHERE label <> 'c1'")
    rows.execute(USED, (int(time.time() // WIDTH), [1_000] + [0] * 20))
    rows.execute(
        "UPDATE credential SET reported_remaining = 300, reported_reset_at = now() + interval '20 days' WHERE label <> 'c3'"
    )
    await pools.keep(database)
    async with database.statements() as alone:
        (found,) = (await pools.rooms(alone, ["tikwm"], "profile", owned=False)).sources
        assert sorted((room.left, sum(calls for _, calls in room.frees)) for room in found) == [
            (300, 0),
            (4_000, 1_000),
        ]
        owned = await pools.rooms(alone, ["tikwm"], "profile", owned=True)
        assert owned.sources == []
        assert (owned.unknown or "").startswith("tikwm: credentials of it serve their owner alone")


def test_a_reset_is_the_whole_room_and_later_cooldowns_are_part_of_it() -> None:
    frees = [(1_000.0, 50.0), (3_000.0, 70.0)]
    budget = pools.Budget("s:l", "s", "l", "credential", 2, 2, 0, 200, 80, frees, None, 2_000.0, None, [])
    state = pools._state(budget)
    assert state["frees"] == [(1_000.0, 50.0)]
    assert state["resets"][:2] == [(2_000.0, 200), (2_000.0 + 86_400, 200)]


def test_the_look_at_the_pools_is_bounded_by_the_credentials(rows: psycopg.Connection[Any]) -> None:
    rows.execute(CREDENTIALS, (10_000,))
    rows.execute(USED, (int(time.time() // WIDTH), [100] * 21))
    rows.execute("ANALYZE credential; ANALYZE credential_usage")
    told = {
        "sources": ["tikwm"], "limits": ["day"], "most": [5_000], "newest": [int(time.time() // WIDTH)], "widths": [WIDTH], "days": [False],
        "by_source": [False],
    }  # fmt: skip
    text = pools.POOLS.text
    (plan,) = rows.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", told).fetchone()  # type: ignore[misc]
    pages = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    assert pages < 60_000, json.dumps(plan)
    assert json.dumps(plan).count('"Relation Name": "credential_usage"') == 1, "what is used is read once"
    (row,) = rows.execute(text, told).fetchall()
    assert len(row[-1]) <= 22
