"""How the limits stand, for people: used, left, pace and forecast. And their reset, which is recorded."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from beat_actors import audit
from beat_actors.database import Database
from beat_actors.errors import BadInput, NotFound
from beat_actors.platforms.interface import RequestLimit
from beat_actors.quotas.forecast import Usage
from beat_actors.quotas.stack import Stack, most
from beat_actors.requests.states import Priority
from beat_actors.text import check_text

if TYPE_CHECKING:
    from beat_actors.quotas.limiter import StackedLimiter

HOUR = 3600.0
MOST_REASON = 500


class LimitView(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on on-demand requests. `left_for_batch`: calls that batch requests may still make, without the reserve. `rate`: the recent calls an
    hour. `even_rate`: the calls an hour that would use up the window exactly at its end.

    `renews_at`: when the next calls leave the window. `exhausted_at`: when the window is full at the present rate; null if never. A limit that counts
    each handle separately (`per_handle`) has no numbers here.
    """

    name: str
    key: str
    platform: str
    calls: int
    seconds: int
    window: str
    per_handle: bool
    spares_customers: bool
    used: int | None = None
    left: int | None = None
    left_for_batch: int | None = None
    rate: float | None = None
    even_rate: float | None = None
    renews_at: datetime | None = None
    exhausted_at: datetime | None = None


async def overview(limiter: "StackedLimiter") -> list[LimitView]:
    """Every limit of every platform. Raises `LimitsUnavailable`."""
    views: list[LimitView] = []
    for stack in limiter.stacks.values():
        usages = {usage.limit.name: usage for usage in await limiter.look(stack)}
        views += [_view(limiter, stack, limit, usages.get(limit.name)) for limit in stack.limits]
    return views


async def reset(database: Database, limiter: "StackedLimiter", name: str, *, actor: str, reason: str) -> int:
    """Empty a limit; how many calls it held. It is on record before it is done.

    Raises `NotFound`, `BadInput` or `LimitsUnavailable`.
    """
    check_text(reason, "reason", longest=MOST_REASON)
    if not reason.strip():
        raise BadInput("say why the limit is reset", field="reason")
    stack, limit = _named(limiter, name)
    if limit.per_subject:
        raise BadInput(f"{name} counts each handle separately and ends within {limit.seconds} s", field="name")
    used = next(usage.used for usage in await limiter.look(stack) if usage.limit.name == limit.name)
    detail = {"reason": reason, "used": used, "calls": limit.calls}
    async with database.transaction() as transaction:
        await audit.record(transaction, actor=actor, action="limit.reset", target=f"limit/{limit.name}", detail=detail)
    await limiter.reset(limit)
    return used


def _named(limiter: "StackedLimiter", name: str) -> tuple[Stack, RequestLimit]:
    """By its name, with or without the prefix of its key."""
    found = {limit.name: (stack, limit) for stack in limiter.stacks.values() for limit in stack.limits}
    try:
        return found[name.removeprefix(limiter.settings.limit_prefix)]
    except KeyError:
        raise NotFound(f"there is no limit {name[:120]!r}; there is: {', '.join(sorted(found))}") from None


def _view(limiter: "StackedLimiter", stack: Stack, limit: RequestLimit, usage: Usage | None) -> LimitView:
    declared = LimitView(
        name=limit.name,
        key=limiter.counter(limit, "HANDLE"),
        platform=stack.platform,
        calls=limit.calls,
        seconds=limit.seconds,
        window="calendar" if limit.calendar else "sliding",
        per_handle=limit.per_subject,
        spares_customers=limit.spares_customers,
    )
    if usage is None:
        return declared
    return msgspec.structs.replace(
        declared,
        used=usage.used,
        left=max(0, limit.calls - usage.used),
        left_for_batch=max(0, most(limit, Priority.BATCH) - usage.used),
        rate=usage.rate() * HOUR,
        even_rate=limit.calls * HOUR / limit.seconds,
        renews_at=_moment(usage.renews_at),
        exhausted_at=_moment(usage.exhausted_at()),
    )


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
