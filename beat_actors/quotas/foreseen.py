"""When the limits on on-demand requests will be used up: what is kept of their use, what is forecast, and what came of it.

What is forecast of the budgets of calls to providers (`pools`) is written down with it.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements, arrays
from beat_actors.forecast.demand import MOST_DAYS, SLOT, SLOTS, Demand
from beat_actors.forecast.outlook import RECENT, outlook
from beat_actors.moments import moment
from beat_actors.quotas import pool_alerts, pools
from beat_actors.quotas.budgets import Accuracy, BudgetView
from beat_actors.quotas.forecast import Usage
from beat_actors.quotas.pools import KNOWN, REPORTED, Budget, Slot
from beat_actors.requests.swept import Swept

if TYPE_CHECKING:
    from beat_actors.quotas.limiter import StackedLimiter

DAY = 86_400
EVERY = 6
"""Slots between two forecasts that are written down."""
AGAIN = 3
"""Slots that are kept again, since a call may be counted late."""
RECORD_DAYS = 30
NOTED = ("limits", "made", "until", "probabilities", "at", "earliest", "latest", "warned")
TOLD = 0.5
"""The probability from which on a time is told: in the middle of the cases the limit is used up."""


SQL = Statements(__file__)
KEEP = SQL("keep")
NOTE = SQL("note")
ALREADY = SQL("noted", str)
USED_UP = SQL("used_up")
FORGET = SQL("forget")
ACCURACY = SQL("accuracy", Accuracy)


async def foresee(database: Database, limiter: "StackedLimiter") -> list[BudgetView]:
    """The limits of a day, each with its forecast. Raises `LimitsUnavailable`, `StorageUnavailable`."""
    usages = await _daily(limiter)
    known = await _known(database, usages.values())
    return [_view(platform, name, usage, known.get(name, {})) for (platform, name), usage in usages.items()]


async def sweep(database: Database, epoch: int | None = None) -> Swept:
    """Keep what was used, and write down what is forecast of it. Raises `LimitsUnavailable`, `StorageUnavailable`."""
    from beat_actors.quotas.limiter import StackedLimiter

    async with StackedLimiter(database) as limiter:
        usages = await _daily(limiter)
    return Swept(count=await keep(database, usages, epoch=epoch))


async def sweep_pools(database: Database, epoch: int | None = None) -> Swept:
    """The same for the budgets of calls to providers. Raises `StorageUnavailable`."""
    return Swept(count=await note_pools(database, await pools.keep(database, epoch), epoch=epoch))


async def keep(database: Database, usages: Mapping[tuple[str, str], Usage], *, epoch: int | None = None) -> int:
    """As `sweep`, of these; how many forecasts were written down."""
    if not usages:
        return 0
    known = await _known(database, usages.values())
    rows = [row for usage in usages.values() for row in _unkept(usage, known.get(usage.limit.name, {}))]
    for row in rows:
        slots = known.setdefault(row.name, {})
        slots[row.slot] = max(row.calls, slots.get(row.slot, 0))
    now = min(usage.now for usage in usages.values())
    views = [_view(platform, name, usage, known.get(name, {})) for (platform, name), usage in usages.items()]
    made = datetime.fromtimestamp(math.floor(now / SLOT) * SLOT, UTC)
    notes = [
        (one.name, made, one.until, one.probability, one.used_up_at, one.earliest, one.latest, one.warn)
        for one in views
        if one.probability is not None and one.used < one.calls and math.floor(now / SLOT) % EVERY == 0
    ]
    led = {"epoch": epoch}
    async with database.transaction() as transaction:
        await transaction.run(KEEP, arrays(sorted(rows), "limits", "slots", "calls") | led)
        if notes:
            await transaction.run(NOTE, arrays(notes, *NOTED) | led)
        full = [one.name for one in views if one.used >= one.calls]
        if full:
            await transaction.run(USED_UP, {"limits": full} | led)
        oldest = math.floor(now / SLOT) - SLOTS * (MOST_DAYS + 1)
        await transaction.run(FORGET, {"slot": oldest, "days": RECORD_DAYS + 1} | led)
    return len(notes)


async def note_pools(database: Database, budgets: Iterable[Budget], *, epoch: int | None = None) -> int:
    """Write down what is forecast of pools, once an hour; how many forecasts. A quota of a month is left out: what comes of it is known too late."""
    found = [one for one in budgets if one.scope != REPORTED]
    if not found:
        return 0
    async with database.transaction() as transaction:
        now = await transaction.now()
        made, led = datetime.fromtimestamp(math.floor(now / SLOT) * SLOT, UTC), {"epoch": epoch}
        due = [one for one in found if one.left > 0] if math.floor(now / SLOT) % EVERY == 0 else []
        if due:
            # The sweep runs several times within the slot.
            noted = set(await transaction.rows(ALREADY, {"limits": [one.name for one in due], "made": made}))
            due = [one for one in due if one.name not in noted]
        notes = [
            (one.name, made, one.until or made + timedelta(days=1), one.probability, one.used_up_at, one.earliest, one.latest, one.warn)
            for one in (await pools.views(transaction, due, now) if due else [])
            if one.probability is not None
        ]  # fmt: skip
        if notes:
            await transaction.run(NOTE, arrays(notes, *NOTED) | led)
        full = [one.name for one in found if one.left <= 0]
        if full:
            await transaction.run(USED_UP, {"limits": full} | led)
    return len(notes)


async def accuracy(database: Database) -> list[Accuracy]:
    """What came of the forecasts of the last 30 days."""
    async with database.statements() as alone:
        return await alone.rows(ACCURACY, {"days": RECORD_DAYS, "likely": TOLD})


async def alerts(database: Database) -> list[Alert]:
    """Limits and pools that will probably be used up. Raises `LimitsUnavailable`."""
    from beat_actors.quotas.limiter import StackedLimiter

    async with StackedLimiter(database) as limiter:
        views = await foresee(database, limiter)
    of_limits = [_alert(view) for view in views if view.warn and view.used < view.calls]
    return [*of_limits, *await pool_alerts.alerts(database)]


async def _daily(limiter: "StackedLimiter") -> dict[tuple[str, str], Usage]:
    """By platform and name. A limit of less than a day is full and free again before anybody has read of it."""
    return {
        (stack.platform, usage.limit.name): usage
        for stack in limiter.stacks.values()
        for usage in await limiter.look(stack)
        if usage.limit.seconds == DAY
    }


async def _known(database: Database, usages: Iterable[Usage]) -> dict[str, dict[int, int]]:
    found = list(usages)
    if not found:
        return {}
    since = math.floor(min(usage.now for usage in found) / SLOT) - SLOTS * (MOST_DAYS + 1)
    known: dict[str, dict[int, int]] = {}
    async with database.statements() as alone:
        for row in await alone.rows(KNOWN, {"limits": [usage.limit.name for usage in found], "since": since}):
            known.setdefault(row.name, {})[row.slot] = row.calls
    return known


def _by_slot(usage: Usage) -> dict[int, int]:
    """What the window knows of each slot."""
    slots: dict[int, int] = {}
    for bucket, calls in usage.calls.items():
        slot = math.floor(bucket * usage.width / SLOT)
        slots[slot] = slots.get(slot, 0) + calls
    return slots


def _unkept(usage: Usage, known: Mapping[int, int]) -> list[Slot]:
    """The slots that have ended since the last look, and some before."""
    now, slots = math.floor(usage.now / SLOT), _by_slot(usage)
    first = max((max(known) + 1 if known else 0) - AGAIN, now - SLOTS)
    rows = [Slot(usage.limit.name, slot, slots[slot]) for slot in range(first, now) if slots.get(slot)]
    if not slots.get(now - 1):
        rows.append(Slot(usage.limit.name, now - 1, 0))
    return rows


def _view(platform: str, name: str, usage: Usage, known: Mapping[int, int]) -> BudgetView:
    limit, now = usage.limit, math.floor(usage.now / SLOT)
    slots = {**known, **{slot: max(calls, known.get(slot, 0)) for slot, calls in _by_slot(usage).items()}}
    calls = [slots.get(slot, 0) for slot in range(min(slots), now)] if slots else []
    slot = now % SLOTS
    ahead = SLOTS - slot if limit.calendar else SLOTS
    before = calls[-SLOTS:]
    leaving = () if limit.calendar else tuple(accumulate([0] * (SLOTS - len(before)) + before))
    found = outlook(
        Demand(calls, slot=slot, weekday=datetime.fromtimestamp(usage.now, UTC).weekday(), ahead=ahead),
        now=now * SLOT,
        used=usage.used if usage.used >= limit.calls else usage.used - slots.get(now, 0),
        limit=limit.calls,
        leaving=leaving,
        recent=calls[-RECENT:],
    )
    return BudgetView(
        name=name,
        platform=platform,
        calls=limit.calls,
        used=usage.used,
        until=datetime.fromtimestamp((now + ahead) * SLOT, UTC),
        days=found.days,
        warn=found.warn,
        probability=found.probability,
        used_up_at=_not_past(found.at, usage.now),
        earliest=_not_past(found.earliest, usage.now),
        latest=_not_past(found.latest, usage.now),
    )


def _not_past(at: float | None, now: float) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(max(at, now), UTC)


def _alert(view: BudgetView) -> Alert:
    told = "later today" if view.used_up_at is None else f"at about {moment(view.used_up_at)}"
    between = ""
    if view.earliest is not None:
        between = f", in four cases of five not before {moment(view.earliest)}"
        between += "" if view.latest is None else f" and not after {moment(view.latest)}"
    return Alert(
        key=f"forecast:{view.name}:{view.until:%Y-%m-%d}",
        severity="warning",
        cause=f"the limit {view.name} will probably be used up {told}{between}: {view.used:,} of {view.calls:,} on-demand requests are used, and "
        f"the last {view.days} days have shown what is to be expected ({view.probability or 0.0:.0%})",
        impact=f"when it is used up, on-demand requests of {view.platform} are refused with 429; all other work continues",
        automatic="Beat keeps a reserve for customer-facing requests, and defers batch work to off-peak hours",
        action="`beat forecast` shows it; send work that can wait with priority batch",
        again_after=float(DAY),
    )
