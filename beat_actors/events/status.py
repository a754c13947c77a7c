"""How the log of events and the sinks stand, for people and for alerts: what is published, what stands, how far each sink is behind."""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from beat_actors.database import Database, Statements, Transaction
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.errors import UnknownName
from beat_actors.shapes import one_of

PROCESS = "publisher"
"""The name by which the process that publishes reports and connects."""
MOST_COUNTED = 100_000
"""Pending events, and parked events of a sink, that are counted; as many may mean more."""
STATES = ("publishing", "standing", "starting", "no_publisher", "not_configured")


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """The log at the time `at`. `last`: its last place. `pending`: events that have no place yet; the oldest of them is `pending_seconds` old.
    `publishers`: publisher processes that live."""

    at: datetime
    last: int
    pending: int
    pending_seconds: float | None
    publishers: int


class SinkView(msgspec.Struct, frozen=True, kw_only=True):
    """A sink. `state`: `publishing`; `standing`: it takes nothing because of `trouble`, described by `reason`, since `since`; `starting`: no publisher has
    taken it up yet; `no_publisher`: no publisher process runs; `not_configured`: publishers run, and none of them has it in BEAT_EVENT_SINKS.

    `seq`: the place of the log up to which it has everything. `lag_events`: places behind the end of the log; the oldest event that it has not got
    is `lag_seconds` old. `sent`, `returned`, `nacked`: events since the sink was first configured. `parked`: events that are set aside now. `replays`:
    those that have not ended. `wanted`: which events it gets.
    """

    name: str
    scheme: str
    state: Annotated[str, one_of(STATES)]
    trouble: str | None
    reason: str | None
    since: datetime | None
    holder: str | None
    seq: int
    lag_events: int
    lag_seconds: float
    sent: int
    returned: int
    nacked: int
    parked: int
    replays: int
    wanted: dict[str, Any]
    created_at: datetime


class EventStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The log and every sink."""

    log: LogView
    sinks: list[SinkView]


class Pace(msgspec.Struct, frozen=True):
    """How fast a sink proceeds. `rate`: places of the log a second. `eta_seconds`: until it has caught up; `None`: at this rate it never does."""

    rate: float
    eta_seconds: float | None


SQL = Statements(__file__)
LOG = SQL("log", LogView)
SINKS = SQL("sinks", SinkView)
NAMES = SQL("names", str)


async def status(database: Database) -> EventStatus:
    """Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        log = await alone.only(LOG, {"within": SEEN_WITHIN, "process": PROCESS, "most": MOST_COUNTED})
        return EventStatus(log=log, sinks=await alone.rows(SINKS, {"publishers": log.publishers, "most": MOST_COUNTED}))


def pace(before: EventStatus, after: EventStatus, name: str) -> Pace | None:
    """How fast a sink proceeded between two looks; `None` where it is in one of them alone, or no time passed."""
    first = next((one for one in before.sinks if one.name == name), None)
    last = next((one for one in after.sinks if one.name == name), None)
    seconds = (after.log.at - before.log.at).total_seconds()
    if first is None or last is None or seconds <= 0:
        return None
    rate, grows = (last.seq - first.seq) / seconds, (after.log.last - before.log.last) / seconds
    if last.lag_events == 0:
        return Pace(rate, 0.0)
    return Pace(rate, last.lag_events / (rate - grows) if rate > grows else None)


async def check_sink(transaction: Transaction, name: str) -> None:
    """Raises `UnknownName`, with the sinks that there are, for one that has no row."""
    names = await transaction.rows(NAMES)
    if name not in names:
        there = f"there is: {', '.join(names)}" if names else "none was ever configured"
        raise UnknownName(f"there is no sink {name[:64]!r}; {there}", field="sink")
