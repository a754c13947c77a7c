"""What was read of answers, written in the caller's transaction: entities, the fetches that are wanted next, and the ends of requests."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from beat_actors.assets import intake
from beat_actors.database import Transaction, arrays
from beat_actors.failpoints import hit
from beat_actors.fetches.claims import Ingested, Retrieved
from beat_actors.fetches.follow_ups import follow_up
from beat_actors.pipeline.entities import writing
from beat_actors.pipeline.records import Records
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platforms
from beat_actors.requests.lifecycle import Closing, close

Claimed: TypeAlias = Retrieved | Ingested
Read = tuple[Claimed, Records]
"""A claim, and what was read for it."""

# The arrays that `write_records` takes, in the order of the rows that `_write` makes.
WRITTEN = ("fetches", "requests", "accounts", "owners", "observed", "sources", "versions", "records")


async def write(transaction: Transaction, read: Sequence[Read]) -> set[str]:
    """Write what was read for fetches that this transaction has moved to DONE; the platforms that have new work."""
    await _write_entities(transaction, read)
    followed = await follow_up(transaction, [(claim, spec) for claim, records in read for spec in records.follow_ups])
    await close(transaction, [_closing(claim, records) for claim, records in read])
    return followed


async def _write_entities(transaction: Transaction, read: Sequence[Read]) -> None:
    by_table: defaultdict[tuple[str, str], list[tuple[object, ...]]] = defaultdict(list)
    for claim, records in read:
        hit("process.write", claim.request_id)
        for table, found in records.entities.items():
            identity = (claim.account_id or "", claim.owner or "", claim.payload_at, claim.source, claim.parser_version)
            row = (claim.id, claim.request_id, *identity, str(found, "utf-8"))
            by_table[claim.platform, table].append(row)
    media: list[intake.Row] = []
    # Always in this order, and by key within a statement, so that two batches with the same entities cannot deadlock. Assets come last.
    for (platform, table), rows in sorted(by_table.items()):
        entity = platforms()[platform].entity_in(table)
        media += await write_entities(transaction, platform, entity, arrays(rows, *WRITTEN))
    await intake.observe(transaction, media)


async def write_entities(
    transaction: Transaction, platform: str, entity: Entity, values: Mapping[str, object]
) -> list[intake.Row]:
    """Write records of one kind, given as the arrays in `WRITTEN`; the assets that are to be observed after all kinds are written."""
    parameters = {"platform": platform, "log_days": transaction.settings.log_days, **values}
    if not entity.assets:
        await transaction.run(writing(entity), parameters)
        return []
    return intake.rows_of(platform, entity, await transaction.rows(writing(entity), parameters))


def _closing(claim: Claimed, records: Records) -> Closing:
    data: dict[str, Any] = {"source": claim.source} if claim.is_first else {}
    if records.partial is not None:
        data["partial"] = records.partial
    return Closing(claim.request_id, claim.run, len(records.follow_ups), records.items, data, claim.payload_at)
