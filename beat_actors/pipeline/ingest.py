"""Ingest: parse and validate what was retrieved, by the source's parser. A payload that cannot be read harms only itself."""

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import structlog

from beat_actors.database import jsonb
from beat_actors.engine import Engine
from beat_actors.errors import Malformed, Missing, Private
from beat_actors.failpoints import hit
from beat_actors.pipeline.records import pack_records, unpack
from beat_actors.pipeline.stage import SETTLE, UNSUSPECTED, StageResult, renewing, settlement_row
from beat_actors.platforms.interface import Endpoint, FetchSpec, Outcome, Parsed, Platform, Record
from beat_actors.platforms.registry import platforms
from beat_actors.requests.lifecycle import SUSPECT

log = structlog.get_logger(__name__)

Read = tuple[Any, dict[str, Any], Outcome]
"""A claim, its row for FINISH, and what its payload came to."""

# Tries are counted before the work, so that a payload that kills its worker counts too; at the limit the row comes back
# with `poison` set, and its payload is never touched again.
CLAIM = f"""
WITH mine AS (
    SELECT id FROM scrape_fetch
    WHERE id = ANY(%(ids)s) AND stage = 'RETRIEVED' AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND {UNSUSPECTED}
    ORDER BY id FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE scrape_fetch f SET fence = fence + 1, stage_attempts = stage_attempts + 1, claimed_at = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM mine WHERE f.id = mine.id
    RETURNING f.id, f.request_id, f.fence, f.platform, f.operation, f.params, f.cursor, f.page, f.owner, f.source, f.credential_id,
        f.probe, f.payload_at, f.stage_attempts > %(attempts)s AS poison,
        extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
)
SELECT c.*, CASE WHEN NOT c.poison THEN p.body END AS body, p.next_cursor, r.flow, r.params AS request_params, r.items
FROM claimed c JOIN scrape_request_log r ON r.id = c.request_id
LEFT JOIN raw_payload p ON p.fetch_id = c.id AND p.created_at = c.payload_at
"""  # noqa: S608 - a constant
FINISH = """
WITH n AS (
    SELECT r.*, p.records FROM jsonb_to_recordset(%(results)s::jsonb) AS r(
        id bigint, fence integer, version integer, kind text, error text, path text)
    LEFT JOIN unnest(%(ids)s::bigint[], %(records)b::bytea[]) AS p(id, records) USING (id)
), moved AS (
    UPDATE scrape_fetch f SET stage = CASE WHEN n.error IS NULL THEN 'INGESTED' ELSE 'SETTLING' END, records = n.records,
        parser_version = n.version, lease_until = NULL, stage_attempts = 0, sent_at = clock_timestamp()
    FROM n WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'RETRIEVED'
    RETURNING f.*, n.kind, n.error AS said, n.path
), quarantined AS (
    INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, request_id, payload_at, error, path)
    SELECT kind, platform, source, operation, parser_version, id, request_id, payload_at, said, path FROM moved WHERE kind IS NOT NULL
)
SELECT id FROM moved
"""


async def ingest(engine: Engine, fetch_ids: Sequence[int], *, alone: bool = False) -> StageResult:
    """Claim these fetches, parse their payloads, and commit records or the reason why there are none.

    `alone`: in this process nothing else is held, so suspects may be claimed.
    """
    result = StageResult()
    settings = engine.settings
    hit("ingest.before_claim", fetch_ids)
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
    if not claims:
        return result
    engine.database.pulse.claimed(claims)
    hit("ingest.after_claim", fetch_ids)
    async with renewing(engine.database, claims):
        read = [(claim, *_read(claim)) for claim in claims]
        hit("ingest.after_parse", fetch_ids)
        try:
            await _commit(engine, read, result)
        except psycopg.DataError:  # something in one of them cannot be stored: its neighbours can
            for item in read:
                await _commit_alone(engine, item, result)
    hit("ingest.after_commit", fetch_ids)
    return result


async def _commit_alone(engine: Engine, item: Read, result: StageResult) -> None:
    claim, row, _ = item
    try:
        await _commit(engine, [item], result)
    except psycopg.DataError as error:
        refused = {"id": row["id"], "fence": row["fence"], "version": row["version"], "kind": "malformed"}
        said = f"PostgreSQL cannot hold what was read: {str(error).splitlines()[0]}"
        await _commit(engine, [(claim, {**refused, "error": said}, Outcome.MALFORMED)], result)


