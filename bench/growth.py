"""How the cost grows with the work: `make growth`.

A dispatch cycle at more waiting fetches and more credentials; dispatch cycles and sweeps of a large installation; writes into larger tables; whole
runs with more worker processes, other batch sizes and PgBouncer; what the budgets of providers cost; the memory of a worker over a long run. Medians of one run on one machine.
"""

import argparse
import asyncio
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import psutil
import psycopg
import uvloop

from beat_actors import heap
from beat_actors.broker.turn import turn
from beat_actors.database import Database, migrate
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.local.supervisor import Supervisor
from beat_actors.pipeline.entities import write_records
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from bench import budgets, engine, forgotten
from bench.contender import handle
from bench.large import measure
from bench.upstream import bodies, upstream
from tests.pgbouncer import PgBouncer

INSTAGRAM = platforms()["instagram"]
REPEATS = 9
LEASES = 200
SCRAPES = 100
CREDENTIALS = """
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret)
SELECT 'instagram', 'lama', 'bench', convert_to(n::text, 'UTF8'), 'bench', '' FROM generate_series(1, %s) n
"""
LANE = """
INSERT INTO lane (platform, flow, operation, priority, sources)
VALUES ('instagram', 'refresh_profile_basic', 'profile_by_handle', 2, '{graphapi,arraybobo,jotucker,lama,bestsolutions}') RETURNING id
"""
WAITING = """
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params)
    SELECT 'instagram', 'refresh_profile_basic', '{"handle": "somebody"}' FROM generate_series(1, %s) RETURNING id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority)
SELECT id, %s, 'instagram', 'profile_by_handle', '{"handle": "somebody"}', 2 FROM request
"""
TENANTS = """
UPDATE scrape_fetch SET tenant = 'account/' || id WHERE id IN (SELECT id FROM scrape_fetch WHERE stage = 'WAITING' ORDER BY id DESC LIMIT 5000)
"""
# As if what was leased had never been.
AGAIN = "UPDATE scrape_fetch SET stage = 'WAITING', lease_until = NULL WHERE stage = 'LEASED'"
POSTS = """
INSERT INTO instagram_post (shortcode, profile_id, taken_at, likes, source, parser_version, request_id, observed_at)
SELECT md5(n::text), (n / 12)::text, now(), 1, 'lama', 1, 1, now() FROM generate_series(%s::bigint, %s::bigint) n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fetches", type=int, default=1_000_000, help="the most waiting fetches (default: a million)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="the most posts in the table (default: a million)")
    parser.add_argument("--count", type=int, default=4000, help="scrapes of each whole run")
    parser.add_argument("--long", type=int, default=200_000, help="scrapes of the run over which memory is watched")
    parser.add_argument("--owners", type=int, default=5000, help="owners of the large installation")
    parser.add_argument(
        "--credentials", type=int, default=10_000, help="credentials of one source of the large installation"
    )
    parser.add_argument(
        "--only", default="cycles,large,budgets,writes,forgotten,runs,pooled,memory", help="parts, with commas"
    )
    options = parser.parse_args()
    # As a worker's process has it.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    heap.collect_less()
    with temporary_home() as home:
        postgres, valkey, answers = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, options.count)
        with running(home, postgres, valkey, answers) as supervisor:
            upstream_url = f"http://127.0.0.1:{answers.port}"
            parts: dict[str, Callable[[], None]] = {
                "cycles": lambda: cycles(postgres, options.fetches),
                "large": lambda: large(postgres, valkey, options),
                "budgets": lambda: of_budgets(supervisor, postgres, valkey, options),
                "writes": lambda: writes(postgres, options.rows),
                "forgotten": lambda: forget(postgres, options.fetches // 5),
                "runs": lambda: runs(postgres, valkey, upstream_url, options.count),
                "pooled": lambda: pooled(supervisor, home, postgres, valkey, upstream_url, options.count),
                "memory": lambda: memory(postgres, valkey, upstream_url, options.count, options.long),
            }
            for part in options.only.split(","):
                parts[part]()


def cycles(postgres: PostgresServer, most: int) -> None:
    """A dispatch cycle that gives out `LEASES` leases, or as many as the credentials allow in one second."""
    for credentials in (10, 100, 1000, 10_000):
        with database_of(postgres) as (url, connection):
            connection.execute(CREDENTIALS, (credentials,))
            (lane,) = connection.execute(LANE).fetchone() or (0,)
            waiting = 0
            for size in (100, 10_000, most):
                connection.execute(WAITING, (size - waiting, lane))
                connection.execute("VACUUM ANALYZE scrape_fetch")
                waiting = size
                ms, leased = asyncio.run(a_turn(url, connection))
                print(
                    f"cycle: {waiting:>9,} waiting, {credentials:>5,} credentials: {ms:6.1f} ms, {leased} leases",
                    flush=True,
                )
            connection.execute(TENANTS)
            connection.execute("VACUUM ANALYZE scrape_fetch")
            ms, leased = asyncio.run(a_turn(url, connection))
            print(f"cycle: the same, beside 5,000 accounts with one each: {ms:6.1f} ms, {leased} leases", flush=True)


def large(postgres: PostgresServer, valkey: ValkeyServer, options: argparse.Namespace) -> None:
    with database_of(postgres) as (url, connection):
        settings = settings_of(url, valkey.url)
        sizes = {"credentials": options.credentials, "owners": options.owners, "waiting": options.fetches}
        measure(settings, connection, **sizes)


def of_budgets(
    supervisor: Supervisor, postgres: PostgresServer, valkey: ValkeyServer, options: argparse.Namespace
) -> None:
    server = psutil.Process(next(one.pid for one in supervisor.status() if one.name == "postgres" and one.pid))
    with database_of(postgres) as (url, connection):
        sizes = {"credentials": options.credentials, "owners": options.owners}
        budgets.measure(settings_of(url, valkey.url), connection, server, **sizes)


def forget(postgres: PostgresServer, requests: int) -> None:
    with database_of(postgres) as (url, connection):
        forgotten.measure(settings_of(url), connection, requests)


def settings_of(url: str, redis_url: str = "redis://127.0.0.1") -> Settings:
    return Settings(
        database_url=url,
        redis_url=redis_url,
        vault_keys=engine.KEY,
        message_keys=engine.KEY,
        broker_batch=LEASES,
        broker_in_flight_per_source=LEASES,
    )


async def a_turn(url: str, connection: psycopg.Connection) -> tuple[float, int]:
    settings = settings_of(url)
    database = Database(settings, name="bench")
    leased = 0

    async def one() -> None:
        nonlocal leased
        leased = len((await turn(database, INSTAGRAM)).leased)

    try:
        return await median(one, after=lambda: connection.execute(AGAIN)), leased
    finally:
        await database.close()


def writes(postgres: PostgresServer, most: int) -> None:
    """What one process message writes: the posts of `SCRAPES` scrapes, into a table that has so many rows already."""
    endpoint = INSTAGRAM.sources["lama"].endpoints["profile_by_handle"]
    read = [
        endpoint.parse(body, FetchSpec("profile_by_handle", {"handle": handle(n)}))
        for n, body in enumerate(bodies(SCRAPES))
    ]
    sql = write_records(INSTAGRAM.entity_in("instagram_post"))
    ones = [1] * SCRAPES
    values = {
        "platform": "instagram",
        "log_days": 90,
        "fetches": ones,
        "requests": ones,
        "accounts": [""] * SCRAPES,
        "owners": [""] * SCRAPES,
        "observed": [datetime.now(UTC)] * SCRAPES,
        "sources": ["lama"] * SCRAPES,
        "versions": ones,
        "builds": ones,
        "records": [msgspec.json.encode(parsed.records[1:]).decode() for parsed in read],
    }
    with database_of(postgres) as (_, connection):
        there = 0
        for size in (most // 10, most):
            connection.execute(POSTS, (there + 1, size))
            connection.execute("VACUUM ANALYZE instagram_post")
            there = size

            async def one() -> None:
                connection.execute(sql, values)

            print(
                f"write: {SCRAPES * 12:,} posts into {size:>9,}: {asyncio.run(median(one)):6.1f} ms",
                flush=True,
            )


def runs(postgres: PostgresServer, valkey: ValkeyServer, upstream_url: str, count: int) -> None:
    """Whole runs of the engine."""
    handles = [handle(n) for n in range(count)]
    for processes, batch in ((1, 100), (2, 100), (4, 100), (8, 100), (2, 1), (2, 10), (2, 50), (2, 200)):
        with database_of(postgres) as (url, _):
            some = count // 4 if batch == 1 else count
            setup = engine.Setup(url, valkey.url, upstream_url, processes=processes, stage_batch=batch)
            seconds, complete = engine.run(setup, handles, some)
            print(
                f"run: {processes} processes, batches of {batch:>3}: {complete / seconds:6.0f} scrapes/s",
                flush=True,
            )


def pooled(
    supervisor: Supervisor, home: Home, postgres: PostgresServer, valkey: ValkeyServer, upstream_url: str, count: int
) -> None:
    """The same run with PgBouncer in transaction mode between, and without it."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        print("pooled: there is no pgbouncer here")
        return
    pooler = PgBouncer.at(home, postgres, binary, pool=20)
    supervisor.start(pooler.service())
    for through in ("PostgreSQL alone", "PgBouncer"):
        with database_of(postgres) as (url, _):
            pooled_url = pooler.url_of(url) if through == "PgBouncer" else ""
            setup = engine.Setup(url, valkey.url, upstream_url, pooled_url=pooled_url)
            seconds, complete = engine.run(setup, [handle(n) for n in range(count)], count)
            print(f"pooled: {through:>16}: {complete / seconds:6.0f} scrapes/s", flush=True)


