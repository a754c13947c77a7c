"""A large installation at once: turns, and every sweep of the scheduler, under production's limits on time.

10,000 credentials of one source, 5,000 owners with a credential and a grant each, 10,000 lanes, a million waiting fetches of 5,000 accounts.
"""

import asyncio
import statistics
import time

import psycopg

from actors.mailbox import Mailbox
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from scheduler.daemon import JOBS, Job

TURN_MS, STATEMENT_S = 50.0, 1.0
"""Milliseconds that a dispatch cycle may take as a median, and a statement of a sweep at most."""
REPEATS, WARM_UP = 9, 12
"""Turns that are measured, and those before them: after these the process has prepared its statements, and PostgreSQL their plans."""
CREDENTIALS = """
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, check_at)
SELECT 'instagram', 'lama', 'bench', convert_to(n::text, 'UTF8'), 'bench', '', now() + interval '1 day' FROM generate_series(1, %s) n
"""
OWNERS = """
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, owner, shared, check_at)
SELECT 'shopify', 'shopify', 'bench', convert_to('shop' || n, 'UTF8'), 'bench', '', 'shop' || n, false, now() + interval '1 day'
FROM generate_series(1, %s) n
"""
GRANTS = "INSERT INTO owner_grant (account_id, platform, owner, granted_by) SELECT 'account' || n, 'shopify', 'shop' || n, 'bench' FROM generate_series(1, %s) n"
LANES = """
INSERT INTO lane (platform, flow, operation, priority, sources, owner)
SELECT 'shopify', 'refresh_orders_by_store', 'orders_by_store', 2 + p, '{shopify}'::text[], 'shop' || n FROM generate_series(1, %s) n, generate_series(0, 1) p
UNION ALL SELECT 'instagram', 'refresh_profile_basic', 'profile_by_handle', 3, '{lama}'::text[], ''
"""
# Half of all in the one lane of the shared credentials, half spread over those of the owners; each account asks for its own shop.
WAITING = """
WITH lanes AS (SELECT *, row_number() OVER (ORDER BY id) - 1 AS nth FROM lane WHERE owner <> ''),
planned AS (
    SELECT n, l.* FROM generate_series(1, %(half)s) n JOIN lanes l ON l.nth = n %% (2 * %(owners)s)
    UNION ALL SELECT n, l.*, NULL FROM generate_series(1, %(half)s) n, lane l WHERE l.owner = ''
), request AS (
    INSERT INTO scrape_request_log (platform, flow, params, account_id, priority)
    SELECT platform, flow, jsonb_build_object('lane', id), CASE WHEN owner = '' THEN 'account' || n %% %(owners)s ELSE 'account' || substr(owner, 5) END, priority
    FROM planned RETURNING id, platform, priority, account_id, (params->>'lane')::integer AS lane_id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, owner, tenant)
SELECT r.id, r.lane_id, r.platform, l.operation, '{}', r.priority, nullif(l.owner, ''), 'account/' || r.account_id
FROM request r JOIN lane l ON l.id = r.lane_id
"""
AGAIN = "UPDATE scrape_fetch SET stage = 'WAITING', lease_until = NULL WHERE stage = 'LEASED'"


def measure(settings: Settings, connection: psycopg.Connection, *, credentials: int, owners: int, waiting: int) -> None:
    """`connection`: one without limits on time, to fill the database."""
    started = time.perf_counter()
    connection.execute(CREDENTIALS, (credentials,))
    connection.execute(OWNERS, (owners,))
    connection.execute(GRANTS, (owners,))
    connection.execute(LANES, (owners,))
    connection.execute(WAITING, {"half": waiting // 2, "owners": owners})
    connection.execute("VACUUM ANALYZE")
    said = f"{credentials:,} credentials of a source, {owners:,} owners, {2 * owners + 1:,} lanes, {waiting:,} waiting"
    print(f"large: {said} (made in {time.perf_counter() - started:.0f} s)", flush=True)
    for platform in ("instagram", "shopify"):
        asyncio.run(_turns(settings, connection, platform))
    asyncio.run(_sweeps(settings))


async def _turns(settings: Settings, connection: psycopg.Connection, platform: str) -> None:
    database = Database(settings, name="bench")
    took, leased = [], 0
    try:
        for _ in range(WARM_UP + REPEATS):
            started = time.perf_counter()
            leased = len((await turn(database, platforms()[platform])).leased)
            took.append((time.perf_counter() - started) * 1000)
            connection.execute(AGAIN)
            await asyncio.sleep(1.5)  # until the second's limits have room again
    finally:
        await database.close()
    median = statistics.median(took[WARM_UP:])
    print(
        f"large: a dispatch cycle of {platform}: {median:6.1f} ms, {leased} leases{_over(median, TURN_MS)}", flush=True
    )


async def _sweeps(settings: Settings) -> None:
    mailbox = Mailbox(settings)
    slowest = [(await _sweep(job, settings, mailbox), job.name) for job in JOBS]
    mailbox.close()
    for seconds, name in sorted(slowest, reverse=True)[:5]:
        print(
            f"large: the slowest statement of the sweep {name}: {seconds * 1000:6.0f} ms{_over(seconds, STATEMENT_S)}"
        )
    print(f"large: all {len(JOBS)} sweeps ran", flush=True)


async def _sweep(job: Job, settings: Settings, mailbox: Mailbox) -> float:
    """Seconds of the job's slowest statement. Raises what the job raises, as where a statement is cancelled."""
    database = Database(settings, name="bench")
    try:
        async with asyncio.timeout(job.deadline):
            await job.sweep(database, mailbox, None)  # type: ignore[arg-type]
        return database.metrics.statements.quantile(1.0)
    finally:
        await database.close()


def _over(measured: float, allowed: float) -> str:
    return "" if measured <= allowed else f": MORE than {allowed:g}"
