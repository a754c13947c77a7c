"""Retrieve: make the batch's upstream calls at once; keep what came back, and trace every call.

A lease is for one call. It is claimed before the call, so that a worker that dies leaves a call of unknown outcome, which
stays charged; a lease that was not claimed in time is returned unused.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import structlog

from beat_actors.credentials.life import without_doubt
from beat_actors.database import Transaction, jsonb
from beat_actors.engine import Engine
from beat_actors.errors import Malformed, StorageUnavailable
from beat_actors.failpoints import hit
from beat_actors.pipeline import upkeep
from beat_actors.pipeline.call import NO_EXCHANGE, Attempt, attempt, not_made, plain, reported, traced, unreadable
from beat_actors.pipeline.records import pack
from beat_actors.pipeline.stage import SETTLE, StageResult, renewing, settlement_row
from beat_actors.platforms.interface import Endpoint, FetchSpec, Outcome, Verdict
from beat_actors.platforms.registry import platforms

log = structlog.get_logger(__name__)

AGAIN, AGAIN_MOST = 0.1, 2.0
"""Seconds until a commit that PostgreSQL did not answer is tried again, at first and at most."""

# Claims each lease once: the fence rises, and `lease_until` says that somebody is at it. A lease that is too old, whose
# credential has been put out of use since, that nobody wants any more or whose deadline has passed, is handed back. A row that
# another worker holds is skipped, not waited for. Fetches that one call answers come with the one to which it was leased, and only with it.
CLAIM = """
WITH head AS (
    SELECT id FROM scrape_fetch WHERE id = ANY(%(ids)s) AND stage = 'LEASED' AND lease_until IS NULL AND call_of IS NULL
    ORDER BY id FOR UPDATE SKIP LOCKED
), mine AS (
    SELECT id FROM head UNION ALL
    SELECT f.id FROM head JOIN scrape_fetch f ON f.call_of = head.id AND f.stage = 'LEASED' AND f.lease_until IS NULL
), judged AS (
    SELECT f.id, c.key_id, c.secret, c.generation, c.id IS NOT NULL AND f.use_until > clock_timestamp() AND c.enabled AND c.dead_at IS NULL
           AND (c.disabled_till IS NULL OR c.disabled_till <= clock_timestamp())
           AND (NOT c.refreshes OR c.expires_at > clock_timestamp()) AND r.live AND r.retry_count = f.run
           AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp()) AS good
    FROM mine JOIN scrape_fetch f ON f.id = mine.id LEFT JOIN credential c ON c.id = f.credential_id
    JOIN scrape_request_log r ON r.id = f.request_id
)
UPDATE scrape_fetch f SET fence = f.fence + 1,
    attempt = f.attempt + j.good::integer, claimed_at = clock_timestamp(),
    stage = CASE WHEN j.good THEN 'LEASED' ELSE 'SETTLING' END,
    lease_until = CASE WHEN j.good THEN clock_timestamp() + make_interval(secs => %(lease)s) END
FROM judged j WHERE f.id = j.id
RETURNING f.id, f.request_id, f.fence, f.attempt, f.stage, f.platform, f.operation, f.params, f.cursor, f.page, f.owner, f.source,
    f.call_of, f.credential_id, f.probe, extract(epoch FROM f.use_until)::double precision AS use_until,
    extract(epoch FROM clock_timestamp())::double precision AS claimed_at, j.key_id, j.secret, j.generation,
    extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
"""
# One statement: the fenced transition, and only for the rows that passed the fence their payload and their trace.
FINISH = """
WITH n AS (
    SELECT * FROM jsonb_to_recordset(%(calls)s::jsonb) AS r(
        i integer, id bigint, fence integer, ok boolean, head boolean, method text, url text, status integer, ms real,
        bytes integer, outcome text, code text, detail text)
), moved AS (
    UPDATE scrape_fetch f SET stage = CASE WHEN n.ok THEN 'RETRIEVED' ELSE 'SETTLING' END, lease_until = NULL,
        stage_attempts = 0, payload_at = CASE WHEN n.ok THEN now() ELSE f.payload_at END, sent_at = clock_timestamp()
    FROM n WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'LEASED' AND f.lease_until IS NOT NULL
    RETURNING n.i, f.id, f.request_id, f.attempt, f.platform, f.source, f.operation, f.credential_id
), payload AS (
    INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body, next_cursor)
    SELECT m.id, now(), m.attempt, m.source, b.body, b.next_cursor
    FROM moved m JOIN unnest(%(indexes)s::integer[], %(bodies)b::bytea[], %(cursors)s::text[]) AS b(i, body, next_cursor) USING (i)
), trace AS (
    INSERT INTO trace_log (fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms,
                           bytes, outcome, code, detail)
    SELECT m.id, m.request_id, m.attempt, m.platform, m.source, m.operation, m.credential_id, n.method, n.url, n.status, n.ms,
           n.bytes, n.outcome, n.code, n.detail
    FROM moved m JOIN n USING (i) WHERE n.head
)
SELECT i FROM moved
"""


@dataclass(frozen=True, slots=True)
class Called:
    """A claimed fetch, how its call went, how that is judged, and what of the answer is this fetch's."""

    claim: Any
    attempt: Attempt
    verdict: Verdict
    body: bytes = b""
    next_cursor: str | None = None

    @property
    def is_head(self) -> bool:
        """Whether the call was leased to this fetch: it alone is charged and traced."""
        return self.claim.call_of is None


