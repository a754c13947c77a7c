"""The whole installation at a moment, as `beat top` shows it: one bounded statement for each look."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Database, Statements
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.observe.picture import (
    AlertLine,
    KindLine,
    LaneLine,
    Picture,
    ProcessLine,
    ReasonLine,
    SinkLine,
    SourceLine,
)
from beat_actors.observe.roots import Standing, groups
from beat_actors.platforms.registry import platforms

COUNTED, CALLS, EVENTS, LISTED = 10_000, 20_000, 5000, 100
"""Rows of a kind that are counted; calls, and events, of the last minute that are read; rows of each list."""
WINDOW = 60
"""Seconds of the rates."""


class Row(NamedTuple):
    """What the statement gives; the lists are JSON."""

    at: datetime
    requests: int
    waiting: int
    oldest: datetime | None
    complete: int
    failed: int
    leased: int
    settled: int
    calls: int
    calls_seconds: float
    ended_seconds: float
    events: int
    sources: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    lanes: list[dict[str, Any]]
    sinks: list[dict[str, Any]]
    webhooks: int
    assets: int
    oldest_asset: datetime | None
    quarantined: int
    kinds: list[dict[str, Any]]
    processes: list[dict[str, Any]]
    led_at: datetime | None
    alerts: int
    open: list[dict[str, Any]]


OVERVIEW = Statements(__file__)("overview", Row)


async def overview(database: Database) -> Picture:
    """Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        row = await alone.only(
            OVERVIEW,
            {
                "counted": COUNTED,
                "calls": CALLS,
                "events": EVENTS,
                "listed": LISTED,
                "seconds": SEEN_WITHIN,
                "window": WINDOW,
            },
        )
    # Of a minute with more rows than are read, the rates are those of the part that was.
    of_calls = 60 / (row.calls_seconds if row.calls >= CALLS and row.calls_seconds else WINDOW)
    of_events = 60 / (row.ended_seconds if row.events >= EVENTS and row.ended_seconds else WINDOW)
    return Picture(
        at=row.at,
        requests=row.requests,
        waiting=row.waiting,
        counted=COUNTED,
        oldest=row.oldest,
        complete_rate=row.complete * of_events,
        failed_rate=row.failed * of_events,
        leased_rate=row.leased * 60 / WINDOW,
        settled_rate=row.settled * 60 / WINDOW,
        call_rate=row.calls * of_calls,
        sources=[_source(one, of_calls) for one in row.sources],
        reasons=msgspec.convert(row.reasons, list[ReasonLine]),
        lanes=msgspec.convert(row.lanes, list[LaneLine]),
        sinks=msgspec.convert(row.sinks, list[SinkLine]),
        webhooks=row.webhooks,
        assets=row.assets,
        oldest_asset=row.oldest_asset,
        quarantined=row.quarantined,
        kinds=msgspec.convert(row.kinds, list[KindLine]),
        processes=msgspec.convert(row.processes, list[ProcessLine]),
        led_at=row.led_at,
        open_alerts=row.alerts,
        alerts=_alerts(row.open),
    )


def _source(one: dict[str, Any], of_calls: float) -> SourceLine:
    found = msgspec.convert(one, SourceLine)
    return msgspec.structs.replace(found, rate=found.calls * of_calls)


def _alerts(rows: list[dict[str, Any]]) -> list[AlertLine]:
    """The causes first, each with how many others it explains."""
    platform_of = {source: name for name, platform in platforms().items() for source in platform.sources}
    standing = [Standing(**{**row, "opened_at": msgspec.convert(row["opened_at"], datetime)}) for row in rows]
    return [
        AlertLine(
            key=group.root.key,
            severity=group.severity,
            opened_at=group.root.opened_at,
            cause=group.root.cause,
            silenced=group.root.silenced,
            parts=len(group.parts),
        )
        for group in groups(standing, platform_of)
    ]
