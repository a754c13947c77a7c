"""Things that a platform's provider has told, written as the pipeline writes them, and older than they are."""

from collections.abc import Sequence
from typing import Any

import msgspec

from beat_actors.database import Database
from beat_actors.pipeline.accounts import Brought, note
from beat_actors.pipeline.entities import write_records
from beat_actors.platforms.interface import Record
from beat_actors.platforms.registry import platform as platform_named

REQUEST = """
INSERT INTO scrape_request_log (platform, flow, params, status, account_id, scraped_at, open_fetches)
VALUES (%s, 'test', '{}', 'COMPLETE', %s, clock_timestamp(), 0) RETURNING id
"""


async def observe(
    database: Database,
    platform: str,
    *records: Record,
    account_id: str | None = None,
    source: str = "graphapi",
    fetch: int = 1,
) -> int:
    """Records of one type, all read from one answer; the request that brought them."""
    async with database.transaction() as transaction:
        request = int(await transaction.value(REQUEST, (platform, account_id)))
        values = {
            "platform": platform,
            "fetches": [fetch],
            "requests": [request],
            "sources": [source],
            "versions": [1],
            "records": [msgspec.json.encode(records).decode()],
        }
        where = platform_named(platform)
        entity = where.entity_of(records[0])
        await transaction.run(write_records(entity), values)
        if account_id is not None:
            await note(transaction, [Brought(account_id, request, where, entity, msgspec.json.encode(records))])
    return request


async def age(database: Database, seconds: float, *tables: str) -> None:
    """All that these tables hold was observed so much earlier."""
    async with database.transaction() as transaction:
        for table in tables:
            await transaction.run(
                f'UPDATE "{table}" SET observed_at = observed_at - make_interval(secs => %s)', (seconds,)
            )


async def rows(database: Database, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    async with database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]