async def retrieve(engine: Engine, fetch_ids: Sequence[int]) -> StageResult:
    """Claim these leases, call, and commit. What is not in a state to be claimed is left alone."""
    result = StageResult()
    started = time.monotonic()
    hit("retrieve.before_claim", fetch_ids)
    async with engine.database.transaction() as transaction:
        claimed = await transaction.rows(CLAIM, {"ids": list(fetch_ids), "lease": engine.settings.stage_lease})
        engine.database.pulse.claimed(claimed)
        lapsed = [claim for claim in claimed if claim.stage == "SETTLING"]
        await _return_unused(transaction, lapsed, result)
    live = [claim for claim in claimed if claim.stage == "LEASED"]
    if live:
        hit("retrieve.after_claim", fetch_ids)
        calls = {claims[0].id: asyncio.create_task(_call(engine, claims, started)) for claims in _calls(live)}

        def break_off(lost: set[int]) -> None:
            for fetch_id in lost & calls.keys():
                calls[fetch_id].cancel()

        async with renewing(engine.database, live, on_lost=break_off):
            ended = await _all(calls.values())
            hit("retrieve.after_http", fetch_ids)
            await _finish_in_time(engine, await _without_doubt(engine, list(chain.from_iterable(ended))), result)
        hit("retrieve.after_commit", fetch_ids)
    return result


async def _all(calls: Iterable[asyncio.Task[list[Called]]]) -> list[list[Called]]:
    """What the calls came to, without those that were broken off. Cancels them all when it is cancelled itself."""
    calls = list(calls)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException) and not isinstance(one, asyncio.CancelledError):
            raise one
    return [one for one in ended if not isinstance(one, BaseException)]


def _calls(claims: Sequence[Any]) -> list[list[Any]]:
    """The claims by the call that answers them, the one to which it was leased first."""
    calls: dict[int, list[Any]] = {claim.id: [claim] for claim in claims if claim.call_of is None}
    for claim in claims:
        if claim.call_of is not None:
            calls[claim.call_of].append(claim)
    return list(calls.values())


async def _call(engine: Engine, claims: Sequence[Any], started: float) -> list[Called]:
    """Make one call for these claims."""
    head = claims[0]
    try:
        source = platforms()[head.platform].sources[head.source]
        endpoint = source.endpoints[head.operation]
        specs = [_spec(claim) for claim in claims]
        spec = specs[0] if endpoint.many is None else endpoint.many.join(specs)
        made = await attempt(engine, source, head, lambda secret: endpoint.build(spec, secret), started)
    except Exception as error:  # noqa: BLE001 - the answers of its neighbours are paid for
        unmade = not_made(error)
        return [Called(claim, Attempt(NO_EXCHANGE, unmade), unmade) for claim in claims]
    answer = made.answer
    if answer is None:
        assert made.verdict is not None
        return [Called(claim, made, made.verdict) for claim in claims]
    try:
        verdict = source.classify(answer)
        bodies = _shares(endpoint, answer.body, specs, verdict)
        cursor = source.next_cursor(answer)
    except Exception as error:  # noqa: BLE001
        verdict, bodies, cursor = made.judged(unreadable(error)), [answer.body] * len(claims), None
    return [Called(claim, made, verdict, body, cursor) for claim, body in zip(claims, bodies, strict=True)]


async def _without_doubt(engine: Engine, called: list[Called]) -> list[Called]:
    """Where the credential may be at fault, its check is asked before anybody acts on the answer."""
    doubtful = {item.claim.credential_id: item.claim for item in called if item.verdict.doubtful}
    if not doubtful:
        return called
    found = await upkeep.ask(engine, list(doubtful.values()))

    def judged(item: Called) -> Called:
        endpoint = platforms()[item.claim.platform].sources[item.claim.source].endpoints[item.claim.operation]
        health = found.get((item.claim.credential_id, item.claim.generation))
        return replace(item, verdict=without_doubt(item.verdict, health, endpoint.scopes))

    return [judged(item) if item.verdict.doubtful else item for item in called]


def _spec(claim: Any) -> FetchSpec:
    return FetchSpec(claim.operation, claim.params, claim.cursor, claim.source, claim.page, claim.owner)


def _shares(endpoint: Endpoint, body: bytes, specs: Sequence[FetchSpec], verdict: Verdict) -> Sequence[bytes]:
    """Each fetch's part of the answer. One that cannot be split goes to all as it is, for their parser to say what is wrong."""
    if endpoint.many is None or verdict.outcome is not Outcome.OK:
        return [body] * len(specs)
    try:
        return endpoint.many.split(body, specs)
    except Malformed:
        return [body] * len(specs)


