"""Leases of calls: claimed before the call, and handed back unused where no call was made.

A lease is for one call. It is claimed before the call, so that a worker that dies leaves a call of unknown outcome, which
stays charged; a lease that was not claimed in time is returned unused.
"""

from collections.abc import Sequence
from typing import Any

import structlog

from beat_actors.broker.turn import USE_WITHIN
from beat_actors.broker.windows import AHEAD
from beat_actors.database import Transaction, clock, jsonb
from beat_actors.engine import Engine
from beat_actors.pipeline.stage import SETTLE, StageResult, settlement_row
from beat_actors.platforms.interface import Outcome

log = structlog.get_logger(__name__)

# A lease that a step back of the clock made last longer lasts no longer than one that is given now.
# Claims each lease once: the fence rises, and `lease_until` says that somebody is at it. A lease that is too old, whose
# credential has been put out of use since, that nobody wants any more or whose deadline has passed, is handed back. A row that
# another worker holds is skipped, not waited for. Fetches that one call answers come with the one to which it was leased, and only with it:
# where that one is handed back no call is made, and all of them are handed back. A lease whose secret this process has no key for is
# left to processes that have; where there is none, it is handed back when it is too old. The first claim for a request marks it, and those
# that joined it, as PROCESSING: here and not with the lease, which is given under the platform's lock.
CLAIM = """
WITH head AS (
    SELECT id FROM scrape_fetch WHERE id = ANY(%(ids)s) AND stage = 'LEASED' AND lease_until IS NULL AND call_of IS NULL
      AND (coalesce(use_from + make_interval(secs => %(within)s), use_until) <= clock_timestamp() OR NOT EXISTS (
          SELECT FROM credential c WHERE c.id = credential_id AND c.key_id <> ALL(%(keys)s)))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), mine AS (
    SELECT id FROM head UNION ALL
    SELECT f.id FROM head JOIN scrape_fetch f ON f.call_of = head.id AND f.stage = 'LEASED' AND f.lease_until IS NULL
), judged AS (
    SELECT f.id, f.call_of, c.key_id, c.secret, c.generation, c.id IS NOT NULL AND coalesce(f.use_from + make_interval(secs => %(within)s), f.use_until) > clock_timestamp() AND c.enabled AND c.dead_at IS NULL
           AND (c.disabled_till IS NULL OR c.disabled_till <= clock_timestamp())
           AND (NOT c.refreshes OR c.expires_at > clock_timestamp()) AND r.live AND r.retry_count = f.run
           AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp()) AS good,
           md5(coalesce(f.owner, r.params::text)) AS subject, f.source, f.operation
    FROM mine JOIN scrape_fetch f ON f.id = mine.id LEFT JOIN credential c ON c.id = f.credential_id
    JOIN scrape_request_log r ON r.id = f.request_id
), useful AS (
    SELECT j.id, j.key_id, j.secret, j.generation, j.subject, (
        SELECT s.halvings FROM smaller_page s WHERE s.source = j.source AND s.operation = j.operation AND s.subject = j.subject
          AND s.until > now()) AS halvings, j.good AND coalesce(h.good, true) AS good
    FROM judged j LEFT JOIN judged h ON h.id = j.call_of
), claimed AS (
    UPDATE scrape_fetch f SET fence = f.fence + 1,
        attempt = f.attempt + j.good::integer, claimed_at = clock_timestamp(),
        stage = CASE WHEN j.good THEN 'LEASED' ELSE 'SETTLING' END,
        lease_until = CASE WHEN j.good THEN clock_timestamp() + make_interval(secs => %(lease)s) END
    FROM useful j WHERE f.id = j.id
    RETURNING f.id, f.request_id, f.fence, f.attempt, f.stage, f.platform, f.operation, f.params, f.cursor, f.page, f.owner, f.source,
        f.priority, f.call_of, f.credential_id, f.probe, extract(epoch FROM least(
            coalesce(f.use_from + make_interval(secs => %(within)s), f.use_until), clock_timestamp() + make_interval(secs => %(most)s)))::double precision AS use_until,
        extract(epoch FROM CASE WHEN f.use_from IS NOT NULL THEN least(f.use_from, clock_timestamp() + make_interval(secs => %(ahead)s)) END)::double precision AS use_from,
        extract(epoch FROM clock_timestamp())::double precision AS claimed_at, j.key_id, j.secret, j.generation,
        j.subject, coalesce(j.halvings, 0) AS halvings, extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
), begun AS (
    -- An array and not a join, so that the rows are found by their ids whatever the table's statistics say.
    SELECT id FROM scrape_request_log WHERE id = ANY(ARRAY(SELECT request_id FROM claimed WHERE stage = 'LEASED')) AND picked_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
), request AS (
    UPDATE scrape_request_log SET status = CASE WHEN status = 'PENDING' THEN 'PROCESSING' ELSE status END, picked_at = clock_timestamp()
    WHERE id = ANY(ARRAY(SELECT id FROM begun)) RETURNING id, waiters
), joined AS (
    UPDATE scrape_request_log SET status = 'PROCESSING', picked_at = clock_timestamp()
    WHERE joined_to = ANY(ARRAY(SELECT id FROM request WHERE waiters > 0)) AND status = 'PENDING'
)
SELECT * FROM claimed
"""
# The keys that leases which were left alone want, and this process does not hold.
SEALED = """
SELECT DISTINCT c.key_id FROM scrape_fetch f JOIN credential c ON c.id = f.credential_id
WHERE f.id = ANY(%(ids)s) AND f.stage = 'LEASED' AND f.lease_until IS NULL AND c.key_id <> ALL(%(keys)s) ORDER BY 1
"""
UNUSED = """
UPDATE scrape_fetch f SET stage = 'SETTLING', lease_until = NULL FROM unnest(%s::bigint[], %s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'LEASED' RETURNING f.id
"""


