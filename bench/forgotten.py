"""What PostgreSQL spends to forget requests that ended long ago: the sweep's deletes, and the vacuum of what they leave."""

import asyncio

import psutil
import psycopg

from beat_actors.database import Database
from beat_actors.requests.retention import TABLES, Retention
from beat_actors.settings import Settings
from bench.visits import spent

ENDED = """
WITH lane AS (
    INSERT INTO lane (platform, flow, operation, priority, sources)
    VALUES ('instagram', 'refresh_profile_basic', 'profile_by_handle', 2, '{lama}') RETURNING id
), request AS (
    INSERT INTO scrape_request_log (platform, flow, params, account_id, priority, status, created_at, picked_at, scraped_at)
    SELECT 'instagram', 'refresh_profile_basic', '{"handle": "somebody"}', 'account' || n %% 5000, 2, 'COMPLETE', ended, ended, ended
    FROM generate_series(1, %s) n, (SELECT now() - interval '1 year') AS of(ended) RETURNING id
), call AS (
    INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, stage)
    SELECT request.id, lane.id, 'instagram', 'profile_by_handle', '{"handle": "somebody"}', 2, 'DONE' FROM request, lane
)
INSERT INTO event (event_id, type, subject, version, data, at)
SELECT gen_random_uuid(), 'beat.scrape_request.complete', 'scrape_request/' || id, 1, '{}', now() - interval '1 year' FROM request
"""


def measure(settings: Settings, connection: psycopg.Connection, requests: int) -> None:
    """`connection`: one without limits on time."""
    server = psutil.Process(connection.info.backend_pid).parent()
    assert server is not None, "a server on this machine"
    connection.execute(ENDED, (requests,))
    connection.execute("VACUUM ANALYZE")
    before = spent(server)
    gone = asyncio.run(_forget(settings))
    deleted = spent(server) - before
    connection.execute("VACUUM " + ", ".join(TABLES))
    vacuumed = spent(server) - before - deleted
    each = (deleted * 1e6 / requests, vacuumed * 1e6 / requests)
    took = f"{each[0]:.0f} us of PostgreSQL to delete and {each[1]:.0f} to vacuum"
    print(f"forgotten: {requests:,} requests ({gone:,} rows beside their fetches): {took}, a request", flush=True)


async def _forget(settings: Settings) -> int:
    database, retention, gone = Database(settings, name="bench"), Retention(), 0
    try:
        while count := (await retention.forget(database)).count:
            gone += count
    finally:
        await database.close()
    return gone
