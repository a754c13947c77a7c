"""Upkeep: make the calls for credentials' own sake, checks and refreshes, and commit what they found.

Leased as `beat_actors.credentials.upkeep` says. A check leaves facts for the broker's turn; a refresh seals the new secret here,
because no secret travels.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.credentials.health import next_refresh, verdict_of
from beat_actors.credentials.manager import Renewal
from beat_actors.credentials.upkeep import LeasedCall, finish, lease_checks, lease_due, lease_seconds
from beat_actors.database import Statements
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.fetches.claims import Lease
from beat_actors.logger import get_logger
from beat_actors.pipeline.call import (
    NO_EXCHANGE,
    Attempt,
    Standing,
    attempt,
    caused_by_process,
    not_made,
    plain,
    reported,
    time_of,
    traced,
    unreadable,
)
from beat_actors.pipeline.stage import StageResult, fenced
from beat_actors.platforms.interface import CHECK, REFRESH, Health, Outcome, Renewed, Verdict
from beat_actors.platforms.registry import platforms

log = get_logger(__name__)

# Seconds that no token is good for, and whose end no column could hold.
FOREVER = 10**9
# Seconds for which what a check found is taken at its word.
RECENT = 60.0
KEPT_FOR = 900.0
"""Seconds for which a new secret waits for PostgreSQL: the provider gives it once, and may take the old one no longer."""
AGAIN, AGAIN_MOST = 0.1, 2.0
"""Seconds until a commit that PostgreSQL did not answer is tried again, at first and at most."""
LAST = 1.5
"""Seconds that a commit is still given when its process ends, within those that the process waits for it."""
SQL = Statements(__file__)


class Known(NamedTuple):
    """What a check found of a credential's secret."""

    id: int
    generation: int
    scopes: list[str] | None
    expires_at: datetime | None
    data_access_expires_at: datetime | None


PLATFORMS = SQL("platforms", str)
KNOWN = SQL("known", Known)


@dataclass(frozen=True, slots=True)
class Made:
    """A leased call, how it went, and what it found: `health` of a check, `renewed` of a refresh."""

    call: LeasedCall
    attempt: Attempt
    verdict: Verdict
    health: Health | None = None
    renewed: Renewed | None = None


async def look_after(engine: Engine, credential_ids: Sequence[int]) -> StageResult:
    """Check or refresh those of these credentials for which it is due."""
    result = StageResult()
    async with engine.database.statements() as alone:
        names = await alone.rows(PLATFORMS, {"ids": list(credential_ids)})
    for name in names:
        started = time.monotonic()
        calls = await lease_due(engine.database, platforms()[name], credential_ids)
        # A new secret does not wait for the calls beside it: its process may die meanwhile.
        checks = [call for call in calls if call.operation != REFRESH]
        batches = [*([checks] if checks else []), *([call] for call in calls if call.operation == REFRESH)]
        ended = await asyncio.gather(
            *(_make_and_finish(engine, name, batch, started, {}, result) for batch in batches), return_exceptions=True
        )
        for error in ended:
            if isinstance(error, BaseException):
                raise error
    return result


async def ask(engine: Engine, claims: Sequence[Lease]) -> dict[tuple[int, int], Health]:
    """What the checks of these claims' credentials say, by credential and generation; asked now, unless that was done just before.

    What cannot be asked now, for want of room or because the provider gives no answer, is left out. The caller wakes the platform.
    """
    of_credential = {claim.credential_id: claim for claim in claims}
    async with engine.database.statements() as alone:
        known = await alone.rows(KNOWN, {"ids": list(of_credential), "seconds": RECENT})
    ok = Verdict(Outcome.OK)
    found = {(row.id, row.generation): _health(ok, row) for row in known}
    left = [claim for number, claim in of_credential.items() if (number, claim.generation) not in found]
    for name in sorted({claim.platform for claim in left}):
        started = time.monotonic()
        ids = [claim.credential_id for claim in left if claim.platform == name]
        calls = await lease_checks(engine.database, platforms()[name], ids)
        made = await _make_and_finish(engine, name, calls, started, of_credential, StageResult())
        for item in made:
            if item.health is not None:
                found[item.call.credential_id, item.call.generation] = replace(item.health, verdict=item.verdict)
    return found


