"""Process: one transaction that writes what was read, adds follow-ups, and ends what is done. All of it or nothing."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog

from beat_actors.database import Transaction, columns, jsonb
from beat_actors.engine import Engine
from beat_actors.failpoints import hit
from beat_actors.pipeline.accounts import Brought, note
from beat_actors.pipeline.entities import write_records
from beat_actors.pipeline.records import Records, unpack_records
from beat_actors.pipeline.stage import UNSUSPECTED, StageResult
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.registry import platforms
from beat_actors.requests.lanes import LaneKey, lane_ids
from beat_actors.requests.lifecycle import SUSPECT, Closing, close, fail_fetches

Read = tuple[Any, Records]
"""A claim, and what was read for it."""

log = structlog.get_logger(__name__)

CLAIM = f"""
WITH mine AS (
    SELECT id FROM scrape_fetch
    WHERE id = ANY(%(ids)s) AND stage = 'INGESTED' AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND {UNSUSPECTED}
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET fence = fence + 1, stage_attempts = stage_attempts + 1, claimed_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM mine, lane l WHERE f.id = mine.id AND l.id = f.lane_id
RETURNING f.id, f.request_id, f.run, f.fence, f.platform, l.flow, f.operation, f.source, f.parser_version, f.priority, f.page,
    f.records, f.is_first, f.payload_at, (SELECT r.account_id FROM scrape_request_log r WHERE r.id = f.request_id) AS account_id,
    f.stage_attempts > %(attempts)s AS poison, extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
"""  # noqa: S608 - a constant
DONE = """
UPDATE scrape_fetch f SET stage = 'DONE', lease_until = NULL, records = NULL
FROM unnest(%s::bigint[], %s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'INGESTED' RETURNING f.id
"""
# What nobody wants any more, the request having ended or been run anew meanwhile, is not asked for. The deadline is its parent's.
FOLLOW_UP = """
INSERT INTO scrape_fetch (request_id, run, lane_id, platform, operation, params, cursor, cursor_source, page, is_first, priority, expires_at, owner)
SELECT n.request_id, n.run, n.lane_id, n.platform, n.operation, n.params, n.cursor, n.cursor_source, n.page, false, n.priority, p.expires_at, n.owner
FROM jsonb_to_recordset(%s::jsonb) AS n(
    request_id bigint, run integer, parent bigint, lane_id integer, platform text, operation text, params jsonb, cursor text,
    cursor_source text, page integer, priority smallint, owner text)
JOIN scrape_fetch p ON p.id = n.parent
JOIN scrape_request_log r ON r.id = n.request_id AND r.live AND r.retry_count = n.run
"""
QUARANTINE = """
INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, request_id, payload_at, error)
SELECT 'poison', platform, source, operation, parser_version, id, request_id, payload_at, %s FROM scrape_fetch WHERE id = %s
"""


async def process(engine: Engine, fetch_ids: Sequence[int], *, alone: bool = False) -> StageResult:
    """Claim these fetches and commit them together; if one of them cannot be written, each by itself.

    `alone`: in this process nothing else is held, so suspects may be claimed.
    """
    result = StageResult()
    settings = engine.settings
    hit("process.before_claim", fetch_ids)
    async with engine.database.transaction() as transaction:
        claims = await transaction.rows(
            CLAIM,
            {
                "ids": list(fetch_ids),
                "lease": settings.stage_lease,
                "attempts": settings.stage_attempts,
                "suspect": SUSPECT,
                "alone": alone,
            },
            binary=True,
        )
    if claims:
        engine.database.pulse.claimed(claims)
        hit("process.after_claim", fetch_ids)
    poison = [claim for claim in claims if claim.poison]
    sound = [claim for claim in claims if not claim.poison]
    for claim in poison:
        await _quarantine(engine, claim, "its worker died each time that it was processed")
    try:
        await _commit(engine, sound, result)
    except (psycopg.DataError, psycopg.IntegrityError):
        for claim in sound:
            await _commit_alone(engine, claim, result)
    if claims:
        hit("process.after_commit", fetch_ids)
    return result


async def _commit_alone(engine: Engine, claim: Any, result: StageResult) -> None:
    try:
        await _commit(engine, [claim], result)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        await _quarantine(engine, claim, f"PostgreSQL refuses it: {str(error).splitlines()[0]}")


async def _commit(engine: Engine, claims: Sequence[Any], result: StageResult) -> None:
    if not claims:
        return
    async with engine.database.transaction() as transaction:
        rows = await transaction.rows(DONE, ([claim.id for claim in claims], [claim.fence for claim in claims]))
        passed = {row.id for row in rows}
        done = [claim for claim in claims if claim.id in passed]
        read = [(claim, unpack_records(claim.records)) for claim in done]
        await _write(transaction, read)
        followed = await _follow_up(transaction, read)
        await close(transaction, [_closing(claim, records) for claim, records in read])
        hit("process.before_commit", passed)
    result.zombies += len(claims) - len(done)
    if len(claims) > len(done):
        log.warning("fenced_writes", stage="process", rejected=len(claims) - len(done))
    result.ring |= followed


async def _write(transaction: Transaction, read: Sequence[Read]) -> None:
    by_table: defaultdict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    brought: list[Brought] = []
    for claim, records in read:
        hit("process.write", claim.request_id)
        for table, found in records.entities.items():
            row = (claim.id, claim.request_id, claim.source, claim.parser_version, str(found, "utf-8"))
            by_table[claim.platform, table].append(row)
            if claim.account_id is not None:
                platform = platforms()[claim.platform]
                brought.append(Brought(claim.account_id, claim.request_id, platform, platform.entity_in(table), found))
    # Always in this order, and by key within a statement, so that two batches with the same entities cannot deadlock.
    for (platform_name, table), rows in sorted(by_table.items()):
        entity = platforms()[platform_name].entity_in(table)
        names = ("fetches", "requests", "sources", "versions", "records")
        await transaction.run(
            write_records(entity), {"platform": platform_name, **dict(zip(names, columns(rows, 5), strict=True))}
        )
    if brought:
        await note(transaction, brought)


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
    return Closing(claim.request_id, claim.run, len(records.follow_ups), records.items, data, claim.payload_at)


async def _quarantine(engine: Engine, claim: Any, error: str) -> None:
    async with engine.database.transaction() as transaction:
        await transaction.run(QUARANTINE, (error, claim.id))
        await fail_fetches(transaction, [(claim.id, {"code": "poison", "message": error})], stages=("INGESTED",))
    log.error("quarantined", fetch=claim.id, request=claim.request_id, error=error)
