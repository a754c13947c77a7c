"""What it costs to visit again what is known: `make visits`.

The same profiles are visited five times: their first visit, one on which nothing has changed, one on which every post has other numbers, one on
which media URLs are signed anew as well, and one on which every caption differs too. Of each: scrapes a second, bytes of WAL and PostgreSQL's CPU
time, a scrape; first of the statements that write what was read, by themselves, then of whole runs of the engine. `--beside` names another
checkout, whose visits are made in turn with these on the same servers, and prints the ratios: the figures of one run say nothing else.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import psycopg

from beat_actors.database import migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.pipeline.entities import write_records
from beat_actors.platforms.interface import Entity, FetchSpec
from beat_actors.platforms.registry import platforms
from bench import engine
from bench.contender import handle
from bench.upstream import Nginx, bodies

NUMBERS = re.compile(
    rb'("edge_(?:liked_by|media_preview_like|media_to_comment|media_to_parent_comment)": ?\{"count": ?)(\d+)'
)
SIGNATURES = re.compile(rb"oh=([0-9a-f_]+)")
CAPTIONS = re.compile(rb'("text": ?")')
BATCH = 50
LSN = "SELECT pg_current_wal_insert_lsn()"
ENTITIES = [platforms()["instagram"].entity_in(table) for table in ("instagram_account", "instagram_post")]
Servers = dict[str, Any]
SPAN = """
SELECT extract(epoch FROM max(scraped_at) - min(picked_at))::float8, count(*) FILTER (WHERE status = 'COMPLETE')
FROM scrape_request_log WHERE id > %s
"""


def other_numbers(body: bytes) -> bytes:
    return NUMBERS.sub(lambda found: found[1] + b"%d" % (int(found[2]) + 1), body)


def signed_anew(body: bytes) -> bytes:
    return SIGNATURES.sub(rb"oh=\1f", other_numbers(other_numbers(body)))


def other_captions(body: bytes) -> bytes:
    return CAPTIONS.sub(rb"\1Once more: ", signed_anew(other_numbers(body)))


def as_it_was(body: bytes) -> bytes:
    return body


VISITS: dict[str, Callable[[bytes], bytes]] = {
    "first": as_it_was,
    "nothing changed": as_it_was,
    "numbers": other_numbers,
    "numbers, signed URLs": signed_anew,
    "all": other_captions,
}


class Cost(NamedTuple):
    """Of one visit: scrapes a second, bytes of WAL a scrape, milliseconds of PostgreSQL's CPU time a scrape."""

    rate: float
    wal: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="profiles, with 12 posts each (default: 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often, of which the medians are shown (default: 3)")
    parser.add_argument("--beside", type=Path, help="another checkout of Beat")
    parser.add_argument("--only", default="writes,runs", help="parts, with commas")
    parser.add_argument("--servers", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.servers:
        servers = json.loads(options.servers)
        print(json.dumps({"writes": writes, "runs": runs}[options.only](servers, options.count)))
        return
    checkouts = {"here": Path(__file__).parents[1], **({"beside": options.beside.resolve()} if options.beside else {})}
    with temporary_home() as home:
        postgres, valkey = PostgresServer.at(home), ValkeyServer.at(home)
        parts = options.only.split(",")
        changes = dict.fromkeys(VISITS.values()) if "runs" in parts else ()
        upstreams = {change: Nginx.at(home, options.count, change) for change in changes}
        with running(home, postgres, valkey, *upstreams.values()):
            servers = {
                "postgres": postgres.url_of("postgres"),
                "visits": postgres.url_of("visits"),
                "valkey": valkey.url,
                "upstreams": {
                    name: f"http://127.0.0.1:{upstreams[change].port}" for name, change in VISITS.items() if upstreams
                },
            }
            for part in parts:
                seen: dict[tuple[str, str], list[Cost]] = defaultdict(list)
                for _ in range(options.rounds):
                    for name, checkout in checkouts.items():
                        for visit, cost in elsewhere(checkout, part, servers, options.count).items():
                            seen[name, visit].append(cost)
                show(part, seen)


def show(part: str, seen: dict[tuple[str, str], list[Cost]]) -> None:
    """The medians of this checkout, and their ratios to the other's."""
    for visit in VISITS:
        here, *beside = (
            Cost(*map(statistics.median, zip(*costs, strict=True))) for (_, of), costs in seen.items() if of == visit
        )
        print(
            f"{part}, {visit}: {here.rate:.0f} scrapes/s, {here.wal:,.0f} bytes, {here.cpu:.2f} ms of CPU a scrape",
            flush=True,
        )
        for other in beside:
            ratios = (
                f"{name} {mine / theirs:.2f}"
                for name, mine, theirs in zip(("scrapes/s", "bytes", "CPU"), here, other, strict=True)
            )
            print(f"    ratio here/beside: {', '.join(ratios)}", flush=True)


def elsewhere(checkout: Path, part: str, servers: Servers, count: int) -> dict[str, Cost]:
    """Make the visits with the code of that checkout, in a process of its own."""
    argv = (sys.executable, __file__, "--only", part, "--count", str(count), "--servers", json.dumps(servers))
    # What is imported as beat_actors, actors and bench is what lies there.
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    made = subprocess.run(argv, cwd=checkout, env=env, check=True, stdout=subprocess.PIPE)
    return {visit: Cost(*cost) for visit, cost in json.loads(made.stdout.splitlines()[-1]).items()}


@contextmanager
def fresh_database(servers: Servers) -> Iterator[psycopg.Connection]:
    """A migrated database, gone afterwards."""
    with psycopg.connect(servers["postgres"], autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS visits WITH (FORCE)")
        admin.execute("CREATE DATABASE visits")
        try:
            migrate.upgrade(servers["visits"])
            with psycopg.connect(servers["visits"], autocommit=True, options="-c statement_timeout=0") as connection:
                yield connection
        finally:
            admin.execute("DROP DATABASE visits WITH (FORCE)")


def writes(servers: Servers, count: int) -> dict[str, Cost]:
    """The statements that write what was read, `BATCH` scrapes at a time, on one connection."""
    endpoint = platforms()["instagram"].sources["lama"].endpoints["profile_by_handle"]
    asked = [FetchSpec("profile_by_handle", {"handle": handle(n)}) for n in range(count)]
    answers = list(bodies(count))
    found, fetch = {}, 0
    with fresh_database(servers) as connection:
        backend = psutil.Process(_one(connection, "SELECT pg_backend_pid()"))
        for visit, change in VISITS.items():
            batches = []
            for start in range(0, count, BATCH):
                read = [
                    endpoint.parse(change(answers[n]), asked[n]).records
                    for n in range(start, min(start + BATCH, count))
                ]
                batches.append(
                    [
                        _values(fetch + start, [records[:1] for records in read]),
                        _values(fetch + start, [records[1:] for records in read]),
                    ]
                )
            fetch += count
            lsn, cpu, began = _one(connection, LSN), spent(backend), time.perf_counter()
            for batch in batches:
                with connection.transaction():
                    for entity, values in zip(ENTITIES, batch, strict=True):
                        write(connection, entity, values)
            seconds = time.perf_counter() - began
            found[visit] = Cost(count / seconds, _bytes(connection, lsn) / count, (spent(backend) - cpu) * 1000 / count)
    return found


def write(connection: psycopg.Connection, entity: Entity, values: dict[str, Any]) -> None:
    """One kind of things, as the pipeline writes them. Checkouts from before assets were prepared here return no media."""
    written = connection.execute(write_records(entity), values)
    if written.description:
        from beat_actors.assets import intake

        found = [intake.Media._make(row[:8]) for row in written if row[1] is not None]
        rows = intake.newest(intake.rows_of("instagram", entity, found))
        if rows:
            connection.execute(intake.OBSERVE.text, intake.parameters(rows))


def _values(fetch: int, read: list[Sequence[Any]]) -> dict[str, Any]:
    numbers, size = list(range(fetch, fetch + len(read))), len(read)
    return {
        "platform": "instagram",
        "log_days": 90,
        "fetches": numbers,
        "requests": numbers,
        "accounts": [""] * size,
        "owners": [""] * size,
        "observed": [datetime.now(UTC)] * size,
        "sources": ["lama"] * size,
        "versions": [1] * size,
        "builds": [1] * size,
        "records": [msgspec.json.encode(list(map(told, records))).decode() for records in read],
    }


def told(record: Any) -> Any:
    """A record as ingest encodes it. Checkouts from before fields were told encode it as it is."""
    try:
        from beat_actors.platforms.interface import observed
    except ImportError:
        return record
    endpoint = platforms()["instagram"].sources["lama"].endpoints["profile_by_handle"]
    return observed(record, endpoint.tells)


def runs(servers: Servers, count: int) -> dict[str, Cost]:
    """Whole runs of the engine: workers and scheduler as in production."""
    handles = [handle(n) for n in range(count)]
    found: dict[str, Cost] = {}
    with fresh_database(servers) as connection:
        server = psutil.Process(_one(connection, "SELECT pg_backend_pid()")).parent()
        assert server is not None
        for visit, upstream_url in servers["upstreams"].items():
            setup = engine.Setup(servers["visits"], servers["valkey"], upstream_url)
            asyncio.run((engine.accept if found else engine.prepare)(setup, handles, count))
            earlier = _one(connection, "SELECT max(id) FROM scrape_request_log") - count
            lsn, cpu = _one(connection, LSN), spent(server)
            with engine.working(setup):
                engine.until_done(connection)
                wal, used = _bytes(connection, lsn), spent(server) - cpu
            seconds, complete = connection.execute(SPAN, (earlier,)).fetchone() or (0.0, 0)
            assert complete == count, f"{complete} of {count} are complete"
            found[visit] = Cost(count / seconds, wal / count, used * 1000 / count)
    return found


def spent(server: psutil.Process) -> float:
    """Seconds of CPU time of a server with its processes, also of those that have ended. The server's processes have one thread each."""
    while True:
        ended, used = _ended(server), 0.0
        for each in (server, *server.children()):
            try:
                used += _used(each)
            except psutil.NoSuchProcess:
                continue
        # What ends meanwhile would be counted twice, or not at all.
        if _ended(server) == ended:
            return ended + used


def _ended(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.children_user + times.children_system)


def _used(process: psutil.Process) -> float:
    """Linux counts nanoseconds here; what psutil reads has steps of 10 ms, which is much where a round takes 100 ms."""
    try:
        return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        times = process.cpu_times()
        return float(times.user + times.system)


def _bytes(connection: psycopg.Connection, since: int) -> float:
    return float(_one(connection, f"SELECT pg_current_wal_insert_lsn() - '{since}'::pg_lsn"))


def _one(connection: psycopg.Connection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