def _health(verdict: Verdict, row: Known) -> Health:
    scopes = None if row.scopes is None else frozenset(row.scopes)
    return Health(verdict, scopes, row.expires_at, row.data_access_expires_at)


async def _make_and_finish(
    engine: Engine,
    platform: str,
    calls: Sequence[LeasedCall],
    started: float,
    claims: Mapping[int, Lease],
    result: StageResult,
) -> list[Made]:
    """Make these calls and commit what came back, together; where that fails, each by itself. `claims`: for whose fetch each credential was
    asked, if for any.

    The last resort: a call that was not begun is given back unused, whatever raises. One that was begun and cannot be committed ends as
    unknown with its lease.
    """
    standing = Standing(engine.database, calls, started, upkeep=True)
    made: list[Made] = []
    try:
        made = await _make_all(engine, calls, started, standing)
        await _finish_in_time(engine, platform, made, claims, result)
    except BaseException as error:
        unmade = [_unmade(call) for call in calls if call.id not in standing.begun]
        if unmade:
            with contextlib.suppress(StorageUnavailable):
                await _finish(engine, platform, unmade, claims, result)
        if isinstance(error, StorageUnavailable) or not isinstance(error, Exception):
            raise
        for item in made:
            if item.call.id in standing.begun:
                await _finish_alone(engine, platform, item, claims, result)
    return made


async def _finish_alone(
    engine: Engine, platform: str, item: Made, claims: Mapping[int, Lease], result: StageResult
) -> None:
    try:
        await _finish_in_time(engine, platform, [item], claims, result)
    except StorageUnavailable:
        raise
    except Exception:
        log.exception("upkeep_failed", credential=item.call.credential_id, operation=item.call.operation)


def _unmade(call: LeasedCall) -> Made:
    unused = Verdict(Outcome.UNUSED, detail="its process failed before the call")
    return Made(call, Attempt(NO_EXCHANGE, unused), unused)


async def _make_all(engine: Engine, calls: Sequence[LeasedCall], started: float, standing: Standing) -> list[Made]:
    """All of them. What went wrong beside one is logged; the others are none the worse."""
    made = await asyncio.gather(*(_make(engine, call, started, standing) for call in calls), return_exceptions=True)
    ended = []
    for call, one in zip(calls, made, strict=True):
        if not isinstance(one, BaseException):
            ended.append(one)
            continue
        log.error("upkeep_failed", credential=call.credential_id, operation=call.operation, exc_info=one)
        if call.id not in standing.begun:
            ended.append(_unmade(call))
    return ended


async def _make(engine: Engine, call: LeasedCall, started: float, standing: Standing) -> Made:
    source = platforms()[call.platform].sources[call.source]
    declared = source.check if call.operation == CHECK else source.refresh
    assert declared is not None
    try:
        made = await attempt(engine, source, call, declared.build, started, standing)
    except Exception as error:  # noqa: BLE001 - its words may hold the secret, and would be logged
        broken = caused_by_process(engine, error, begun=call.id in standing.begun)
        made = broken or Attempt(NO_EXCHANGE, not_made(error))
    answer = made.answer
    if answer is None:
        assert made.verdict is not None
        return Made(call, made, made.verdict)
    try:
        found = declared.read(answer)
    except Exception as error:  # noqa: BLE001
        broken = caused_by_process(engine, error, begun=True)
        if broken is not None and broken.verdict is not None:
            return Made(call, made, broken.verdict)
        said = unreadable(error)
        return Made(call, made, made.refreshed(source, said) if call.operation == REFRESH else made.judged(said))
    if isinstance(found, Health):
        found = made.known(found)
        return Made(call, made, made.judged(verdict_of(found, time_of(call, started))), health=found)
    if found.verdict.outcome is Outcome.OK and not (found.fields and 0 < found.seconds < FOREVER):
        return Made(
            call, made, Verdict(Outcome.MALFORMED, detail="the refresh gave no token, or none with an end that can be")
        )
    return Made(call, made, made.refreshed(source, found.verdict), renewed=found)


