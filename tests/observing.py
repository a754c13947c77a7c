"""Things that a platform's provider has told, written as the pipeline writes them, and older than they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from beat_actors.access import grants
from beat_actors.access.grants import Use
from beat_actors.assets import intake
from beat_actors.database import Database, Transaction
from beat_actors.pipeline.writing import write_entities
from beat_actors.platforms.interface import Record, Tells, observed
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
    owner: str | None = None,
    source: str = "graphapi",
    fetch: int = 1,
    at: datetime | None = None,
    tells: Tells | None = None,
) -> int:
    """Records of one type, all read from one answer; the request that brought them. `owner`: whose credential made the call. `at`: when the
    answer came; now if it is not given. `tells`: what the endpoint declares."""
    async with database.transaction() as transaction:
        return await observe_in(
            transaction,
            platform,
            *records,
            account_id=account_id,
            owner=owner,
            source=source,
            fetch=fetch,
            at=at,
            tells=tells,
        )


async def observe_in(
    transaction: Transaction,
    platform: str,
    *records: Record,
    account_id: str | None = None,
    owner: str | None = None,
    source: str = "graphapi",
    fetch: int = 1,
    at: datetime | None = None,
    tells: Tells | None = None,
) -> int:
    """The same in this transaction."""
    request = int(await transaction.value(REQUEST, (platform, account_id)))
    values = {
        "fetches": [fetch],
        "requests": [request],
        "accounts": [account_id or ""],
        "owners": [owner or ""],
        "observed": [at or await transaction.value("SELECT clock_timestamp()")],
        "sources": [source],
        "versions": [1],
        "builds": [None],
        "records": [msgspec.json.encode([observed(one, tells) for one in records]).decode()],
    }
    entity = platform_named(platform).entity_of(records[0])
    await intake.observe(transaction, await write_entities(transaction, platform, entity, values))
    return request


async def granted(database: Database, account_id: str, platform: str, *owners: str) -> None:
    """Let an account use these owners."""
    async with database.transaction() as transaction:
        for owner in owners:
            await grants.grant(transaction, Use(account_id, platform, owner), reason="test", actor="test")


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
