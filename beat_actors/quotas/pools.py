"""The budgets of calls to providers: what all credentials of a source have left together, when that is used up, and when it has room again.

A row for each limit of each source, however many credentials it has. Limits of less than an hour are left out: they delay single calls, and are never used
up for long.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

from beat_actors.broker.windows import BUCKETS, calendar_day, margin
from beat_actors.database import Database, Statements, Transaction, arrays, jsonb
from beat_actors.forecast.arrival import Room
from beat_actors.forecast.demand import MOST_DAYS, SLOT, SLOTS, Demand
from beat_actors.forecast.outlook import ENOUGH_DAYS, RECENT, Outlook, outlook
from beat_actors.forecast.weeks import HOUR, LONGEST, Weeks
from beat_actors.platforms.interface import Limit
from beat_actors.platforms.registry import platforms
from beat_actors.quotas.budgets import PoolView, Worst

DAY = 86_400.0
REPORTED = "reported"
NAMED = 3
"""Credentials of each pool that are named."""
RESETS = 30
"""Days whose resets are known ahead."""
WHOLE = ("limit", "scope", "credentials", "cooling", "calls", "left", "frees", "until")
"""Fields of a `Budget` that are noted beside the room of what belongs to no owner."""
OLDEST = 900
"""Seconds after which a kept state says nothing any more."""


class Pool(NamedTuple):
    source: str
    name: str
    credentials: int
    cooling: int
    own: int
    calls: int
    used: int
    ready: int
    common: int
    common_ready: int
    free_at: list[float] | None
    free: list[int] | None
    free_common: list[int] | None

    @property
    def frees(self) -> list[tuple[float, float]]:
        """(at, calls)."""
        return list(zip(self.free_at or (), self.free or (), strict=True))

    @property
    def common_frees(self) -> list[tuple[float, float]]:
        """Of them, those of credentials that serve everybody."""
        return [one for one in zip(self.free_at or (), self.free_common or (), strict=True) if one[1]]


class WorstRow(NamedTuple):
    source: str
    name: str
    id: int
    used: int
    calls: int
    until: datetime | None


class Reported(NamedTuple):
    source: str
    at: float
    credentials: int
    own: int
    remaining: int
    size: int
    common: int


class Called(NamedTuple):
    source: str
    operation: str
    calls: int


class Kept(NamedTuple):
    name: str
    source: str
    state: dict[str, Any]
    made_at: datetime


class Slot(NamedTuple):
    name: str
    slot: int
    calls: int


class Common(NamedTuple):
    """What of a pool serves everybody: `calls`, `left` and `frees` as of the pool."""

    calls: int
    left: int
    frees: list[tuple[float, float]]


class Rooms(NamedTuple):
    """The budgets of each of some sources; empty: nothing is known of one of them, or nothing bounds it. `unknown`: why they cannot be known."""

    sources: list[list[Room]]
    unknown: str | None = None


class Budget(NamedTuple):
    """A pool at a moment. `frees`: (at, calls). `window`: seconds of a sliding one. `until`: the end of one that does not slide. `operations`: `None`: all.
    `common`: what of it serves everybody; `None`: all."""

    name: str
    source: str
    limit: str
    scope: str
    credentials: int
    cooling: int
    own: int
    calls: int
    left: int
    frees: list[tuple[float, float]]
    window: float | None
    until: float | None
    operations: frozenset[str] | None
    worst: list[Worst]
    common: Common | None = None


SQL = Statements(__file__)
POOLS, WORST = SQL("pools", Pool), SQL("worst", WorstRow)
REPORTS, CALLED, KEEP, ROOMS = SQL("reported", Reported), SQL("called", Called), SQL("keep"), SQL("rooms", Kept)
KNOWN = SQL("known", Slot)


async def foresee(database: Database) -> list[PoolView]:
    """Every budget with its forecast, and some credentials of each. Reads all credentials. Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        now = await alone.now()
        return await views(alone, await look(alone, now, named=NAMED), now)


async def keep(database: Database, epoch: int | None = None) -> list[Budget]:
    """Note how much was called since the last look, and what room there is."""
    async with database.statements() as alone:
        now = await alone.now()
        budgets = await look(alone, now)
        if budgets:
            called = await alone.rows(CALLED, {"sources": sorted({one.source for one in budgets})})
            rows = sorted((one.name, one.source, _total(one, called), jsonb(_state(one))) for one in budgets)
            listed = arrays(rows, "names", "sources", "totals", "states")
            await alone.run(KEEP, listed | {"slot": math.floor(now / SLOT), "epoch": epoch})
    return budgets