async def _finish_in_time(
    engine: Engine, platform: str, made: Sequence[Made], claims: Mapping[int, Lease], result: StageResult
) -> None:
    """Commit what came back, also while PostgreSQL is away for a moment: a new secret for `KEPT_FOR` seconds, the rest while its lease may
    hold. Where the process ends meanwhile, the commit is tried on for `LAST` seconds.

    Raises `StorageUnavailable` where PostgreSQL does not answer for so long.
    """
    kept_for = KEPT_FOR if any(item.renewed for item in made) else lease_seconds(engine.settings)
    commit = asyncio.ensure_future(_finish_again(engine, platform, made, claims, result, time.monotonic() + kept_for))
    try:
        await asyncio.shield(commit)
    except asyncio.CancelledError:
        await asyncio.wait([commit], timeout=LAST)
        commit.cancel()
        await asyncio.wait([commit])
        raise


async def _finish_again(
    engine: Engine, platform: str, made: Sequence[Made], claims: Mapping[int, Lease], result: StageResult, ends: float
) -> None:
    """A repeated commit whose first answer was lost finds nothing to do: the generation and the call's row are its fences."""
    pause = AGAIN
    while True:
        try:
            return await _finish(engine, platform, made, claims, result)
        except StorageUnavailable as error:
            if time.monotonic() + pause >= ends:
                raise
            log.warning("commit_tried_again", stage="upkeep", calls=len(made), error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST)


async def _finish(
    engine: Engine, platform: str, made: Sequence[Made], claims: Mapping[int, Lease], result: StageResult
) -> None:
    """Commit what came back."""
    renewals = [_renewal(engine, item) for item in made if item.verdict.outcome is Outcome.OK and item.renewed]

    async def commit() -> set[int]:
        async with engine.database.transaction() as transaction:
            renewed = await engine.credentials.renew(transaction, platform, renewals)
            rows = [_row(item, claims.get(item.call.credential_id), renewed) for item in made]
            return await finish(transaction, rows)

    passed = await engine.database.again(commit)
    result.wake.add(platform)
    result.zombies += len(made) - len(passed)
    fenced(engine.database, "upkeep", len(made) - len(passed))


def _renewal(engine: Engine, item: Made) -> Renewal:
    call, renewed = item.call, item.renewed
    assert renewed is not None
    began = item.attempt.at if item.attempt.at is not None else call.claimed_at
    return Renewal(
        credential_id=call.credential_id,
        source=call.source,
        generation=call.generation,
        secret=engine.vault.open(call.credential_id, call.source, call.key_id, bytes(call.secret)),
        fields=renewed.fields,
        expires_at=began + renewed.seconds,
        refresh_at=began + next_refresh(renewed.seconds, random.random()),
    )


def _row(item: Made, claim: Lease | None, renewed: Collection[int]) -> dict[str, Any]:
    call, verdict, health = item.call, item.verdict, item.health
    row = {
        "id": call.id,
        # A refresh speaks of the secret that it brought.
        "generation": call.generation + (call.credential_id in renewed),
        "retry_after": verdict.retry_after,
        "at": item.attempt.at,
        "began": item.attempt.began,
        "process": item.attempt.process,
        "facts": None if health is None else _facts(health),
    }
    if claim is not None:
        row |= {"fetch_id": claim.id, "request_id": claim.request_id, "attempt": claim.attempt}
    return row | traced(item.attempt, verdict) | reported(verdict)


def _facts(health: Health) -> dict[str, Any]:
    ends = {"expires_at": health.expires_at, "data_access_expires_at": health.data_access_expires_at}
    scopes = None if health.scopes is None else [plain(scope) for scope in sorted(health.scopes)]
    return {"scopes": scopes} | {name: None if end is None else end.timestamp() for name, end in ends.items()}