async def _commit(engine: Engine, read: Sequence[Read], result: StageResult) -> None:
    async with engine.database.transaction() as transaction:
        good = [row for _, row, outcome in read if outcome is Outcome.PARSED]
        found = {"ids": [row["id"] for row in good], "records": [row["records"] for row in good]}
        results = [{name: value for name, value in row.items() if name != "records"} for _, row, _ in read]
        rows = await transaction.rows(FINISH, {"results": jsonb(results), **found})
        passed = {row.id for row in rows}
        done = [item for item in read if item[0].id in passed]
        settlements = _settlements(done)
        if settlements:
            await transaction.run(SETTLE, (jsonb(settlements),))
        hit("ingest.before_commit", found["ids"])
    result.zombies += len(read) - len(done)
    if len(read) > len(done):
        log.warning("fenced_writes", stage="ingest", rejected=len(read) - len(done))
    result.next += [claim.id for claim, _, outcome in done if outcome is Outcome.PARSED]
    result.ring |= {claim.platform for claim, _, outcome in done if outcome is not Outcome.PARSED or claim.probe}


def _read(claim: Any) -> tuple[dict[str, Any], Outcome]:
    """Parse one payload: the row for FINISH, and what it came to. Nothing that a payload does raises here."""
    row: dict[str, Any] = {"id": claim.id, "fence": claim.fence, "version": 0}
    if claim.poison:
        return row | {"kind": "poison", "error": "its worker died each time that it was parsed"}, Outcome.MALFORMED
    try:
        platform = platforms()[claim.platform]
        endpoint = platform.sources[claim.source].endpoints[claim.operation]
    except KeyError as error:
        said = (
            f"this version of Beat has no {error} to read it with ({claim.platform}, {claim.source}, {claim.operation})"
        )
        return row | {"kind": "malformed", "error": said}, Outcome.MALFORMED
    row["version"] = endpoint.version
    if claim.body is None:
        return row | {"kind": "malformed", "error": "its payload is gone"}, Outcome.MALFORMED
    spec = FetchSpec(claim.operation, claim.params, claim.cursor, claim.source, claim.page, claim.owner)
    hit("ingest.parse", (claim.source, claim.params))
    try:
        parsed = _parse(endpoint, unpack(claim.body), spec)
        if parsed.next_cursor is None and claim.next_cursor is not None:
            parsed = replace(parsed, next_cursor=claim.next_cursor)
        flow = platform.flows[claim.flow]
        follow_ups = flow.follow_ups(spec, claim.request_params, parsed, claim.items + len(parsed.records))
        records = pack_records(
            {"entities": _by_table(platform, parsed), "follow_ups": follow_ups, "items": len(parsed.records)}
        )
    except Missing as error:
        return row | {"error": str(error)}, Outcome.MISSING
    except Private as error:
        return row | {"error": str(error)}, Outcome.PRIVATE
    except Malformed as error:
        return row | {"kind": "malformed", "error": str(error), "path": error.path}, Outcome.MALFORMED
    except Exception as error:  # noqa: BLE001 - a parser's bug is that payload's misfortune, not its neighbours'
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        return row | {"kind": "malformed", "error": said[:1000]}, Outcome.MALFORMED
    return row | {"records": records}, Outcome.PARSED


def _parse(endpoint: Endpoint, body: bytes, spec: FetchSpec) -> Parsed:
    try:
        return endpoint.parse(body, spec)
    except RecursionError:
        raise Malformed("the answer is nested too deeply") from None


def _by_table(platform: Platform, parsed: Parsed) -> dict[str, list[Record]]:
    by_table: dict[str, list[Record]] = {}
    for record in parsed.records:
        by_table.setdefault(platform.entity_of(record).table, []).append(record)
    return by_table


def _settlements(done: Sequence[Read]) -> list[dict[str, Any]]:
    rows = []
    parsed: Counter[tuple[str, str, str, bool]] = Counter()
    for claim, row, outcome in done:
        if outcome is Outcome.PARSED:
            parsed[claim.platform, claim.source, claim.operation, claim.probe] += 1
        else:
            # The credential was settled when the call ended; what the parser finds is no fault of its own.
            said = {"code": row.get("path") or "", "detail": row["error"][:300]}
            rows.append(settlement_row(claim, outcome.value, credential_id=0, **said))
    for (platform, source, operation, probe), calls in parsed.items():
        rows.append(
            {"platform": platform, "source": source, "operation": operation, "probe": probe, "calls": calls}
            | {"credential_id": 0, "outcome": Outcome.PARSED.value, "code": "", "detail": ""}
        )
    return rows