async def claim(engine: Engine, fetch_ids: Sequence[int], result: StageResult) -> list[Any]:
    """Claim what may be called, and hand back what may not."""
    async with engine.database.transaction() as transaction:
        lease = engine.settings.stage_lease
        # As for a lease that can be used at once, of which this much is left at `use_from`.
        within = min(USE_WITHIN, lease) - AHEAD
        values = {"ids": list(fetch_ids), "lease": lease, "keys": engine.usable_keys, "within": within}
        values |= {"most": USE_WITHIN, "ahead": AHEAD}
        asked = clock.elapsed()
        claimed = await transaction.rows(CLAIM, values)
        if claimed:
            transaction.clock.look(claimed[-1].claimed_at, asked, clock.elapsed())
            claimed = [_after_steps(claim, transaction.clock) for claim in claimed]
        lapsed = [claim for claim in claimed if claim.stage == "SETTLING"]
        await return_unused(transaction, lapsed, result)
        if len(claimed) < len(fetch_ids):
            sealed = await transaction.rows(SEALED, {"ids": list(fetch_ids), "keys": engine.usable_keys})
            if sealed:
                log.error("vault_key_missing", keys=[row.key_id for row in sealed], hint="start this process with them")
    engine.database.pulse.claimed(claimed)
    return [claim for claim in claimed if claim.stage == "LEASED"]


def _after_steps(claim: Any, watch: clock.StepWatch) -> Any:
    """The claim with its time from which it may be used as late as it was to be, though the clock stepped forth since it was given."""
    if claim.use_from is None:
        return claim
    later = watch.moved(claim.use_from, ahead=AHEAD) - claim.use_from
    return claim._replace(use_from=claim.use_from + later, use_until=claim.use_until + later) if later else claim


async def return_unused(
    transaction: Transaction, claims: Sequence[Any], result: StageResult, *, claimed: bool = False
) -> None:
    """Hand leases back for which no call was made. `claimed`: by this worker, so that its fence has to stand."""
    if not claims:
        return
    if claimed:
        passed = await transaction.rows(UNUSED, ([claim.id for claim in claims], [claim.fence for claim in claims]))
        claims = [claim for claim in claims if claim.id in {row.id for row in passed}]
    rows = [
        settlement_row(claim, Outcome.UNUSED.value)
        if claim.call_of is None
        else shared_settlement(claim, Outcome.UNUSED)
        for claim in claims
    ]
    await transaction.run(SETTLE, (jsonb(rows),))
    result.ring |= {claim.platform for claim in claims}


def shared_settlement(claim: Any, outcome: Outcome, code: str = "") -> dict[str, Any]:
    """For a fetch that shared another's call: it moves the fetch, and says nothing of the credential."""
    return settlement_row(claim, outcome.value, credential_id=0, calls=0, code=code)


def by_call(claims: Sequence[Any]) -> list[list[Any]]:
    """The claims by the call that answers them, the one to which it was leased first. CLAIM gives none without that one."""
    calls: dict[int, list[Any]] = {claim.id: [claim] for claim in claims if claim.call_of is None}
    for claim in claims:
        if claim.call_of is not None:
            calls[claim.call_of].append(claim)
    return list(calls.values())
