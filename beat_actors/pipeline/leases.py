"""Leases of calls: claimed before the call, and handed back unused where no call was made.

A lease is for one call. It is claimed before the call, so that a worker that dies leaves a call of unknown outcome, which
stays charged; a lease that was not claimed in time is returned unused.
"""

from collections.abc import Sequence

from beat_actors.broker.windows import AHEAD
from beat_actors.database import Transaction, clock
from beat_actors.engine import Engine
from beat_actors.fetches import completion
from beat_actors.fetches.claims import Lease, claim_leases, keys_wanted
from beat_actors.fetches.leasing import USE_WITHIN
from beat_actors.fetches.settlements import settle, settlement_row, shared_settlement
from beat_actors.fetches.states import Stage
from beat_actors.logger import get_logger
from beat_actors.pipeline.stage import StageResult
from beat_actors.platforms.interface import Outcome

log = get_logger(__name__)


async def claim(engine: Engine, fetch_ids: Sequence[int], result: StageResult) -> list[Lease]:
    """Claim what may be called, and hand back what may not."""
    async with engine.database.transaction() as transaction:
        # As for a lease that can be used at once, of which this much is left at `use_from`.
        within = min(USE_WITHIN, engine.settings.stage_lease) - AHEAD
        keys = engine.usable_keys
        asked = clock.elapsed()
        claimed = await claim_leases(transaction, fetch_ids, keys, within=within, most=USE_WITHIN, ahead=AHEAD)
        if claimed:
            transaction.clock.look(claimed[-1].claimed_at, asked, clock.elapsed())
            claimed = [_after_steps(claim, transaction.clock) for claim in claimed]
        lapsed = [claim for claim in claimed if claim.stage == Stage.SETTLING]
        await return_unused(transaction, lapsed, result)
        if len(claimed) < len(fetch_ids):
            sealed = await keys_wanted(transaction, fetch_ids, keys)
            if sealed:
                log.error("vault_key_missing", keys=sealed, hint="start this process with them")
    engine.database.metrics.claimed("retrieve", claimed)
    if claimed:
        log.debug(
            "fetch.claimed",
            fetches=[one.id for one in claimed],
            requests=[one.request_id for one in claimed],
            sources=sorted({one.source for one in claimed}),
        )
    return [claim for claim in claimed if claim.stage == Stage.LEASED]


def _after_steps(claim: Lease, watch: clock.StepWatch) -> Lease:
    """The claim with its time from which it may be used as late as it was to be, though the clock stepped forth since it was given."""
    if claim.use_from is None:
        return claim
    later = watch.moved(claim.use_from, ahead=AHEAD) - claim.use_from
    return claim._replace(use_from=claim.use_from + later, use_until=claim.use_until + later) if later else claim


async def return_unused(
    transaction: Transaction, claims: Sequence[Lease], result: StageResult, *, claimed: bool = False
) -> None:
    """Hand leases back for which no call was made. `claimed`: by this worker, so that its fence has to stand."""
    if not claims:
        return
    if claimed:
        passed = await completion.unused(transaction, claims)
        claims = [claim for claim in claims if claim.id in passed]
    rows = [
        settlement_row(claim, Outcome.UNUSED.value)
        if claim.call_of is None
        else shared_settlement(claim, Outcome.UNUSED.value)
        for claim in claims
    ]
    await settle(transaction, rows)
    result.wake |= {claim.platform for claim in claims}


def by_call(claims: Sequence[Lease]) -> list[list[Lease]]:
    """The claims by the call that answers them, the one to which it was leased first. A claim gives none without that one."""
    calls: dict[int, list[Lease]] = {claim.id: [claim] for claim in claims if claim.call_of is None}
    for claim in claims:
        if claim.call_of is not None:
            calls[claim.call_of].append(claim)
    return list(calls.values())
