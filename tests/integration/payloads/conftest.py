"""A database with raw payloads of past days, and a bucket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.payloads.archive import Archiver, folder
from beat_actors.payloads.reading import packed
from beat_actors.pipeline.records import pack, unpack
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore

FILL = """
INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body, next_cursor)
SELECT id, %s, 1, 'a', body, 'next' FROM unnest(%s::bigint[], %s::bytea[]) AS n(id, body)
"""


def text(fetch_id: int) -> bytes:
    """What was answered to a fetch."""
    return b'{"of": %d, "words": "%s"}' % (fetch_id, b" ".join(b"w%d" % (fetch_id * n) for n in range(60)))


@dataclass
class Archive:
    """`admin`: the superuser's connection."""

    database: Database
    store: ObjectStore
    admin: psycopg.Connection

    @property
    def today(self) -> date:
        (now,) = self.admin.execute("SELECT clock_timestamp()").fetchone() or ()
        return now.astimezone(UTC).date()

    def fill(self, ago: int, fetches: range) -> date:
        """Answers of a past day, in a partition of their own."""
        day = self.today - timedelta(days=ago)
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        self.admin.execute(FILL, (at, list(fetches), [pack(text(fetch)) for fetch in fetches]))
        self.admin.execute("SELECT beat_make_partition('raw_payload', %s)", (day,))
        return day

    def count(self, sql: str, *params: object) -> int:
        (found,) = self.admin.execute(sql, params).fetchone() or (0,)
        return int(found)

    @property
    def days(self) -> int:
        """Past days that PostgreSQL has payloads of."""
        return self.count(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^raw_payload_[0-9]{8}$' "
            "AND to_date(right(relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - 1"
        )

    @property
    def archived(self) -> int:
        return self.count("SELECT count(*) FROM archived_payload")

    async def objects(self) -> set[str]:
        return set(await self.store.keys(await folder(self.database)))

    def named(self) -> set[str]:
        """Keys of objects that the index names."""
        rows = self.admin.execute(
            "SELECT DISTINCT key FROM payload_object o JOIN archived_payload a ON a.object_id = o.id"
        )
        return {key for (key,) in rows}

    async def read(self, fetch_id: int) -> bytes:
        return unpack(await packed(self.database, fetch_id))

    async def all_is_read(self, fetches: range) -> None:
        for fetch_id in fetches:
            assert await self.read(fetch_id) == text(fetch_id)


@pytest.fixture
async def archive(with_bucket: Settings, database_url: str) -> AsyncIterator[Archive]:
    database = Database(with_bucket, name="test")
    store = ObjectStore.of(with_bucket)
    assert store is not None
    with psycopg.connect(database_url, autocommit=True) as admin:
        yield Archive(database, store, admin)
    await database.close()


@pytest.fixture
def archiver() -> Archiver:
    """With objects of ten payloads at most."""
    return Archiver(payloads=10)