def memory(postgres: PostgresServer, valkey: ValkeyServer, upstream_url: str, count: int, long: int) -> None:
    """The largest worker process while more and more is scraped."""
    handles, portion = [handle(n) for n in range(count)], max(long // 10, 1)
    with database_of(postgres) as (url, connection):
        setup = engine.Setup(url, valkey.url, upstream_url)
        asyncio.run(engine.prepare(setup, handles, portion))
        with engine.working(setup) as processes:
            for done in range(portion, long + 1, portion):
                engine.until_done(connection)
                workers = psutil.Process(processes[0].pid).children()
                largest = max(worker.memory_info().rss for worker in workers)
                print(f"memory: {largest / 2**20:4.0f} MB after {done:>9,} scrapes", flush=True)
                if done < long:
                    asyncio.run(engine.accept(setup, handles, portion))


async def median(
    work: Callable[[], Awaitable[None]], *, after: Callable[[], object] = lambda: None, repeats: int = REPEATS
) -> float:
    """Milliseconds; the first two runs only warm up."""
    took = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        await work()
        took.append((time.perf_counter() - started) * 1000)
        after()
        await asyncio.sleep(1.5)  # until the second's limits have room again
    return statistics.median(took[2:])


@contextmanager
def database_of(postgres: PostgresServer) -> Iterator[tuple[str, psycopg.Connection]]:
    """A migrated database, gone afterwards."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE growth")
        try:
            url = postgres.url_of("growth")
            migrate.upgrade(url)
            # A million rows take longer to make than a statement may take otherwise.
            with psycopg.connect(url, autocommit=True, options="-c statement_timeout=0") as connection:
                yield url, connection
        finally:
            admin.execute("DROP DATABASE growth WITH (FORCE)")


if __name__ == "__main__":
    main()
