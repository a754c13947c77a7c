"""A database with answers that were stored, and with what their parsers read of them then."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from beat_actors.assets import intake
from beat_actors.database import Database
from beat_actors.parsers.diff import Difference, diff
from beat_actors.pipeline.holes import read
from beat_actors.pipeline.records import pack
from beat_actors.pipeline.writing import write_entities
from beat_actors.platforms.interface import Endpoint, FetchSpec, Parsed
from beat_actors.platforms.registry import platforms, source_named

FETCH = """
INSERT INTO scrape_fetch (request_id, platform, operation, params, cursor, lane_id, priority, stage, source, payload_at, parser_version)
VALUES (7, %s, %s, %s, %s, 1, 1, %s, %s, %s, %s) RETURNING id
"""
PAYLOAD = "INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body) VALUES (%s, %s, 1, %s, %s)"


@dataclass
class Stored:
    """`admin`: the superuser's connection. `at`: the time of the next answer."""

    database: Database
    admin: psycopg.Connection
    at: datetime

    async def keep(
        self, source: str, operation: str, body: bytes, params: dict[str, Any] | None = None, *, stage: str = "DONE"
    ) -> int:
        """Store an answer, and what the parser that is installed now reads of it, as the stages do; the fetch."""
        name, declared = source_named(source)
        platform, endpoint, params = platforms()[name], declared.endpoints[operation], params or {}
        self.at += timedelta(seconds=1)
        with self.admin.transaction():
            self.admin.execute("SET LOCAL session_replication_role = replica")  # there is no request and no lane
            values = (
                name,
                operation,
                msgspec.json.encode(params).decode(),
                None,
                stage,
                source,
                self.at,
                endpoint.version,
            )
            (fetch,) = self.admin.execute(FETCH, values).fetchone() or (0,)
            self.admin.execute(PAYLOAD, (fetch, self.at, source, pack(body)))
        if stage != "DONE":
            return int(fetch)
        spec = FetchSpec(operation, params, source=source)
        parsed, _ = read(lambda some: endpoint.parse(some, spec), body, platform.record_lists)
        tables: dict[str, list[Any]] = {}
        for record in parsed.records:
            tables.setdefault(platform.entity_of(record).table, []).append(record)
        async with self.database.transaction() as transaction:
            for table, records in tables.items():
                written: dict[str, object] = {
                    "fetches": [fetch],
                    "requests": [7],
                    "accounts": [""],
                    "owners": [""],
                    "observed": [self.at],
                    "sources": [source],
                    "versions": [endpoint.version],
                    "builds": [None],
                    "records": [msgspec.json.encode(records).decode()],
                }
                found = await write_entities(transaction, name, platform.entity_in(table), written)
                await intake.observe(transaction, found)
        return int(fetch)

    async def diff(self, source: str, operation: str, *, last: int = 10_000, threshold: float = 0.005) -> Difference:
        return await diff(self.database, source, operation, last=last, threshold=threshold)

    def sizes(self) -> dict[str, int]:
        """How many rows each table has."""
        tables = self.admin.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        return {name: self._count(name) for (name,) in tables.fetchall()}

    def _count(self, table: str) -> int:
        (found,) = self.admin.execute(f'SELECT count(*) FROM "{table}"').fetchone() or (0,)
        return int(found)


@pytest.fixture
async def stored(database: Database, database_url: str) -> AsyncIterator[Stored]:
    with psycopg.connect(database_url, autocommit=True) as admin:
        (now,) = admin.execute("SELECT clock_timestamp() - interval '1 hour'").fetchone() or ()
        yield Stored(database, admin, now)


Change = Callable[[Parsed], Parsed]
Deploy = Callable[[str, str, Change], None]


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Install another parser of an operation: what it reads is what the old one reads, changed."""

    def install(source: str, operation: str, change: Change) -> None:
        endpoints: Any = source_named(source)[1].endpoints
        old: Endpoint = endpoints[operation]

        def parse(body: bytes, spec: FetchSpec) -> Parsed:
            return change(old.parse(body, spec))

        monkeypatch.setitem(endpoints, operation, replace(old, parse=parse, version=old.version + 1))

    return install


def each(change: Callable[[Any], Any]) -> Change:
    """A change of every record; None leaves it out."""

    def changed(parsed: Parsed) -> Parsed:
        records = (change(record) for record in parsed.records)
        return replace(parsed, records=[record for record in records if record is not None])

    return changed