async def views(alone: Transaction, budgets: Sequence[Budget], now: float) -> list[PoolView]:
    """Budgets with their forecasts."""
    if not budgets:
        return []
    known = await _known(alone, budgets, now)
    return [_view(one, known.get(one.name, {}), now) for one in budgets]


async def look(alone: Transaction, now: float, *, named: int = 0) -> list[Budget]:
    """The pools of all sources. `now`: epoch seconds. `named`: how many of the credentials of which most is used."""
    limits = {(source, limit.name): limit for source, limit in _limits()}
    asked = [
        (
            source,
            name,
            limit.calls,
            _newest(limit, now),
            _width(limit),
            limit.calendar is not None,
            limit.scope == "source",
        )
        for (source, name), limit in limits.items()
    ]
    told = arrays(asked, "sources", "limits", "most", "newest", "widths", "days", "by_source")
    pools = await alone.rows(POOLS, told)
    worst: dict[tuple[str, str], list[Worst]] = {}
    for one in await alone.rows(WORST, told | {"each": named}) if pools and named else ():
        worst.setdefault((one.source, one.name), []).append(Worst(one.id, one.used, one.calls, one.until))
    found = []
    for pool in pools:
        key, limit = (pool.source, pool.name), limits[pool.source, pool.name]
        until = None if limit.calendar is None else calendar_day(limit.calendar, now)[1]
        found.append(
            Budget(
                f"{pool.source}:{pool.name}", pool.source, pool.name, limit.scope, pool.credentials, pool.cooling, pool.own, pool.calls, pool.ready,
                pool.frees, limit.seconds if until is None else None, until, limit.operations, worst.get(key, []),
                Common(pool.common, pool.common_ready, pool.common_frees),
            )
        )  # fmt: skip
    return found + _reported(await alone.rows(REPORTS, {"sources": _sources()}))


async def rooms(alone: Transaction, sources: Iterable[str], operation: str, *, owned: bool) -> Rooms:
    """The budgets of each of the sources that count this operation. `owned`: for work of owners, which is done with credentials of their own; how much
    each of them has left is in no sum."""
    asked = list(sources)
    kept = [
        row
        for row in await alone.rows(ROOMS, {"sources": asked, "seconds": OLDEST})
        if row.state["operations"] is None or operation in row.state["operations"]
    ]
    apart = next((row.source for row in kept if owned and row.state.get("own")), None)
    if apart is not None:
        return Rooms(
            [], f"{apart}: credentials of it serve their owner alone, so that their calls are no common budget"
        )
    found = [[_room(row.state) for row in kept if row.source == source] for source in asked]
    return Rooms(found if all(found) else [])


def _room(state: Mapping[str, Any]) -> Room:
    pairs = {name: [(at, calls) for at, calls in state.get(name, ())] for name in ("frees", "resets")}
    return Room(state["left"], pairs["frees"], state["window"], pairs["resets"])


async def noted(alone: Transaction) -> list[Budget]:
    """The pools as `keep` has noted them last, without their credentials: none of these is read. Without those that nobody looked at for `OLDEST`."""
    kept = await alone.rows(ROOMS, {"sources": _sources(), "seconds": OLDEST})
    return [_noted(row) for row in kept if "pool" in row.state]


def _sources() -> list[str]:
    return [source for platform in platforms().values() for source in platform.sources]


def _limits() -> list[tuple[str, Limit]]:
    return [
        (source.name, limit)
        for platform in platforms().values()
        for source in platform.sources.values()
        for limit in source.limits
        if limit.calendar is not None or limit.seconds >= HOUR
    ]


def _width(limit: Limit) -> float:
    return DAY if limit.calendar is not None else (limit.seconds + margin(limit)) / BUCKETS


