"""How fast wrong observations are found and set right: `make restore`.

A parser bug corrupts all entities of a log that has several good observations of each. Printed: seconds of `blast`, entities a second of the plan, the
restore and its undo, the CPU time of this process and of PostgreSQL for one of them, whether the rows were equal to the truth and to the corrupted bits, and how many
calls were made of providers (0). The CPU time says what a machine with other load can do when it is quiet.
"""

import argparse
import asyncio
import hashlib
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psutil
import psycopg

from beat_actors.database import Database, migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, running
from beat_actors.pipeline.writing import write_entities
from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.registry import platform
from beat_actors.restoring import jobs, worker
from beat_actors.restoring.blast import blast
from beat_actors.restoring.jobs import NewRestore
from beat_actors.restoring.selection import Selection
from beat_actors.settings import Settings
from bench.engine import KEY
from bench.visits import spent

GOAL = 2_000
"""Entities a second."""
BATCH = 500
ROWS = "SELECT to_jsonb(t) FROM instagram_account t ORDER BY profile_id"
CALLS = "SELECT (SELECT count(*) FROM trace_log) + (SELECT count(*) FROM scrape_fetch)"


def account(number: int, *, bad: bool, day: int) -> InstagramAccount:
    return InstagramAccount(
        profile_id=f"{number:09d}",
        handle=f"creator_{number:09d}",
        full_name=f"Creator {number}",
        biography=f"words of {number + bad} " * 10,
        followers=(1000 + number + day) * (1000 if bad else 1),
        following=number % 5000,
        media_count=number % 300 + day,
        is_private=False,
        is_verified=number % 9 == 0,
        category="bug" if bad else None,
    )


async def observe(
    database: Database, entities: int, at: datetime, *, version: int, day: int, bad: bool = False
) -> None:
    entity = platform("instagram").entity_in("instagram_account")
    for first in range(0, entities, BATCH):
        some = range(first, min(first + BATCH, entities))
        count = len(some)
        values = {
            "fetches": [day * entities + number + 1 for number in some],
            "requests": [day * entities + number + 1 for number in some],
            "accounts": [""] * count,
            "owners": [""] * count,
            "observed": [at + timedelta(milliseconds=number) for number in some],
            "sources": ["lama"] * count,
            "versions": [version] * count,
            "builds": [None] * count,
            "records": [msgspec.json.encode([account(number, bad=bad, day=day)]).decode() for number in some],
        }
        async with database.transaction() as transaction:
            await write_entities(transaction, "instagram", entity, values)


async def rows_of(database: Database) -> list[dict[str, Any]]:
    async with database.transaction() as transaction:
        await transaction.run("SET LOCAL statement_timeout = '120s'")
        return [row[0] for row in await transaction.rows(ROWS)]


async def digest(database: Database) -> str:
    return hashlib.sha256(msgspec.json.encode(await rows_of(database))).hexdigest()


class Stopwatch:
    """Wall clock, and CPU time of this process and of PostgreSQL, since it was made."""

    def __init__(self, server: psutil.Process) -> None:
        self.server = server
        self._began, self._own, self._servers = time.monotonic(), time.process_time(), spent(server)

    def read(self) -> tuple[float, float, float]:
        """Seconds."""
        own, servers = time.process_time() - self._own, spent(self.server) - self._servers
        return time.monotonic() - self._began, own, servers


async def measure(settings: Settings, postgres: PostgresServer, entities: int, observations: int) -> int:
    server = psutil.Process(int((postgres.data / "postmaster.pid").read_text().split()[0]))
    database = Database(settings, name="bench")
    start = datetime.now(UTC) - timedelta(days=observations + 1)
    for day in range(observations):
        await observe(database, entities, start + timedelta(days=day), version=7, day=day)
    truth = await rows_of(database)
    bad_at = start + timedelta(days=observations)
    await observe(database, entities, bad_at, version=8, day=observations, bad=True)
    corrupted = await digest(database)
    calls = await _value(database, CALLS)
    # As autovacuum does; the role of processes may not.
    with psycopg.connect(postgres.url, autocommit=True) as owner:
        owner.execute("ANALYZE")
    selection = Selection(since=bad_at - timedelta(hours=1), parser_version=8)
    watch = Stopwatch(server)
    found = await blast(database, selection)
    wall, own, servers = watch.read()
    print(
        f"blast: {found.entities:,} entities of {entities * (observations + 1):,} log rows in {wall:.2f} s ({own + servers:.2f} s of CPU)"
    )
    async with database.transaction() as transaction:
        made = await jobs.create(
            transaction, NewRestore(since=selection.since, parser_version=8, reason="bench"), actor="bench"
        )
    await _timed("plan", database, made.id, entities, server)
    async with database.transaction() as transaction:
        await jobs.apply(transaction, made.id, actor="bench", reason="bench")
    rate = await _timed("restore", database, made.id, entities, server)
    now = await rows_of(database)
    async with database.transaction() as transaction:
        done = await jobs.restore(transaction, made.id)
    fields = [name for name in truth[0] if not name.startswith("dimensions_") and name != "changed_at"]
    wrong = sum(a[name] != b[name] for a, b in zip(truth, now, strict=True) for name in fields)
    async with database.transaction() as transaction:
        await jobs.undo(transaction, done.token or "", actor="bench", reason="bench")
    await _timed("undo", database, made.id, entities, server)
    same = await digest(database) == corrupted
    made_calls = await _value(database, CALLS) - calls
    print(
        f"fields that are not the truth after the restore: {wrong}; bits as before it after the undo: {'yes' if same else 'NO'}; calls: {made_calls}"
    )
    await database.close()
    return int(bool(wrong) or not same or bool(made_calls) or rate < GOAL)


async def _timed(what: str, database: Database, job: int, entities: int, server: psutil.Process) -> float:
    watch = Stopwatch(server)
    await worker.work(database, job)
    wall, own, servers = watch.read()
    print(
        f"{what}: {entities / wall:,.0f} entities a second, {1e3 * own / entities:.2f} + {1e3 * servers / entities:.2f} ms of CPU (here, PostgreSQL) each: "
        f"{entities / (own + servers):,.0f} a second of CPU",
        flush=True,
    )
    return entities / wall


async def _value(database: Database, sql: str) -> Any:
    async with database.transaction() as transaction:
        return await transaction.value(sql)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="make restore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=5, help="good observations of each")
    given = parser.parse_args(arguments)
    with temporary_home() as home:
        postgres = PostgresServer.at(home)
        with running(home, postgres):
            migrate.upgrade(postgres.owner_url, postgres.process_url)
            settings = Settings(
                database_url=postgres.process_url,  # type: ignore[arg-type]
                redis_url="redis://localhost",  # type: ignore[arg-type]
                vault_keys=KEY,  # type: ignore[arg-type]
                message_keys=KEY,  # type: ignore[arg-type]
            )
            return asyncio.run(measure(settings, postgres, given.entities, given.observations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
