"""The publishing of events: sinks that stand, that fall behind or that nobody publishes to, events that a sink did not take."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.events import status
from beat_actors.events.sink import Trouble
from beat_actors.events.status import EventStatus, LogView, SinkView
from beat_actors.events.troubles import remedy
from beat_actors.moments import moment

STANDS_AFTER = 15.0
"""Seconds for which a sink may stand: servers are restarted, and connections break."""
LAG_SECONDS, LAG_EVENTS = 60.0, 1_000_000
"""From where on a sink lags."""
CAUGHT_UP_SECONDS, CAUGHT_UP_EVENTS = 10.0, 100_000
"""Below which a sink that lagged does so no more."""
NOBODY_AFTER = 15.0
"""Seconds for which events may wait without a publisher: it may be restarting."""


class ParkedFirst(NamedTuple):
    """The first parked event of a sink."""

    sink: str
    seq: int
    trouble: str
    reason: str
    parked_at: datetime


SQL = Statements(__file__)
LAGGING = SQL("lagging", str)
PARKED = SQL("parked", ParkedFirst)


async def unpublished(database: Database) -> list[Alert]:
    """What keeps events from their sinks. There are at most three alerts for a sink, and one for all."""
    async with database.statements() as alone:
        if not await alone.rows(status.NAMES):
            return []
    found = await status.status(database)
    async with database.statements() as alone:
        lagging = set(await alone.rows(LAGGING))
        first = {row.sink: row for row in await alone.rows(PARKED)}
    alerts = [alert for one in found.sinks for alert in _of_sink(one, found.log, first.get(one.name), lagging)]
    nobody = _nobody(found)
    return alerts if nobody is None else [*alerts, nobody]


def _of_sink(sink: SinkView, log: LogView, first: ParkedFirst | None, lagging: Collection[str]) -> list[Alert]:
    parked = [] if first is None else [_parked(sink, first)]
    if sink.state == "not_configured":
        return [*parked, _not_configured(sink)]
    if sink.state not in ("publishing", "standing"):
        return parked  # that no publisher runs is one alert for all of them
    standing = sink.trouble is not None and sink.since is not None
    lasted = (log.at - sink.since).total_seconds() if standing and sink.since is not None else 0.0
    found = parked
    if sink.trouble is not None and lasted > STANDS_AFTER:
        found = [*found, _stands(sink, sink.trouble, lasted)]
    if lags(sink.lag_seconds, sink.lag_events, lagging=sink.name in lagging):
        found = [*found, _lags(sink)]
    return found


def lags(seconds: float, events: int, *, lagging: bool) -> bool:
    """Whether a sink is too far behind. One that is said to be (`lagging`) has to come closer than one that is not, so that no alert comes and goes."""
    if lagging:
        return seconds >= CAUGHT_UP_SECONDS or events >= CAUGHT_UP_EVENTS
    return seconds > LAG_SECONDS or events > LAG_EVENTS


def _stands(sink: SinkView, trouble: str, seconds: float) -> Alert:
    known = remedy(trouble)
    said = f": {sink.reason}" if sink.reason else ""
    return Alert(
        key=f"events:{sink.name}:{trouble}",
        severity="critical" if trouble == Trouble.LOST or seconds > 600 else "warning",
        cause=f"the sink {sink.name} {known.cause} ({trouble}, for {seconds:.0f} s){said}",
        impact=f"its consumers receive no events: {sink.lag_events:,} wait; other sinks and webhooks are not affected",
        automatic=known.automatic,
        action=known.action.replace("NAME", sink.name),
    )


def _lags(sink: SinkView) -> Alert:
    why = (
        f"it {remedy(sink.trouble).cause}" if sink.trouble is not None else "it takes events more slowly than they come"
    )
    return Alert(
        key=f"events:{sink.name}:lag",
        severity="warning",
        cause=f"the sink {sink.name} is {sink.lag_events:,} events behind, the oldest is {sink.lag_seconds:.0f} s old: {why}",
        impact="its consumers receive events late; nothing is lost, and other sinks are not affected",
        automatic=f"Beat publishes as fast as the sink takes events; the alert is resolved below {CAUGHT_UP_SECONDS:.0f} s and {CAUGHT_UP_EVENTS:,} events",
        action="`beat events status` shows the pace and when it has caught up; check the load of its server and of the host of the publisher",
    )


def _parked(sink: SinkView, first: ParkedFirst) -> Alert:
    known = remedy(first.trouble)
    many = f"{sink.parked:,} events are" if sink.parked != 1 else "one event is"
    again = (
        "an operator decides about them"
        if first.trouble == Trouble.INVALID
        else "Beat sends them again, at last every 5 minutes"
    )
    return Alert(
        key=f"events:{sink.name}:parked",
        severity="warning",
        cause=f"{many} parked, since {moment(first.parked_at)}: the sink {sink.name} {known.cause} ({first.trouble}; first at place {first.seq}: {first.reason})",
        impact="its consumers do not have these events, nor later ones of the same subjects where the sink's order is `wait`; all others are sent",
        automatic=f"{again}; those that wait behind another follow it",
        action=f"`beat events parked {sink.name}` lists them; remove the cause, then `beat events retry {sink.name}`, or give them up: "
        f"`beat events drop {sink.name} --seq N --reason …`",
    )


def _not_configured(sink: SinkView) -> Alert:
    return Alert(
        key=f"events:{sink.name}:unconfigured",
        severity="warning",
        cause=f"publishers run, and none of them publishes to the sink {sink.name}, which is {sink.lag_events:,} events behind",
        impact="its consumers receive no events, and events that it has not got are kept past BEAT_LOG_DAYS",
        automatic="Beat keeps its place in the log; when it is configured again it goes on from there",
        action="put it into BEAT_EVENT_SINKS of the publishers and restart them; `beat doctor` tells what is wrong with its settings; "
        f"if it is not needed any more: `beat events forget {sink.name} --reason …`",
    )


def _nobody(found: EventStatus) -> Alert | None:
    """No publisher runs, and events wait for one."""
    log, held = found.log, any(one.holder is not None for one in found.sinks)
    waiting = max([log.pending_seconds or 0.0, *(one.lag_seconds for one in found.sinks)])
    if log.publishers or held or waiting < NOBODY_AFTER:
        return None
    behind = max((one.lag_events for one in found.sinks), default=0) + log.pending
    return Alert(
        key="events:publisher",
        severity="critical",
        cause=f"events have waited for {waiting:.0f} s, {behind:,} of them, and no publisher process runs",
        impact="no sink receives events; webhooks and /v1/changes are not affected",
        automatic="events are kept; a publisher that starts publishes all of them in order",
        action="start one: python -m actors.publish; check that it reaches PostgreSQL: `beat doctor`",
    )
