"""What traces cost: `make traces`.

Requests that have ended, each with three calls, lie in a database of their own. Measured is the exporter alone, against a collector on this machine that
only answers: CPU time of the exporter and of PostgreSQL, for each ended request where a share of 1 % is kept, and for each exported span where all are.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import psycopg
from aiohttp import web

from beat_actors.database import Database, migrate
from beat_actors.events import log
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, running
from beat_actors.settings import Settings
from beat_actors.traces.exporting import Exporter
from bench.visits import spent

ENDED = """
WITH lane AS (
    INSERT INTO lane (platform, flow, operation, priority, sources)
    VALUES ('instagram', 'refresh_profile_basic', 'profile_by_handle', 2, '{lama}') RETURNING id
), request AS (
    INSERT INTO scrape_request_log (platform, flow, params, priority, status, created_at, picked_at, scraped_at)
    SELECT 'instagram', 'refresh_profile_basic', '{"handle": "somebody"}', 2, 'COMPLETE', at, at + interval '1 second', at + interval '5 seconds'
    FROM generate_series(1, %(requests)s) n, (SELECT clock_timestamp() - interval '60 seconds') AS of(at) RETURNING *
), call AS (
    INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, stage, created_at, sent_at, claimed_at)
    SELECT r.id, lane.id, 'instagram', 'profile_by_handle', '{}', 2, 'DONE', r.created_at, r.scraped_at, r.scraped_at FROM request r, lane RETURNING id, request_id
), made AS (
    INSERT INTO trace_log (at, fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms, bytes, outcome)
    SELECT r.created_at + make_interval(secs => n), call.id, r.id, n, 'instagram', 'lama', 'profile_by_handle', 1, 'GET', 'https://api.lamatok.com/x',
           CASE n WHEN 3 THEN 200 ELSE 503 END, 500, 20000, CASE n WHEN 3 THEN 'ok' ELSE 'upstream_down' END
    FROM call JOIN request r ON r.id = call.request_id, generate_series(1, 3) n
)
INSERT INTO event (at, event_id, type, subject, version, data)
SELECT r.scraped_at, md5('request ' || r.id || ' ' || h || ' 0')::uuid, 'beat.scrape_request.' || lower(h), 'scrape_request/' || r.id, v,
    jsonb_build_object('id', r.id, 'platform', r.platform, 'flow', r.flow, 'params', r.params, 'status', h, 'priority', 'standard', 'created_at', r.created_at,
        'picked_at', r.picked_at, 'scraped_at', r.scraped_at, 'data', '{"items": 1, "source": "lama"}'::jsonb)
FROM request r, (VALUES ('ACCEPTED', 1), ('PROCESSING', 2), ('COMPLETE', 3)) AS e(h, v) ORDER BY r.id, v
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make traces", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="ended requests (default: 20,000)")
    requests = parser.parse_args().requests
    with temporary_home() as home:
        postgres = PostgresServer.at(home)
        with running(home, postgres), psycopg.connect(postgres.url, autocommit=True) as connection:
            migrate.upgrade(postgres.owner_url, postgres.process_url)
            connection.execute("SET statement_timeout = 0")
            server = psutil.Process(connection.info.backend_pid).parent()
            assert server is not None, "a server on this machine"
            for share in (0.0, 0.01, 1.0):
                asyncio.run(measure(postgres.process_url, connection, server, requests, share))


async def measure(
    url: str, connection: psycopg.Connection, server: psutil.Process, requests: int, share: float
) -> None:
    async with collector() as (endpoint, taken):
        settings = Settings(
            database_url=url, redis_url="redis://localhost", otlp_endpoint=endpoint, trace_sample=share, trace_slow={}
        )  # type: ignore[arg-type]
        database, exporter = Database(settings, name="bench"), Exporter()
        try:
            await exporter.sweep(database)  # it begins at the end of the log
            connection.execute(ENDED.replace("'{lama}'", f"'{{lama,s{share}}}'"), {"requests": requests})
            connection.execute("VACUUM ANALYZE")
            async with database.statements() as alone:
                while (await log.sequence(alone)).moved:
                    pass
            before, began, mine = spent(server), time.perf_counter(), time.process_time()
            traces = 0
            while count := (await exporter.sweep(database)).count:
                traces += count
            took, cpu, theirs = time.perf_counter() - began, time.process_time() - mine, spent(server) - before
        finally:
            await database.close()
    each = f"{cpu * 1e6 / requests:.0f} us of the exporter and {theirs * 1e6 / requests:.0f} us of PostgreSQL for each request"
    more = f", {cpu * 1e6 / taken[1]:.0f} us for each of {taken[1]:,} spans" if taken[1] else ""
    size = f", {taken[0] / taken[1]:.0f} bytes a span" if taken[1] else ""
    print(
        f"share {share:g}: {requests:,} ended requests in {took:.1f} s, {traces:,} traces: {each}{more}{size}",
        flush=True,
    )


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[int]]]:
    """Its URL, and the bytes and spans that it has taken."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    taken = [0, 0]

    async def take(request: web.Request) -> web.Response:
        taken[0] += request.content_length or 0
        said = ExportTraceServiceRequest.FromString(await request.read())
        taken[1] += sum(len(scope.spans) for of in said.resource_spans for scope in of.scope_spans)
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", taken
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
