"""A refresh on demand: a request within the limits is accepted, a batch request above them is deferred to off-peak hours, any other is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom
from typing import NamedTuple

from beat_actors.database import Database, Statements
from beat_actors.errors import KeyReused, LimitsUnavailable, RateLimitError, Standing
from beat_actors.moments import check_ahead
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.quotas.limiter import StackedLimiter, Taken
from beat_actors.quotas.off_peak import moment
from beat_actors.requests import intake
from beat_actors.requests.intake import Accepted, NewRequest, Prepared
from beat_actors.requests.states import Priority
from beat_actors.traces.context import Context

SQL = Statements(__file__)


class Stored(NamedTuple):
    """A request that its key brought before. `same`: whether all was the same then. `deferred_to`: of one that was not counted."""

    id: int
    accepted_as: str
    same: bool
    deferred_to: datetime | None


STORED = SQL("stored", Stored)
NOW = SQL("now", datetime)


@dataclass(frozen=True, slots=True)
class Refresh:
    """A profile that a caller wants to be refreshed."""

    platform: str
    handle: str
    priority: Priority = Priority.STANDARD
    account_id: str | None = None
    idempotency_key: str | None = None
    expires_at: datetime | None = None
    api_key_id: int | None = None
    idempotency_owner: str = ""
    trace: Context | None = None


@dataclass(frozen=True, slots=True)
class Refreshing:
    """`deferred_to`: it was not taken from the limits, and is not begun before. `replayed`: its key had brought this answer before."""

    accepted: Accepted
    standings: Sequence[Standing] = ()
    deferred_to: datetime | None = None
    replayed: bool = False


async def refresh(database: Database, limiter: StackedLimiter, wanted: Refresh) -> Refreshing:
    """Accept, or defer where it is batch work; when this returns, the request is committed. Wake the broker afterwards.

    An idempotency key that was used before brings its answer again, and takes nothing from the limits. Raises `NotFound` where the
    platform declares no such refresh, `BadInput`, `KeyReused`, `RateLimitError`, `LimitsUnavailable`.
    """
    platform = platform_named(wanted.platform)
    stack, declared = limiter.stack_of(platform.name), platform.on_demand
    assert declared is not None
    request = NewRequest(
        platform.name,
        declared.flow,
        {declared.param: wanted.handle},
        wanted.priority,
        wanted.account_id,
        wanted.idempotency_key,
        wanted.idempotency_owner,
        wanted.expires_at,
        wanted.api_key_id,
        on_demand=True,
        trace=wanted.trace,
    )
    if wanted.idempotency_key is not None:
        intake.check_key(wanted.idempotency_key)
    prepared = intake.prepare(request)
    if (stored := await _stored(database, prepared)) is not None:
        return stored
    check_ahead(wanted.expires_at, "expires_at")
    try:
        taken = await limiter.take(stack, str(prepared.params[declared.param]), wanted.priority, wanted.account_id)
    except RateLimitError as refusal:
        if wanted.priority != Priority.BATCH or refusal.per_subject:
            raise
        return await _defer(database, prepared, refusal, f"the limit {refusal.limit} was reached")
    except LimitsUnavailable as refusal:
        if wanted.priority != Priority.BATCH:
            raise
        return await _defer(database, prepared, refusal, "the limits could not be asked")
    accepted = await _submit(database, limiter, prepared, taken)
    if not accepted.created and (stored := await _stored(database, prepared)) is not None:
        return stored  # another call with this key was the faster one
    return Refreshing(accepted, taken.standings)


async def _stored(database: Database, prepared: Prepared) -> Refreshing | None:
    request = prepared.request
    if request.idempotency_key is None:
        return None
    values = {"owner": request.idempotency_owner, "key": request.idempotency_key, "digest": prepared.digest}
    async with database.statements() as alone:
        row = await alone.row(STORED, values)
    if row is None:
        return None
    if not row.same:
        raise KeyReused(
            f"idempotency key {request.idempotency_key!r} was used for another request, {row.id}; nothing was accepted"
        )
    return Refreshing(Accepted(row.id, True, row.accepted_as), deferred_to=row.deferred_to, replayed=True)


async def _submit(database: Database, limiter: StackedLimiter, prepared: Prepared, taken: Taken) -> Accepted:
    accepted: Accepted | None = None
    try:
        async with database.transaction() as transaction:
            (accepted,) = await intake.submit(transaction, [prepared])
    finally:
        # Where the commit itself fails nobody knows whether the request is there, so it stays counted.
        if accepted is None or not accepted.created:
            await limiter.give_back(taken)
    return accepted


async def _defer(
    database: Database, prepared: Prepared, refusal: RateLimitError | LimitsUnavailable, why: str
) -> Refreshing:
    """Into the next off-peak hours, as batch work that the broker leases by its own ledger. What would be over by then is refused."""
    async with database.transaction() as transaction:
        now = (await transaction.only(NOW)).astimezone(UTC)
        at = moment(now, database.settings.off_peak, SystemRandom().random())
        request = replace(
            prepared.request, on_demand=False, deferred_to=at, waiting_for=f"{why}; batch work runs off-peak then"
        )
        if request.expires_at is not None and request.expires_at <= at:
            raise refusal
        (accepted,) = await intake.submit(transaction, [replace(prepared, request=request)])
    if not accepted.created and (stored := await _stored(database, prepared)) is not None:
        return stored
    return Refreshing(accepted, getattr(refusal, "standings", ()), at if accepted.created else None)
