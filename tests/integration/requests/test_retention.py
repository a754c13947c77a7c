"""What ended long ago is forgotten, and nothing else."""

import asyncio

from beat_actors.database import Database
from beat_actors.requests import retention

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
    swept = await retention.forget(database)
    assert swept.count == 3 + 1 + 1 + 1 + 1
    assert await counts(database) == {
        "scrape_request_log": 3,
        "scrape_fetch": 3,
        "alert": 2,
        "quarantine": 2,
        "outbox_event": 1,
        "credential_event": 1,
    }
    assert (await retention.forget(database)).count == 0


async def test_what_is_retried_meanwhile_is_kept(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.rows(REQUESTS)
    async with database.transaction() as retrying:
        await retrying.run(
            "UPDATE scrape_request_log SET status = 'PENDING', scraped_at = NULL WHERE status = 'FAILED'"
        )
        forgetting = asyncio.create_task(retention.forget(database))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        async with database.statements() as alone:
            while not await alone.value(waits):  # noqa: ASYNC110 - what is waited for is in the database
                await asyncio.sleep(0.01)
    assert (await forgetting).count == 2


async def test_a_scheduler_that_leads_no_more_forgets_nothing(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.rows(REQUESTS)
    assert (await retention.forget(database, epoch=7)).count == 0
