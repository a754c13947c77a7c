"""How fast wrong observations are found and set right: `make restore`.

A parser bug corrupts all entities of a log that has several good observations of each. Printed: seconds of `blast`, entities a second of the plan, the
restore and its undo, whether the rows were equal to the truth and to the corrupted bits, and how many calls were made of providers (0).
"""

import argparse
import asyncio
import hashlib
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

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


async def measure(settings: Settings, entities: int, observations: int) -> int:
    database = Database(settings, name="bench")
    start = datetime.now(UTC) - timedelta(days=observations + 1)
    for day in range(observations):
        await observe(database, entities, start + timedelta(days=day), version=7, day=day)
    truth = await rows_of(database)
    bad_at = start + timedelta(days=observations)
    await observe(database, entities, bad_at, version=8, day=observations, bad=True)
    corrupted = await digest(database)
    calls = await _value(database, CALLS)
    async with database.statements() as alone:
        await alone.run("ANALYZE")
    selection = Selection(since=bad_at - timedelta(hours=1), parser_version=8)
    began = time.monotonic()
    found = await blast(database, selection)
    print(
        f"blast: {found.entities:,} entities of {entities * (observations + 1):,} log rows in {time.monotonic() - began:.2f} s"
    )
    async with database.transaction() as transaction:
        made = await jobs.create(
            transaction, NewRestore(since=selection.since, parser_version=8, reason="bench"), actor="bench"
        )
    await _timed("plan", database, made.id, entities)
    async with database.transaction() as transaction:
        await jobs.apply(transaction, made.id, actor="bench", reason="bench")
    rate = await _timed("restore", database, made.id, entities)
    now = await rows_of(database)
    async with database.transaction() as transaction:
        done = await jobs.restore(transaction, made.id)
    fields = [name for name in truth[0] if not name.startswith("dimensions_") and name != "changed_at"]
    wrong = sum(a[name] != b[name] for a, b in zip(truth, now, strict=True) for name in fields)
    async with database.transaction() as transaction:
        await jobs.undo(transaction, done.token or "", actor="bench", reason="bench")
    await _timed("undo", database, made.id, entities)
    same = await digest(database) == corrupted
    made_calls = await _value(database, CALLS) - calls
    print(
        f"fields that are not the truth after the restore: {wrong}; bits as before it after the undo: {'yes' if same else 'NO'}; calls: {made_calls}"
    )
    await database.close()
    return int(bool(wrong) or not same or bool(made_calls) or rate < GOAL)


async def _timed(what: str, database: Database, job: int, entities: int) -> float:
    began = time.monotonic()
    await worker.work(database, job)
    rate = entities / (time.monotonic() - began)
    print(f"{what}: {rate:,.0f} entities a second")
    return rate


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
            return asyncio.run(measure(settings, given.entities, given.observations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
