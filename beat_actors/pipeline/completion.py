"""What calls came to, committed: the transition, the payload and the trace of each, and what the broker is to settle."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import psycopg

from beat_actors.broker.breaker import bucket_of
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.failpoints import hit
from beat_actors.fetches.claims import Retrieved
from beat_actors.fetches.completion import answered
from beat_actors.fetches.settlements import settle, settlement_row, shared_settlement
from beat_actors.logger import get_logger
from beat_actors.observe import families
from beat_actors.pipeline import smaller
from beat_actors.pipeline.answers import Called
from beat_actors.pipeline.call import plain, reported, traced
from beat_actors.pipeline.leases import return_unused
from beat_actors.pipeline.stage import StageResult, fenced
from beat_actors.platforms.interface import Outcome, Verdict
from beat_actors.scores.tally import TALLY

log = get_logger(__name__)

AGAIN, AGAIN_MOST = 0.1, 2.0
"""Seconds until a commit that PostgreSQL did not answer is tried again, at first and at most."""


async def complete(
    engine: Engine, calls: Sequence[Sequence[Called]], result: StageResult, held: list[Retrieved] | None = None
) -> None:
    """Commit these calls together, and each by itself where one of them cannot be committed. What is to be done next is added to `result`.

    `held`: where it is given, what was retrieved is not to be sent to ingest, but stays claimed by this process and is added here.
    Raises `StorageUnavailable` where PostgreSQL does not answer for as long as a lease lasts.
    """
    try:
        await _finish_in_time(engine, list(chain.from_iterable(calls)), result, held)
    except StorageUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - one of them cannot be committed: its neighbours can
        engine.own_trouble.caused(error)
        for called in calls:
            await _finish_alone(engine, called, result, held)


async def _finish_alone(
    engine: Engine, called: Sequence[Called], result: StageResult, held: list[Retrieved] | None
) -> None:
    """Commit one call by itself. What of it PostgreSQL cannot hold is left out, and the answer counts as one that cannot be read. One that
    cannot be committed for another reason ends as of unknown outcome, with its lease."""
    try:
        try:
            await _finish_in_time(engine, called, result, held)
        except psycopg.DataError as error:
            await _finish_in_time(engine, _unstored(called, error), result, held)
    except StorageUnavailable:
        raise
    except Exception:
        log.exception("not_completed", fetches=[item.claim.id for item in called], source=called[0].claim.source)


def _unstored(called: Sequence[Called], error: psycopg.DataError) -> list[Called]:
    said = Verdict(Outcome.MALFORMED, "not_stored", f"PostgreSQL cannot hold the answer: {type(error).__name__}")
    return [
        replace(item, attempt=item.attempt.without_answer(), verdict=said, frame=b"", next_cursor=None)
        for item in called
    ]


async def _finish_in_time(
    engine: Engine, called: Sequence[Called], result: StageResult, held: list[Retrieved] | None
) -> None:
    """Commit while the leases may still hold: what came back is paid for, and PostgreSQL may be away for a moment.

    The fence makes a repeated commit safe whose first answer was lost: it finds nothing to do, and the sweeps send what it left.
    """
    ends, pause = time.monotonic() + engine.settings.stage_lease, AGAIN
    while True:
        try:
            await _finish(engine, called, result, held)
        except StorageUnavailable as error:
            if time.monotonic() + pause >= ends:
                raise
            log.warning("commit_tried_again", calls=len(called), error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST)
        else:
            return


async def _finish(engine: Engine, called: Sequence[Called], result: StageResult, held: list[Retrieved] | None) -> None:
    """Commit what came back. Unused leases were no call: they leave no trace row, and their charge is returned."""
    calls = [_call_row(i, item, goes_on=held is not None) for i, item in enumerate(called)]
    payloads = [
        (i, item.frame, item.next_cursor) for i, item in enumerate(called) if item.verdict.outcome is Outcome.OK
    ]
    async with engine.database.transaction() as transaction:
        unused = [item for item in called if item.verdict.outcome is Outcome.UNUSED]
        made = [row for row, item in zip(calls, called, strict=True) if item.verdict.outcome is not Outcome.UNUSED]
        rows = await answered(transaction, made, payloads)
        passed = {row.i for row in rows}
        await return_unused(transaction, [item.claim for item in unused], result, claimed=True)
        finished = [item for i, item in enumerate(called) if i in passed]
        await smaller.remember(
            transaction, [item.claim for item in finished if item.verdict.outcome is Outcome.TOO_MUCH]
        )
        await settle(transaction, _settlements(finished))
        hit("retrieve.before_commit", [item.claim.id for item in called])
    counts = engine.database.metrics.counts
    for item in finished:
        if item.is_head and item.attempt.made:
            claim, ms = item.claim, item.attempt.exchange.ms
            TALLY.called(claim.platform, claim.source, claim.operation, item.verdict.outcome, ms)
            counts.observe(families.CALL_SECONDS, claim.source, value=ms / 1000)
    zombies = len(called) - len(unused) - len(finished)
    fenced(engine.database, "retrieve", zombies)
    log.debug(
        "call.finished",
        fetches=[item.claim.id for item in finished],
        outcomes=[item.verdict.outcome.name for item in finished],
    )
    result.zombies += zombies
    if held is None:
        result.next += [item.claim.id for item in finished if item.verdict.outcome is Outcome.OK]
    else:
        held += [row.claimed(called[row.i].frame, called[row.i].next_cursor) for row in rows if row.goes_on]
    # Always: a finished call frees capacity, whatever came of it.
    result.wake |= {item.claim.platform for item in called}


def _call_row(i: int, item: Called, *, goes_on: bool) -> dict[str, Any]:
    ok = item.verdict.outcome is Outcome.OK
    row = {
        "i": i,
        "id": item.claim.id,
        "fence": item.claim.fence,
        "ok": ok,
        "goes_on": ok and goes_on,
        "head": item.is_head and item.attempt.made,
        "at": item.attempt.at,
    }
    return row | traced(item.attempt, item.verdict)


def _settlements(finished: Sequence[Called]) -> list[dict[str, Any]]:
    """One row for each call that did not go well, and one for all that went well at the same time with the same credential and operation."""
    rows = []
    well: defaultdict[tuple[Any, ...], list[Called]] = defaultdict(list)
    for item in finished:
        claim, verdict = item.claim, item.verdict
        if item.is_head and verdict.outcome is Outcome.UNREACHED:
            cause = {"code": verdict.code, "detail": plain(verdict.detail)}
            seen = {"began": item.attempt.began, "process": item.attempt.process}
            rows.append(settlement_row(claim, verdict.outcome.value, **cause, **seen))
            continue
        if item.is_head and not item.attempt.made and verdict.outcome is Outcome.CREDENTIAL_DEAD:
            cause = {"code": verdict.code, "detail": plain(verdict.detail)}
            rows.append(settlement_row(claim, verdict.outcome.value, calls=0, **cause))  # its secret does not open
            continue
        if item.is_head and not item.attempt.made:
            rows.append(settlement_row(claim, Outcome.UNUSED.value, fetch_id=None))
        if not item.is_head or not item.attempt.made:
            if verdict.outcome is not Outcome.OK:
                rows.append(shared_settlement(claim, verdict.outcome.value, verdict.code))
        elif verdict.outcome is Outcome.OK:
            when = bucket_of(item.attempt.began)
            well[claim.credential_id, claim.generation, claim.operation, claim.probe, claim.owner, when].append(item)
        else:
            rows.append(
                settlement_row(
                    claim,
                    verdict.outcome.value,
                    code=verdict.code,
                    detail=plain(verdict.detail),
                    retry_after=verdict.retry_after,
                    at=item.attempt.at,
                    began=item.attempt.began,
                    **reported(verdict),
                )
            )
    for group in well.values():
        # The lowest count is the newest: what is left only falls within a batch.
        reports = [item.verdict for item in group if item.verdict.reported is not None]
        least = min(reports, key=lambda verdict: verdict.reported.remaining if verdict.reported else 0, default=None)
        latest = max((item.attempt.at for item in group if item.attempt.at is not None), default=None)
        began = min((item.attempt.began for item in group if item.attempt.began is not None), default=None)
        fields = {"fetch_id": None, "calls": len(group), "at": latest, "began": began, **reported(least)}
        rows.append(settlement_row(group[0].claim, Outcome.OK.value, **fields))
    return rows