async def _finish_in_time(engine: Engine, called: Sequence[Called], result: StageResult) -> None:
    """Commit while the leases may still hold: what came back is paid for, and PostgreSQL may be away for a moment.

    The fence makes a repeated commit safe whose first answer was lost: it finds nothing to do, and the sweeps send what it left.
    """
    ends, pause = time.monotonic() + engine.settings.stage_lease, AGAIN
    while True:
        try:
            await _finish(engine, called, result)
        except StorageUnavailable as error:
            if time.monotonic() + pause >= ends:
                raise
            log.warning("commit_tried_again", calls=len(called), error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST)
        else:
            return


async def _finish(engine: Engine, called: Sequence[Called], result: StageResult) -> None:
    """Commit what came back. Unused leases were no call: they leave no trace row, and their charge is returned."""
    calls = [_call_row(i, item) for i, item in enumerate(called)]
    kept = [i for i, item in enumerate(called) if item.verdict.outcome is Outcome.OK]
    payloads = {
        "indexes": kept,
        "bodies": [pack(called[i].body) for i in kept],
        "cursors": [called[i].next_cursor for i in kept],
    }
    async with engine.database.transaction() as transaction:
        unused = [item for item in called if item.verdict.outcome is Outcome.UNUSED]
        made = [row for row, item in zip(calls, called, strict=True) if item.verdict.outcome is not Outcome.UNUSED]
        rows = await transaction.rows(FINISH, {"calls": jsonb(made), **payloads})
        passed = {row.i for row in rows}
        await _return_unused(transaction, [item.claim for item in unused], result, claimed=True)
        finished = [item for i, item in enumerate(called) if i in passed]
        settlements = _settlements(finished)
        if settlements:
            await transaction.run(SETTLE, (jsonb(settlements),))
        hit("retrieve.before_commit", [item.claim.id for item in called])
    result.zombies = len(called) - len(unused) - len(finished)
    if result.zombies:
        log.warning("fenced_writes", stage="retrieve", rejected=result.zombies)
    result.next = [item.claim.id for item in finished if item.verdict.outcome is Outcome.OK]
    # Always: a finished call frees capacity, whatever came of it.
    result.ring |= {item.claim.platform for item in called}


def _call_row(i: int, item: Called) -> dict[str, Any]:
    row = {
        "i": i,
        "id": item.claim.id,
        "fence": item.claim.fence,
        "ok": item.verdict.outcome is Outcome.OK,
        "head": item.is_head,
    }
    return row | traced(item.attempt, item.verdict)


def _settlements(finished: Sequence[Called]) -> list[dict[str, Any]]:
    """One row for each call that did not go well, and one for all that went well with the same credential and operation."""
    rows = []
    well: defaultdict[tuple[Any, ...], list[Called]] = defaultdict(list)
    for item in finished:
        claim, verdict = item.claim, item.verdict
        if not item.is_head:
            if verdict.outcome is not Outcome.OK:
                rows.append(_shared_settlement(claim, verdict.outcome, verdict.code))
        elif verdict.outcome is Outcome.OK:
            well[claim.credential_id, claim.generation, claim.operation, claim.probe].append(item)
        else:
            rows.append(
                settlement_row(
                    claim,
                    verdict.outcome.value,
                    code=verdict.code,
                    detail=plain(verdict.detail),
                    retry_after=verdict.retry_after,
                    at=item.attempt.at,
                    **reported(verdict),
                )
            )
    for group in well.values():
        # The lowest count is the newest: what is left only falls within a batch.
        reports = [item.verdict for item in group if item.verdict.reported is not None]
        least = min(reports, key=lambda verdict: verdict.reported.remaining if verdict.reported else 0, default=None)
        latest = max((item.attempt.at for item in group if item.attempt.at is not None), default=None)
        fields = {"fetch_id": None, "calls": len(group), "at": latest, **reported(least)}
        rows.append(settlement_row(group[0].claim, Outcome.OK.value, **fields))
    return rows


def _shared_settlement(claim: Any, outcome: Outcome, code: str = "") -> dict[str, Any]:
    """For a fetch that shared another's call: it moves the fetch, and says nothing of the credential."""
    return settlement_row(claim, outcome.value, credential_id=0, calls=0, code=code)


UNUSED = """
UPDATE scrape_fetch f SET stage = 'SETTLING', lease_until = NULL FROM unnest(%s::bigint[], %s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'LEASED' RETURNING f.id
"""


async def _return_unused(
    transaction: Transaction, claims: Sequence[Any], result: StageResult, *, claimed: bool = False
) -> None:
    if not claims:
        return
    if claimed:
        passed = await transaction.rows(UNUSED, ([claim.id for claim in claims], [claim.fence for claim in claims]))
        claims = [claim for claim in claims if claim.id in {row.id for row in passed}]
    rows = [
        settlement_row(claim, Outcome.UNUSED.value)
        if claim.call_of is None
        else _shared_settlement(claim, Outcome.UNUSED)
        for claim in claims
    ]
    await transaction.run(SETTLE, (jsonb(rows),))
    result.ring |= {claim.platform for claim in claims}
