"""The timeline of a span of time: alerts, breakers, deployments, what operators did, and the throughput by interval."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from beat_actors.database import Database, Statements
from beat_actors.errors import BadInput
from beat_actors.moments import moment
from beat_actors.observe.changes import changes
from beat_actors.observe.page import Brief, Entry, Interval, Kind
from beat_actors.observe.words import number
from beat_actors.platforms.registry import platforms

LONGEST = timedelta(days=31)
ENTRIES, READ = 200, 1000
"""Entries of a timeline; rows of each kind that are read."""
INTERVALS = 24
STEPS = (60, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800)
"""Seconds of an interval."""
CYCLES = 1000
"""Dispatch cycles of a platform that are read in an interval."""


class Opened(NamedTuple):
    """An alert."""

    id: int
    key: str
    severity: str
    cause: str
    opened_at: datetime
    resolved_at: datetime | None


class Told(NamedTuple):
    """An event about a breaker or an alert. `owner`: of a breaker of one owner, else empty."""

    at: datetime
    type: str
    subject: str
    owner: str
    data: dict[str, Any]


class Cycles(NamedTuple):
    """Dispatch cycles of a platform in interval `n`."""

    n: int
    platform: str
    cycles: int
    leased: int
    settled: int
    last_at: datetime


SQL = Statements(__file__)
ALERTS, EVENTS, THROUGHPUT = SQL("alerts", Opened), SQL("events", Told), SQL("throughput", Cycles)


async def past(database: Database, since: datetime, until: datetime | None = None, *, actors: bool = True) -> Brief:
    """The timeline from `since` until `until` (now). Raises `BadInput` for a span that is empty or longer than `LONGEST`, and `StorageUnavailable`."""
    async with database.statements() as alone:
        at = datetime.fromtimestamp(await alone.now(), since.tzinfo)
        end = min(until or at, at)
        if since >= end:
            raise BadInput(f"there is no time between {moment(since)} and {moment(end)}", field="since")
        if end - since > LONGEST:
            raise BadInput(
                f"a timeline is of {LONGEST.days} days at most; from {moment(since)} to {moment(end)} is more",
                field="since",
            )
        span = {"since": since, "until": end}
        opened = await alone.rows(ALERTS, {**span, "most": READ})
        told = await alone.rows(EVENTS, {**span, "most": READ})
        changed = await changes(alone, since, end, actors=actors)
        seconds = step(end - since)
        cycles = await alone.rows(
            THROUGHPUT, {**span, "seconds": seconds, "platforms": sorted(platforms()), "most": CYCLES}
        )
    entries = [
        *_alerts(opened, since, end),
        *_events(told),
        *(Entry(at=one.at, kind=one.kind, what=_by(one.who, one.what, one.kind)) for one in changed),
    ]
    entries.sort(key=lambda one: one.at)
    kept = fitting(entries)
    return Brief(
        at=at,
        status="past",
        sentence=_sentence(opened, since, end),
        since=since,
        until=end,
        timeline=kept,
        left_out=len(entries) - len(kept),
        throughput=_throughput(cycles, since, end, seconds),
    )


def step(span: timedelta) -> int:
    """The shortest interval of which at most `INTERVALS` make the span."""
    return next((seconds for seconds in STEPS if span.total_seconds() <= seconds * INTERVALS), STEPS[-1])


def fitting(entries: Sequence[Entry]) -> list[Entry]:
    """At most `ENTRIES`: where there are more, breakers are left out first, and then what came last."""
    if len(entries) <= ENTRIES:
        return list(entries)
    others = [one for one in entries if one.kind != "breaker"]
    room = ENTRIES - len(others)
    if room <= 0:
        return others[:ENTRIES]
    return sorted([*others, *[one for one in entries if one.kind == "breaker"][:room]], key=lambda one: one.at)


def _alerts(rows: Sequence[Opened], since: datetime, until: datetime) -> list[Entry]:
    found = []
    for row in rows:
        if row.opened_at < since:
            found.append(_of_alert(since, f"stands since {moment(row.opened_at)}", row))
        else:
            found.append(_of_alert(row.opened_at, "opened", row))
        if row.resolved_at is not None and row.resolved_at < until:
            lasted = (row.resolved_at - row.opened_at).total_seconds()
            found.append(
                Entry(at=row.resolved_at, kind="alert", what=f"alert {row.key} resolved after {lasted:,.0f} s")
            )
    return found


def _of_alert(at: datetime, verb: str, row: Opened) -> Entry:
    return Entry(at=at, kind="alert", what=f"alert {row.key} {verb} ({row.severity}): {row.cause}")


def _events(rows: Sequence[Told]) -> list[Entry]:
    """Breakers and rises in severity. Breakers of single owners that change within a minute are one entry."""
    found = []
    owners = Counter[tuple[datetime, str, str]]()
    for row in rows:
        kind, _, verb = row.type.removeprefix("beat.").partition(".")
        if kind == "alert":
            key = row.subject.removeprefix("alert/")
            found.append(Entry(at=row.at, kind="alert", what=f"alert {key} is now {row.data.get('severity')}"))
        elif row.owner:
            owners[row.at.replace(second=0, microsecond=0), str(row.data.get("source")), verb] += 1
        else:
            found.append(Entry(at=row.at, kind="breaker", what=_breaker(verb, row.data)))
    for (at, source, verb), count in owners.items():
        found.append(
            Entry(at=at, kind="breaker", what=f"{number(count, 'breaker')} of single owners of {source} {verb}")
        )
    return found


def _breaker(verb: str, data: dict[str, Any]) -> str:
    by_hand = " by an operator" if data.get("by_hand") else ""
    opened_by = data.get("opened_by") or {}
    why = f": {opened_by['failures']} of {opened_by['calls']} calls failed" if "calls" in opened_by else ""
    parser = " (its answers cannot be parsed)" if data.get("kind") == "parser" else ""
    return f"breaker of {data.get('source')} {data.get('operation')} {verb}{by_hand}{parser}{why}"


def _by(who: str | None, what: str, kind: Kind) -> str:
    return f"{who or 'an operator'}: {what}" if kind == "operator" else what


def _sentence(opened: Sequence[Opened], since: datetime, until: datetime) -> str:
    span = f"{moment(since)} to {moment(until)}"
    began = [row for row in opened if row.opened_at >= since]
    resolved = sum(row.resolved_at is not None and row.resolved_at < until for row in opened)
    if not opened:
        return f"{span}: no alert was open"
    stood = len(opened) - len(began)
    first = min(began, key=lambda row: row.opened_at) if began else None
    said = [f"{number(len(began), 'alert')} opened, {resolved:,} resolved"]
    if stood:
        said.append(f"{stood:,} stood before")
    if first is not None:
        said.append(f"the first at {moment(first.opened_at)}: {first.key}")
    return f"{span}: {', '.join(said)}"


def _throughput(rows: Sequence[Cycles], since: datetime, until: datetime, seconds: int) -> list[Interval]:
    count = -(-int((until - since).total_seconds()) // seconds) or 1
    made = []
    for n in range(count):
        start = since + timedelta(seconds=n * seconds)
        end = min(start + timedelta(seconds=seconds), until)
        of_interval = [row for row in rows if row.n == n]
        rates = [
            (row.leased / minutes, row.settled / minutes)
            for row in of_interval
            if (minutes := _minutes(row, start, end)) > 0
        ]
        made.append(
            Interval(
                since=start,
                until=end,
                leases=round(sum(leases for leases, _ in rates), 1),
                outcomes=round(sum(outcomes for _, outcomes in rates), 1),
                estimated=any(row.cycles >= CYCLES for row in of_interval),
            )
        )
    return made


def _minutes(row: Cycles, start: datetime, end: datetime) -> float:
    """Of the interval, or of the part of it whose cycles were read."""
    until = row.last_at if row.cycles >= CYCLES else end
    return (until - start).total_seconds() / 60
