"""A refresh on demand: what the limits allow is accepted at once, what can wait is deferred to off-peak hours, the rest is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom

from beat_actors.database import Database
from beat_actors.errors import LimitsUnavailable, RateLimitError
from beat_actors.limits.limiter import StackedLimiter, Standing, Taken
from beat_actors.limits.off_peak import moment
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests import intake
from beat_actors.requests.intake import Accepted, NewRequest, Prepared, Priority


@dataclass(frozen=True, slots=True)
class Refresh:
    """A profile that somebody wants anew."""

    platform: str
    handle: str
    priority: Priority = Priority.STANDARD
    account_id: str | None = None
    idempotency_key: str | None = None
    expires_at: datetime | None = None
    api_key_id: int | None = None
    idempotency_owner: str = ""


@dataclass(frozen=True, slots=True)
class Refreshing:
    """`deferred_to`: it was not taken from the limits, and is not begun before."""

    accepted: Accepted
    standings: Sequence[Standing] = ()
    deferred_to: datetime | None = None


async def refresh(database: Database, limiter: StackedLimiter, wanted: Refresh) -> Refreshing:
    """Accept, or defer where it is batch work; when this returns, the request is committed. Ring the broker afterwards.

    Raises `NotFound` where the platform declares no such refresh, `BadInput`, `RateLimitError`, `LimitsUnavailable`.
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
    )
    prepared = intake.prepare(request)
    try:
        taken = await limiter.take(stack, str(prepared.params[declared.param]), wanted.priority)
    except RateLimitError as refusal:
        if wanted.priority != Priority.BATCH or refusal.per_subject:
            raise
        return await _defer(database, prepared, refusal, f"the limit {refusal.limit} was reached")
    except LimitsUnavailable as refusal:
        if wanted.priority != Priority.BATCH:
            raise
        return await _defer(database, prepared, refusal, "the limits could not be asked")
    return Refreshing(await _submit(database, limiter, prepared, taken), taken.standings)


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
        now = (await transaction.value("SELECT clock_timestamp()")).astimezone(UTC)
        at = moment(now, database.settings.off_peak, SystemRandom().random())
        request = replace(
            prepared.request, on_demand=False, deferred_to=at, waiting_for=f"{why}; batch work runs off-peak then"
        )
        if request.expires_at is not None and request.expires_at <= at:
            raise refusal
        (accepted,) = await intake.submit(transaction, [replace(prepared, request=request)])
    return Refreshing(accepted, getattr(refusal, "standings", ()), at if accepted.created else None)
