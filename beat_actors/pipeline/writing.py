"""What was read of answers, written in the caller's transaction: entities, the fetches that are wanted next, and the ends of requests."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from beat_actors.database import Transaction, columns, jsonb
from beat_actors.failpoints import hit
from beat_actors.pipeline.entities import write_records
from beat_actors.pipeline.records import Records
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.registry import platforms
from beat_actors.requests.lanes import LaneKey, lane_ids
from beat_actors.requests.lifecycle import Closing, close

Read = tuple[Any, Records]
"""A claim, and what was read for it."""

# What nobody wants any more, the request having ended or been run anew meanwhile, is not asked for. The deadline is its parent's.
FOLLOW_UP = """
INSERT INTO scrape_fetch (request_id, run, lane_id, platform, operation, params, cursor, cursor_source, page, is_first, priority, expires_at, owner, tenant, listing)
SELECT n.request_id, n.run, n.lane_id, n.platform, n.operation, n.params, n.cursor, n.cursor_source, n.page, false, n.priority, p.expires_at, n.owner, p.tenant, n.listing
FROM jsonb_to_recordset(%s::jsonb) AS n(
    request_id bigint, run integer, parent bigint, lane_id integer, platform text, operation text, params jsonb, cursor text,
    cursor_source text, page integer, priority smallint, owner text, listing jsonb)
JOIN scrape_fetch p ON p.id = n.parent
JOIN scrape_request_log r ON r.id = n.request_id AND r.live AND r.retry_count = n.run
"""
# The arrays that `write_records` takes, in the order of the rows that `_write` makes.
WRITTEN = ("fetches", "requests", "accounts", "owners", "observed", "sources", "versions", "records")


async def write(transaction: Transaction, read: Sequence[Read]) -> set[str]:
    """Write what was read for fetches that this transaction has moved to DONE; the platforms that have new work."""
    await _write_entities(transaction, read)
    followed = await _follow_up(transaction, read)
    await close(transaction, [_closing(claim, records) for claim, records in read])
    return followed


async def _write_entities(transaction: Transaction, read: Sequence[Read]) -> None:
    by_table: defaultdict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for claim, records in read:
        hit("process.write", claim.request_id)
        for table, found in records.entities.items():
            told = (claim.account_id or "", claim.owner or "", claim.payload_at, claim.source, claim.parser_version)
            row = (claim.id, claim.request_id, *told, str(found, "utf-8"))
            by_table[claim.platform, table].append(row)
    # Always in this order, and by key within a statement, so that two batches with the same entities cannot deadlock.
    for (platform_name, table), rows in sorted(by_table.items()):
        entity = platforms()[platform_name].entity_in(table)
        values = dict(zip(WRITTEN, columns(rows, len(WRITTEN)), strict=True))
        await transaction.run(write_records(entity), {"platform": platform_name, **values})


async def _follow_up(transaction: Transaction, read: Sequence[Read]) -> set[str]:
    """Add the fetches that the parsers asked for; returns the platforms that have new work."""
    wanted = [(claim, spec) for claim, records in read for spec in records.follow_ups]
    if not wanted:
        return set()
    keys = [_lane(claim, spec) for claim, spec in wanted]
    ids = await lane_ids(transaction, set(keys))
    rows = [
        {
            "request_id": claim.request_id,
            "run": claim.run,
            "parent": claim.id,
            "lane_id": ids[key],
            "platform": claim.platform,
            "operation": spec.operation,
            "params": spec.params,
            "cursor": spec.cursor,
            "cursor_source": spec.source,
            "page": spec.page,
            "priority": claim.priority,
            "owner": spec.owner,
            "listing": spec.listing,
        }
        for (claim, spec), key in zip(wanted, keys, strict=True)
    ]
    await transaction.run(FOLLOW_UP, (jsonb(rows),))
    return {claim.platform for claim, _ in wanted}


def _lane(claim: Any, spec: FetchSpec) -> LaneKey:
    pinned = spec.source
    chain = (pinned,) if pinned else platforms()[claim.platform].chains[spec.operation]
    return LaneKey(claim.platform, claim.flow, spec.operation, claim.priority, chain, spec.owner or "")


def _closing(claim: Any, records: Records) -> Closing:
    data: dict[str, Any] = {"source": claim.source} if claim.is_first else {}
    if records.partial is not None:
        data["partial"] = records.partial
    return Closing(claim.request_id, claim.run, len(records.follow_ups), records.items, data, claim.payload_at)
