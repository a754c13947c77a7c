"""What ended long ago is forgotten, and nothing else."""

import asyncio

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.requests import retention
from beat_actors.settings import Settings

REQUESTS = """
INSERT INTO scrape_request_log (platform, flow, params, status, scraped_at, created_at)
SELECT 'instagram', 'f', '{}', status, clock_timestamp() - make_interval(days => days), clock_timestamp() - interval '200 days'
FROM (VALUES ('COMPLETE', 91), ('FAILED', 91), ('CANCELLED', 91), ('COMPLETE', 89), ('PENDING', NULL), ('PROCESSING', NULL)) v(status, days)
RETURNING id
"""
FETCHES = """
WITH l AS (INSERT INTO lane (platform, flow, operation, priority, sources) VALUES ('instagram', 'f', 'o', 2, '{s}') RETURNING id)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority)
SELECT r.id, l.id, 'instagram', 'o', '{}', 2 FROM scrape_request_log r, l
"""
OTHERS = """
INSERT INTO alert (key, severity, cause, impact, automatic, action, opened_at, resolved_at)
SELECT 'k:' || n, 'info', 'c', 'i', 'a', 'a', clock_timestamp() - interval '200 days',
       CASE WHEN n < 3 THEN clock_timestamp() - make_interval(days => 87 + 2 * n) END FROM generate_series(1, 3) n;
INSERT INTO quarantine (kind, error, at, resolved_at)
SELECT 'malformed', 'e', clock_timestamp() - interval '200 days',
       CASE WHEN n < 3 THEN clock_timestamp() - make_interval(days => 87 + 2 * n) END FROM generate_series(1, 3) n;
INSERT INTO outbox_event (event_id, type, subject, data, occurred_at)
SELECT gen_random_uuid(), 't', 's', '{}', clock_timestamp() - make_interval(days => 87 + 2 * n) FROM generate_series(1, 2) n;
INSERT INTO credential_event (credential_id, kind, at)
SELECT 1, 'k', clock_timestamp() - make_interval(days => 87 + 2 * n) FROM generate_series(1, 2) n
"""


async def counts(database: Database) -> dict[str, int]:
    async with database.statements() as alone:
        return {
            table: await alone.value(f"SELECT count(*) FROM {table}") for table in (*retention.TABLES, "scrape_fetch")
        }


async def test_what_ended_long_ago_is_forgotten_and_nothing_else(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.rows(REQUESTS)
        await transaction.run(FETCHES)
        for statement in OTHERS.split(";"):
            await transaction.run(statement)
    walk = retention.Retention()
    swept = await walk.forget(database)
    assert swept.count == 3 + 1 + 1 + 1 + 1
    assert await counts(database) == {
        "scrape_request_log": 3,
        "scrape_fetch": 3,
        "request_batch": 0,
        "alert": 2,
        "quarantine": 2,
        "outbox_event": 1,
        "credential_event": 1,
        "held_record": 0,
        "code_start": 0,
    }
    assert (await walk.forget(database)).count == 0


async def test_what_is_retried_meanwhile_is_kept(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.rows(REQUESTS)
    async with database.transaction() as retrying:
        await retrying.run(
            "UPDATE scrape_request_log SET status = 'PENDING', scraped_at = NULL WHERE status = 'FAILED'"
        )
        forgetting = asyncio.create_task(retention.Retention().forget(database))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        async with database.statements() as alone:
            while not await alone.value(waits):  # noqa: ASYNC110 - what is waited for is in the database
                await asyncio.sleep(0.01)
    assert (await forgetting).count == 2


async def test_a_scheduler_that_leads_no_more_forgets_nothing(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.rows(REQUESTS)
    assert (await retention.Retention().forget(database, epoch=7)).count == 0


async def test_rows_that_may_not_go_hold_up_none_behind_them(database: Database) -> None:
    async with database.transaction() as transaction:
        for status, ended, count in (
            ("PENDING", None, 25),
            ("COMPLETE", 91, 25),
            ("PENDING", None, 25),
            ("FAILED", 91, 3),
        ):
            await transaction.run(
                "INSERT INTO scrape_request_log (platform, flow, params, status, scraped_at, created_at) "
                "SELECT 'instagram', 'f', '{}', %s, clock_timestamp() - make_interval(days => %s), clock_timestamp() - interval '92 days' "
                "FROM generate_series(1, %s)",
                (status, ended, count),
            )
    walk = retention.Retention(batch=10)
    assert (await walk.forget(database)).count == 28
    assert (await counts(database))["scrape_request_log"] == 50
    assert (await walk.forget(database)).count == 0  # the walk begins anew


@pytest.mark.slow
async def test_a_batch_that_takes_too_long_is_made_smaller(settings: Settings, database_url: str) -> None:
    database = Database(settings, name="slow")
    with psycopg.connect(database_url, autocommit=True) as admin:
        # A row costs 10 ms and a statement has one second, so a batch of 125 never ends.
        admin.execute("""
        CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END';
        CREATE TRIGGER slowly BEFORE DELETE ON credential_event FOR EACH ROW EXECUTE FUNCTION slowly();
        GRANT EXECUTE ON FUNCTION slowly TO PUBLIC;
        INSERT INTO credential_event (credential_id, kind, at)
        SELECT 1, 'k', clock_timestamp() - interval '92 days' FROM generate_series(1, 200) n
        """)
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET statement_timeout = '1s'")
    assert (await retention.Retention().forget(database)).count == 200
    assert (await counts(database))["credential_event"] == 0
    await database.close()
