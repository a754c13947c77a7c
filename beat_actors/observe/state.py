"""The gauges that read more than a few rows. The leading scheduler measures them and writes them down; a scrape reads what it wrote.

Each statement is bounded: it counts entries of indexes up to a limit, or reads each credential, usage row or lane once.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from beat_actors.assets.classes import AssetClass
from beat_actors.assets.upkeep import backlog
from beat_actors.broker.windows import BUCKETS, SHORT, calendar_day, margin
from beat_actors.database import Answer, Database, Statements, arrays
from beat_actors.errors import LimitsUnavailable
from beat_actors.events.status import MOST_COUNTED, EventStatus, status
from beat_actors.observe import families, waits
from beat_actors.observe.counts import Totals
from beat_actors.observe.tally import keep
from beat_actors.platforms.interface import Limit
from beat_actors.platforms.registry import platforms
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import overview
from beat_actors.requests.states import Priority
from beat_actors.requests.swept import Swept

STATE = "state"
"""Under which name the gauges are kept."""
MOST_WAITING = 300_000
"""Waiting fetches that are counted in all."""
MOST_LISTED = 100_000
"""Entries of other indexes that are counted."""
MOST_ASSETS = 200_000
MOST_SENTENCES = 5_000
SETS, OF_A_SET = 500, 1_000
MOST_HELD = 20_000
TABLES = 20


class Queue(NamedTuple):
    """Fetches that wait for a lease. `oldest` in seconds."""

    platform: str
    flow: str
    priority: int
    fetches: int
    oldest: float


class Delayed(NamedTuple):
    """Fetches of a platform that are made again later."""

    platform: str
    fetches: int


class Moving(NamedTuple):
    """Fetches in a stage."""

    platform: str
    stage: str
    fetches: int


class BlockedFor(NamedTuple):
    """Lanes that wait for the same."""

    platform: str
    source: str
    why: str
    lanes: int


class CredentialsIn(NamedTuple):
    """Credentials of a source in a state."""

    platform: str
    source: str
    state: str
    credentials: int


class LimitState(NamedTuple):
    """Calls of a limit: those that count now, those that are allowed, and those that are left."""

    source: str
    limit_name: str
    used: int
    calls: int
    remaining: int


class Webhooks(NamedTuple):
    """Events without deliveries, and deliveries that wait."""

    lag: int
    due: int


class Quarantined(NamedTuple):
    """Items in quarantine."""

    kind: str
    platform: str
    items: int


class HeldIn(NamedTuple):
    """Held records of a source in a state."""

    platform: str
    source: str
    state: str
    records: int


class OpenFor(NamedTuple):
    """Parsers of an operation whose data breaker is open."""

    platform: str
    source: str
    operation: str
    parsers: int


class TableRows(NamedTuple):
    """Rows of a table, as PostgreSQL estimates them."""

    name: str
    live: int
    dead: int


class ConnectionsOf(NamedTuple):
    """Connections of the server."""

    used: int
    most: int


SQL = Statements(__file__)
QUEUE, DELAYED = SQL("queue", Queue), SQL("delayed", Delayed)
MOVING, BLOCKED = SQL("moving", Moving), SQL("blocked", BlockedFor)
CREDENTIALS, LIMITS = SQL("credentials", CredentialsIn), SQL("limits", LimitState)
WEBHOOKS, QUARANTINE = SQL("webhooks", Webhooks), SQL("quarantine", Quarantined)
HELD, DATA_BREAKERS = SQL("held", HeldIn), SQL("data_breakers", OpenFor)
TABLE_ROWS, CONNECTIONS = SQL("tables", TableRows), SQL("connections", ConnectionsOf)


async def sweep(database: Database, epoch: int | None = None) -> Swept:
    """Measure, and keep the gauges. Raises `StorageUnavailable`."""
    totals = await measured(database)
    async with database.statements() as alone:
        await keep(alone, STATE, totals.sums(), epoch=epoch)
    return Swept(count=len(totals.by_key))


async def measured(database: Database) -> Totals:
    """The gauges now."""
    classes = [int(one) for one in AssetClass]
    async with database.transaction() as transaction, transaction.pipeline() as pipeline:
        queue = await pipeline.run(QUEUE, {"most": MOST_WAITING})
        delayed = await pipeline.run(DELAYED, {"platforms": sorted(platforms()), "most": MOST_LISTED})
        moving = await pipeline.run(MOVING)
        blocked = await pipeline.run(BLOCKED, {"most": MOST_SENTENCES})
        credentials = await pipeline.run(CREDENTIALS)
        limits = await pipeline.run(LIMITS, _limits(time.time()))
        webhooks = await pipeline.run(WEBHOOKS, {"most": MOST_COUNTED})
        quarantine = await pipeline.run(QUARANTINE, {"sets": SETS, "most": OF_A_SET})
        held = await pipeline.run(HELD, {"most": MOST_HELD})
        breakers = await pipeline.run(DATA_BREAKERS)
        tables = await pipeline.run(TABLE_ROWS, {"most": TABLES})
        connections = await pipeline.run(CONNECTIONS)
        pending = await pipeline.run(backlog.COUNTS, {"classes": classes, "most": MOST_ASSETS})
        others = await pipeline.run(backlog.STATE_COUNTS, {"states": list(backlog.STATES), "most": MOST_LISTED})
    totals = Totals()
    _requests(totals, queue, delayed, moving, blocked.rows)
    for one in credentials.rows:
        totals.put(families.CREDENTIALS, one.credentials, one.platform, one.source, one.state)
    for limit in limits.rows:
        totals.put(families.LIMIT_USED, limit.used, limit.source, limit.limit_name)
        totals.put(families.LIMIT_CALLS, limit.calls, limit.source, limit.limit_name)
        totals.put(families.LIMIT_REMAINING, limit.remaining, limit.source, limit.limit_name)
    for item in quarantine.rows:
        totals.put(families.QUARANTINE, item.items, item.kind, item.platform)
    for records in held.rows:
        totals.put(families.HELD, records.records, records.platform, records.source, records.state)
    for parsers in breakers.rows:
        totals.put(families.DATA_BREAKERS, parsers.parsers, parsers.platform, parsers.source, parsers.operation)
    for table in tables.rows:
        totals.put(families.DEAD_ROWS, table.dead, table.name)
        totals.put(families.LIVE_ROWS, table.live, table.name)
    totals.put(families.CONNECTIONS, connections.only.used)
    totals.put(families.CONNECTIONS_MOST, connections.only.most)
    totals.put(families.WEBHOOK_LAG, webhooks.only.lag)
    totals.put(families.WEBHOOK_DUE, webhooks.only.due)
    for waiting in pending.rows:
        totals.put(families.ASSETS_PENDING, waiting.assets, AssetClass(waiting.asset_class).name.lower())
    for counted in others.rows:
        totals.put(families.ASSETS, counted.assets, counted.status.lower())
    _events(totals, await status(database))
    await _on_demand(totals, database)
    return totals


def _requests(
    totals: Totals,
    queue: Answer[Queue],
    delayed: Answer[Delayed],
    moving: Answer[Moving],
    blocked: Iterable[BlockedFor],
) -> None:
    for one in queue.rows:
        labels = (one.platform, one.flow, Priority(one.priority).word)
        totals.put(families.QUEUE_DEPTH, one.fetches, *labels)
        totals.put(families.QUEUE_AGE, one.oldest, *labels)
    for later in delayed.rows:
        totals.put(families.QUEUE_DELAYED, later.fetches, later.platform)
    for moved in moving.rows:
        totals.put(families.FETCHES, moved.fetches, moved.platform, moved.stage.lower())
    for group in blocked:
        totals.put(families.GROUPS_BLOCKED, group.lanes, group.platform, group.source, waits.word(group.why))


def _events(totals: Totals, found: EventStatus) -> None:
    totals.put(families.EVENTS_PENDING, found.log.pending)
    for sink in found.sinks:
        totals.put(families.SINK_LAG_EVENTS, sink.lag_events, sink.name)
        totals.put(families.SINK_LAG_SECONDS, sink.lag_seconds, sink.name)
        totals.put(families.SINK_PARKED, sink.parked, sink.name)


async def _on_demand(totals: Totals, database: Database) -> None:
    with suppress(LimitsUnavailable):  # without Redis there are no such figures; all others are kept
        async with StackedLimiter(database) as limiter:
            for view in await overview(limiter):
                if view.used is not None:
                    totals.put(families.ON_DEMAND_USED, view.used, view.name)
                    totals.put(families.ON_DEMAND_CALLS, view.calls, view.name)


def _limits(now: float) -> dict[str, list[object]]:
    """The limits of all sources, as `limits` takes them. Short ones empty within seconds, and are left out."""
    declared = [
        (source.name, limit)
        for platform in platforms().values()
        for source in platform.sources.values()
        for limit in source.limits
        if limit.calendar is not None or limit.seconds >= SHORT
    ]
    rows: Sequence[Sequence[object]] = [
        (source, limit.name, limit.calls, _newest(limit, now), limit.calendar is not None, limit.scope == "source")
        for source, limit in declared
    ]
    return arrays(rows, "sources", "limits", "calls", "newest", "days", "by_source")


def _newest(limit: Limit, now: float) -> int:
    if limit.calendar is not None:
        return int(calendar_day(limit.calendar, now)[0])
    return int(now // ((limit.seconds + margin(limit)) / BUCKETS))
