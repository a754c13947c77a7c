"""Fetches that follow others, of the same run of a request."""

from collections.abc import Sequence
from typing import Any

from beat_actors.database import Transaction, jsonb
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.registry import platforms
from beat_actors.requests.lanes import LaneKey, lane_ids

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
# Of fetches that have failed those whose request goes on, with what it asks for.
GOES_ON = """
SELECT f.id, f.request_id, f.run, f.platform, f.operation, f.params, f.priority, l.flow, r.params AS request_params
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id JOIN scrape_request_log r ON r.id = f.request_id
WHERE f.id = ANY(%s) AND r.live AND r.retry_count = f.run
"""


async def follow_up(transaction: Transaction, wanted: Sequence[tuple[Any, FetchSpec]]) -> set[str]:
    """Add these fetches, each with the fetch (id, request_id, run, platform, flow, priority) that it follows; the platforms that have new work.

    The caller counts them to their requests, by `Closing.added`.
    """
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


def stands_apart(platform: str, flow: str) -> bool:
    """Whether the fetches of a flow stand by themselves."""
    known = platforms().get(platform)
    return known is not None and flow in known.flows and known.flows[flow].apart


async def those_beside(transaction: Transaction, fetch_ids: Sequence[int]) -> dict[int, int]:
    """Add what stands beside these fetches, which are the first of their requests and failed; how many, by fetch."""
    wanted = []
    for row in await transaction.rows(GOES_ON, (list(fetch_ids),)) if fetch_ids else ():
        spec = FetchSpec(row.operation, row.params)
        specs = platforms()[row.platform].flows[row.flow].follow_ups(spec, row.request_params, Parsed(()), 0)
        wanted += [(row, each) for each in specs]
    await follow_up(transaction, wanted)
    added: dict[int, int] = {}
    for row, _ in wanted:
        added[row.id] = added.get(row.id, 0) + 1
    return added