def _newest(limit: Limit, now: float) -> int:
    return int(calendar_day(limit.calendar, now)[0]) if limit.calendar is not None else int(now // _width(limit))


def _reported(rows: Sequence[Reported]) -> list[Budget]:
    by_source: dict[str, list[Reported]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    return [
        Budget(
            f"{source}:{REPORTED}", source, REPORTED, REPORTED, sum(one.credentials for one in found), 0, sum(one.own for one in found),
            sum(one.size * one.credentials for one in found), sum(one.remaining for one in found),
            [(one.at, one.size * one.credentials - one.remaining) for one in found], None, max(one.at for one in found), None, [],
            Common(
                sum(one.size * (one.credentials - one.own) for one in found), sum(one.common for one in found),
                [(one.at, one.size * (one.credentials - one.own) - one.common) for one in found],
            ),
        )
        for source, found in by_source.items()
    ]  # fmt: skip


def _total(budget: Budget, called: Iterable[Called]) -> int:
    return sum(
        one.calls
        for one in called
        if one.source == budget.source and (budget.operations is None or one.operation in budget.operations)
    )


def _state(budget: Budget) -> dict[str, Any]:
    """As a room for what waits and belongs to no owner. A window that begins anew has all of its calls then, and again on the days after;
    cooldowns that end later are part of them."""
    common = budget.common or Common(budget.calls, budget.left, budget.frees)
    frees, resets = sorted(common.frees), list[tuple[float, float]]()
    if budget.until is not None and budget.scope != REPORTED:
        frees = [one for one in frees if one[0] < budget.until]
        resets = [(budget.until + day * DAY, common.calls) for day in range(RESETS)]
    return {
        "left": common.left,
        "own": budget.own,
        "frees": frees,
        "resets": resets,
        "window": budget.window,
        "operations": None if budget.operations is None else sorted(budget.operations),
        "pool": {name: getattr(budget, name) for name in WHOLE},
    }


def _noted(row: Kept) -> Budget:
    """As it was noted, without its credentials."""
    state, operations = row.state, row.state["operations"]
    whole = state["pool"] | {"frees": [(at, calls) for at, calls in state["pool"]["frees"]]}
    shared = {
        "own": state["own"],
        "window": state["window"],
        "operations": None if operations is None else frozenset(operations),
    }
    return Budget(name=row.name, source=row.source, worst=[], **whole, **shared)


async def _known(alone: Transaction, budgets: Sequence[Budget], now: float) -> dict[str, dict[int, int]]:
    since = math.floor(now / SLOT) - SLOTS * (MOST_DAYS + 1)
    known: dict[str, dict[int, int]] = {}
    for row in await alone.rows(KNOWN, {"limits": [one.name for one in budgets], "since": since}):
        known.setdefault(row.name, {})[row.slot] = row.calls
    return known


def _outlook(budget: Budget, known: Mapping[int, int], now: float) -> Outlook:
    slot_now = math.floor(now / SLOT)
    calls = [known.get(slot, 0) for slot in range(min(known), slot_now)] if known else []
    slot, weekday = slot_now % SLOTS, datetime.fromtimestamp(now, UTC).weekday()
    ends = now + DAY if budget.until is None else budget.until
    if ends - now > DAY:
        hours = min(LONGEST * 24, math.ceil((ends - now) / HOUR))
        expecting: Demand | Weeks = Weeks(calls, slot=slot, weekday=weekday, hours=hours)
        steps = hours
    else:
        steps = max(1, min(SLOTS, math.ceil(ends / SLOT) - slot_now))
        expecting = Demand(calls, slot=slot, weekday=weekday, ahead=steps)
    back = None if budget.window is None else math.ceil(budget.window / SLOT)
    return outlook(
        expecting,
        now=now,
        used=budget.calls - budget.left,
        limit=budget.calls,
        leaving=_leaving(budget.frees, now, expecting.step, steps),
        recent=calls[-RECENT:],
        back=back if back is not None and back < steps else None,
    )


def _leaving(frees: Sequence[tuple[float, float]], now: float, step: float, steps: int) -> list[float]:
    """What has become free by the end of each step."""
    ordered = sorted(frees)
    times, totals = [at for at, _ in ordered], [0.0, *accumulate(calls for _, calls in ordered)]
    return [totals[bisect_right(times, now + step * (n + 1))] for n in range(steps)]


def _view(budget: Budget, known: Mapping[int, int], now: float) -> PoolView:
    found = _outlook(budget, known, now)
    unknown = None
    if budget.own:
        unknown = f"{budget.own:,} of its {budget.credentials:,} credentials serve their owner alone, so that their calls are no common budget"
    elif budget.left > 0 and found.probability is None:
        unknown = f"too little history: {found.days} of {ENOUGH_DAYS} days are known"
    told = unknown is None
    return PoolView(
        name=budget.name,
        platform=next(name for name, platform in platforms().items() if budget.source in platform.sources),
        source=budget.source,
        limit=budget.limit,
        scope=budget.scope,
        credentials=budget.credentials,
        cooling=budget.cooling,
        calls=budget.calls,
        used=max(0, budget.calls - budget.left),
        left=budget.left,
        until=_moment(budget.until),
        days=found.days,
        warn=told and found.warn,
        probability=found.probability if told else None,
        used_up_at=_moment(found.at) if told else None,
        earliest=_moment(found.earliest) if told else None,
        latest=_moment(found.latest) if told else None,
        unknown=unknown,
        worst=budget.worst,
    )


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
