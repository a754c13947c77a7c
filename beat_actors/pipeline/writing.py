"""What was read of answers, written in the caller's transaction: entities, the fetches that are wanted next, and the ends of requests."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeAlias

from beat_actors.database import Composed, Transaction, arrays
from beat_actors.failpoints import hit
from beat_actors.fetches.claims import Ingested, Retrieved
from beat_actors.fetches.follow_ups import follow_up
from beat_actors.pipeline.entities import write_records
from beat_actors.pipeline.records import Records
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
    # Always in this order, and by key within a statement, so that two batches with the same entities cannot deadlock.
    for (platform_name, table), rows in sorted(by_table.items()):
        entity = platforms()[platform_name].entity_in(table)
        values = arrays(rows, *WRITTEN)
        await transaction.run(
            Composed("pipeline/entities.write_records", write_records(entity)),
            {"platform": platform_name, "log_days": transaction.settings.log_days, **values},
        )


def _closing(claim: Claimed, records: Records) -> Closing:
    data: dict[str, Any] = {"source": claim.source} if claim.is_first else {}
    if records.partial is not None:
        data["partial"] = records.partial
    return Closing(claim.request_id, claim.run, len(records.follow_ups), records.items, data, claim.payload_at)
