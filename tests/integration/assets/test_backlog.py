"""The backlog of assets: what is counted, what is forecast, and what a look at it reads."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.assets.upkeep import backlog as backlogs
from beat_actors.assets.upkeep.backlog import backlog, sample
from beat_actors.database import Database
from tests.integration.assets.backlog_rows import PENDING, SAMPLED, USED


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def test_s7_1_the_number_of_waiting_uploads_is_known(database: Database, admin: psycopg.Connection[Any]) -> None:
    admin.execute(PENDING, (4_001,))
    admin.execute("UPDATE asset_log SET status = 'WAITING' WHERE entity_key = '4'")
    admin.execute("UPDATE asset_log SET status = 'FAILED', failure = 'type' WHERE entity_key = '8'")
    admin.execute("UPDATE asset_log SET wanted_at = now() WHERE entity_key = '12'")
    found = await backlog(database)
    assert (found.pending, found.at_least, found.wanted) == (3_999, False, 1)
    assert [(one.asset_class, one.pending) for one in found.classes] == [
        ("avatar", 998),
        ("thumbnail", 1_001),
        ("story", 1_000),
        ("other", 1_000),
    ]
    assert all(one.oldest_seconds is not None and one.oldest_seconds >= 596 for one in found.classes)
    states = {one.status: one.assets for one in found.states}
    assert states == dict.fromkeys(backlogs.STATES, 0) | {"WAITING": 1, "FAILED": 1}
    assert (found.per_second, found.ends_at, found.late) == (None, None, None)


async def test_s7_1_what_is_not_counted_to_the_end_is_a_lower_limit(
    database: Database, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute(PENDING, (100,))
    monkeypatch.setattr(backlogs, "COUNTED", 20)
    monkeypatch.setattr(backlogs, "READ", 10)
    admin.execute(SAMPLED, (100,))
    admin.execute(USED, (100, 0, 0))
    found = await backlog(database)
    assert [(one.pending, one.at_least) for one in found.classes] == [(20, True)] * 4
    assert (found.pending, found.at_least) == (80, True)
    # What is not read expires later than what is.
    assert found.ends_in_seconds == pytest.approx(80 / 4, rel=0.2)


@pytest.mark.slow
async def test_s7_8_a_backlog_of_100_000_has_an_end(database: Database, admin: psycopg.Connection[Any]) -> None:
    admin.execute(PENDING, (100_000,))
    admin.execute("VACUUM ANALYZE asset_log")
    assert (await backlog(database)).ends_at is None
    await sample(database)
    admin.execute("UPDATE asset_sample SET at = now() - interval '100 seconds'")
    admin.execute(USED, (2_000, 200, 90_000_000))
    found = await backlog(database)
    assert (found.pending, found.at_least) == (100_000, False)
    assert found.per_second == pytest.approx(80, rel=0.2)
    assert found.failed_share == pytest.approx(0.1)
    assert found.bytes == 100_000 * 50_000
    # 80 a second: what has no deadline and what expires late enough is saved, and the class that comes last loses most.
    assert found.ends_at is not None
    assert found.ends_in_seconds is not None
    assert found.late is not None
    assert found.ends_in_seconds == pytest.approx((100_000 - found.late) / (found.per_second or 0), rel=0.01)
    late = [one.late for one in found.classes]
    assert late == sorted(late, key=lambda each: each or 0)
    assert 0 < found.late < 50_000


def plan(admin: psycopg.Connection[Any], sql: str, params: Any) -> tuple[str, int]:
    row = admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params).fetchone()
    assert row is not None
    whole = row[0][0]["Plan"]
    return json.dumps(whole), whole["Shared Hit Blocks"] + whole["Shared Read Blocks"]


@pytest.mark.slow
def test_s7_8_a_look_at_the_backlog_reads_what_it_counts_and_no_more(admin: psycopg.Connection[Any]) -> None:
    admin.execute(PENDING, (100_000,))
    admin.execute("UPDATE asset_log SET status = 'COMPLETE' WHERE id % 2 = 0")
    admin.execute("VACUUM ANALYZE asset_log")
    classes = [0, 1, 2, 3]
    text, pages = plan(admin, backlogs.WAITING.text, {"classes": classes, "most": 100})
    assert "asset_log_claim" in text
    assert "Seq Scan" not in text
    assert pages < 1_500
    text, pages = plan(admin, backlogs.STATE_COUNTS.text, {"states": list(backlogs.STATES), "most": 100})
    assert "asset_log_listed" in text
    assert pages < 100


async def test_the_pace_goes_on_over_midnight_and_samples_are_forgotten(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(SAMPLED, (7_200,))
    admin.execute(SAMPLED, (60,))
    admin.execute("UPDATE asset_sample SET day = day - 1, requests = 100")
    admin.execute(USED, (30, 0, 0))
    admin.execute(
        "INSERT INTO asset_usage (day, account_id, class, requests) SELECT day - 1, account_id, class, 130 FROM asset_usage"
    )
    found = await backlog(database)
    assert found.per_second == pytest.approx(4 * 60 / 60, rel=0.5)
    await sample(database)
    assert admin.execute("SELECT count(DISTINCT at) FROM asset_sample").fetchone() == (2,)


async def test_a_deposed_leader_takes_no_sample(database: Database, admin: psycopg.Connection[Any]) -> None:
    await sample(database, epoch=7)
    assert admin.execute("SELECT count(*) FROM asset_sample").fetchone() == (0,)


async def test_what_uploads_took_is_kept_as_long_as_it_can_be_asked_for(
    database: Database, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beat_actors.assets.upkeep.backlog.USAGE_MOST", 3)
    admin.execute(
        "INSERT INTO asset_usage (day, account_id, class) SELECT (now() AT TIME ZONE 'UTC')::date - n, 'a', 0 FROM generate_series(87, 97) n"
    )
    kept = "SELECT array_agg((now() AT TIME ZONE 'UTC')::date - day ORDER BY day DESC) FROM asset_usage"
    await sample(database, epoch=7)
    assert admin.execute(kept).fetchone() == (list(range(87, 98)),)
    await sample(database)
    assert admin.execute(kept).fetchone() == (list(range(87, 95)),)
    for _ in range(2):
        await sample(database)
    assert admin.execute(kept).fetchone() == (list(range(87, 93)),)
