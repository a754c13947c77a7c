"""When what waits is done: each flow and priority with an interval, or with the reason why no time is known."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.forecast.arrival import ahead
from beat_actors.quotas import pools
from beat_actors.requests import pace
from beat_actors.requests.backlog import BacklogView, backlogs

LANE = "INSERT INTO lane (platform, operation, flow, priority, sources, owner) VALUES ('tiktok', 'profile', %s, %s, '{tikwm}', %s) RETURNING id"
FETCHES = """
WITH r AS (
    INSERT INTO scrape_request_log (platform, flow, params, priority, live) SELECT 'tiktok', %s, '{}', %s, true FROM generate_series(1, %s) RETURNING id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, tenant) SELECT id, %s, 'tiktok', 'profile', '{}', %s, 't' FROM r
"""
DECISION = "INSERT INTO broker_decision (at, platform, seed, settled, leased, detail) VALUES (now() - make_interval(secs => %s), 'tiktok', 1, 0, %s, '{}')"


@pytest.fixture
def rows(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def waits(rows: psycopg.Connection[Any], flow: str, priority: int, count: int, owner: str = "") -> int:
    lane: int = rows.execute(LANE, (flow, priority, owner)).fetchone()[0]  # type: ignore[index]
    rows.execute(FETCHES, (flow, priority, count, lane, priority))
    return lane


async def found(database: Database) -> dict[str, BacklogView]:
    return {one.flow: one for one in await backlogs(database)}


async def test_a_backlog_ends_after_what_is_more_urgent_and_beside_what_is_not(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    waits(rows, "urgent", 1, 100)
    waits(rows, "much", 2, 1_000)
    lane = waits(rows, "little", 2, 200)
    assert (await found(database))["much"].expected.unknown is not None
    for minute in range(5):
        rows.execute(DECISION, (minute * 60 + 30, 600))
    now, told = datetime.now(UTC), await found(database)
    assert [(one.flow, one.priority, one.fetches) for one in told.values()] == [
        ("urgent", "customer", 100), ("little", "standard", 200), ("much", "standard", 1_000),
    ]  # fmt: skip
    for flow, seconds in (("urgent", 10), ("little", 50), ("much", 130)):
        one = told[flow].expected
        assert one.at is not None
        assert one.earliest is not None
        assert one.latest is not None
        assert abs(one.at - now - timedelta(seconds=seconds)) < timedelta(seconds=8)
        assert one.earliest < one.at < one.latest
    why = [
        {"source": "tikwm", "credential_id": None, "why": "outage: its breaker is open", "until": now.timestamp() + 60}
    ]
    rows.execute(
        "UPDATE lane SET blocked_until = now() + interval '1 minute', reasons = %s WHERE id = %s",
        (json.dumps(why), lane),
    )
    told = await found(database)
    assert told["little"].expected.at is None
    assert (told["little"].expected.unknown or "").startswith("tikwm: outage")
    assert abs((told["much"].expected.at or now) - now - timedelta(seconds=110)) < timedelta(seconds=8)


async def test_a_lane_without_an_end_hides_not_the_end_of_the_others(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    lanes = [waits(rows, "much", 2, count, owner) for owner, count in (("a", 300), ("b", 40), ("c", 500))]
    for minute in range(5):
        rows.execute(DECISION, (minute * 60 + 30, 600))
    why = json.dumps([{"source": "tikwm", "credential_id": 1, "why": "its credential is dead", "until": None}])
    rows.execute("UPDATE lane SET blocked_until = NULL, reasons = %s WHERE id = %s", (why, lanes[1]))
    now, one = datetime.now(UTC), (await found(database))["much"]
    assert (one.fetches, one.expected.unknown) == (840, None)
    assert abs((one.expected.at or now) - now - timedelta(seconds=80)) < timedelta(seconds=8)
    assert one.expected.basis.startswith("800 fetches are ahead of it")
    assert (
        "without 40 fetches of 1 of its lanes, of which no time is known (tikwm: its credential is dead"
        in one.expected.basis
    )
    rows.execute("UPDATE lane SET blocked_until = NULL, reasons = %s", (why,))
    one = (await found(database))["much"]
    assert one.expected.at is None
    assert one.expected.unknown == "tikwm: its credential is dead; nobody knows when that ends"


async def test_lanes_that_are_not_read_are_told(
    database: Database, rows: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for flow, priority, owner in (("urgent", 1, ""), ("much", 2, "a"), ("much", 2, "b"), ("late", 3, "")):
        waits(rows, flow, priority, 10, owner)
    monkeypatch.setattr("beat_actors.requests.backlog.LANES", 4)
    told = await found(database)
    assert [one.more for one in told.values()] == [False] * 3
    monkeypatch.setattr("beat_actors.requests.backlog.LANES", 2)
    told = await found(database)
    assert [(one.flow, one.fetches, one.more) for one in told.values()] == [("urgent", 10, False), ("much", 20, True)]
    assert told["urgent"].expected.basis.startswith("10 fetches")
    assert told["much"].expected.basis.startswith("about 30 fetches")
    assert told["much"].expected.at is not None
    assert told["much"].expected.latest is None
    assert "most urgent lanes were read, and there is more of it" in told["much"].expected.basis


async def test_much_work_of_owners_has_no_time_that_rests_on_the_credentials_of_all(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    rows.execute(
        "INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, owner, shared) "
        "SELECT 'tiktok', 'tikwm', 'c' || n, decode(md5(n::text), 'hex'), 'k', '', 'o' || n, false FROM generate_series(1, 3) n"
    )
    waits(rows, "much", 2, 10_000, "o1")
    waits(rows, "few", 1, 20, "o2")
    for minute in range(5):
        rows.execute(DECISION, (minute * 60 + 30, 600))
    await pools.keep(database)
    told = await found(database)
    assert told["much"].expected.at is None
    assert "tikwm: credentials of it serve their owner alone" in (told["much"].expected.unknown or "")
    assert told["few"].expected.at is not None


async def test_beyond_the_bound_the_place_in_a_lane_is_estimated(
    database: Database, rows: psycopg.Connection[Any]
) -> None:
    lane = waits(rows, "much", 2, 20_000)
    waits(rows, "other", 2, 15_000)
    rows.execute(FETCHES, ("much", 2, 5_000, lane, 2))
    rows.execute("ANALYZE scrape_fetch")
    last = rows.execute("SELECT max(id) FROM scrape_fetch WHERE lane_id = %s", (lane,)).fetchone()[0]  # type: ignore[index]
    asked = {"lane": lane, "tenant": "t", "id": last, "places": pace.PLACES, "most": pace.LOOKED_AT}
    async with database.statements() as alone:
        probes = await alone.rows(pace.PROBES, asked)
    assert abs(ahead(probes, last) - 24_999) < 2_500
    (plan,) = rows.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {pace.PROBES.text}", asked).fetchone()  # type: ignore[misc]
    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 5_000, json.dumps(plan)
