"""Work that waits long or stands still, and sweeps that are late."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.requests.states import Priority
from beat_actors.running_code import unserved
from beat_actors.watch.rule import listed

BACKLOG_OPENS = 50_000
BACKLOG_RESOLVES = 40_000
IDLE_BROKER = 10
"""Seconds without a turn, while work is ready, after which the broker is said to stand still."""
LONG_WAIT = 600
"""Seconds for which a request that is no batch work may wait before somebody is told."""


class Backlog(NamedTuple):
    """Media that wait. `stands`: an alert about them is open."""

    pending: int
    stands: bool


class Late(NamedTuple):
    """A sweep that is late: seconds since it ended well, its interval (seconds), and what it last said."""

    name: str
    ago: int
    every: float
    error: str | None


class Waiting(NamedTuple):
    """A flow's fetch that has waited longest, and what is in its way. `until`: when the first blocker of the flow clears."""

    platform: str
    flow: str
    since: datetime
    seconds: float
    request_id: int
    reasons: list[dict[str, Any]] | None
    until: datetime | None


class Standstill(NamedTuple):
    """Lanes of a platform with work that is ready."""

    platform: str
    lanes: int


SQL = Statements(__file__)
BACKLOG = SQL("backlog", Backlog)
LATE = SQL("late", Late)
WAITING = SQL("waiting", Waiting)
STANDSTILL = SQL("standstill", Standstill)


async def backlog(database: Database) -> list[Alert]:
    """Media that wait to be stored. It opens at 50,000 and is resolved below 40,000, so that it does not flutter."""
    async with database.statements() as alone:
        found = await alone.only(BACKLOG, {"most": BACKLOG_OPENS})
    if found.pending < (BACKLOG_RESOLVES if found.stands else BACKLOG_OPENS):
        return []
    return [
        Alert(
            key="backlog:assets",
            severity="warning",
            cause=f"{'at least ' if found.pending == BACKLOG_OPENS else ''}{found.pending:,} media files wait to be stored",
            impact="pictures are served from the provider's URLs, which expire; data is not affected",
            automatic="pictures of profiles go before those of posts; work on data is not held up",
            action="add workers: nothing is lost by waiting, save URLs that expire",
        )
    ]


async def late_sweeps(database: Database) -> list[Alert]:
    """Sweeps that have not ended well for three of their intervals and a deadline, under this leader too."""
    async with database.statements() as alone:
        rows = await alone.rows(LATE)
    return [
        Alert(
            key=f"sweep:{row.name}",
            severity="critical",
            cause=f"sweep {row.name!r} has been failing for {row.ago} s (it runs every {row.every:g} s)",
            impact="what it looks for is found late; nothing is lost",
            automatic="it is tried again at each interval, and does not hold up the other sweeps",
            action=f"look into the scheduler's log; it last said: {row.error or 'nothing'}",
        )
        for row in rows
    ]


async def standstill(database: Database) -> list[Alert]:
    """Platforms on which work is ready and the broker does not turn."""
    async with database.statements() as alone:
        rows = await alone.rows(STANDSTILL, {"idle": IDLE_BROKER})
    # What no worker has, another alert tells, with its cause.
    elsewhere = await unserved(database) if rows else set[str]()
    return [
        Alert(
            key=f"claims:{row.platform}",
            severity="critical",
            cause=f"work of {row.platform} has been ready in {row.lanes} lanes for more than {IDLE_BROKER} s, and no turn took it",
            impact="requests of this platform stand still; none is lost",
            automatic="the broker is rung every 2 s; the first worker that is free takes its turn",
            action="check that workers run and reach PostgreSQL and Redis: `beat doctor`",
        )
        for row in rows
        if row.platform not in elsewhere
    ]


async def waiting(database: Database) -> list[Alert]:
    """Flows of which a request that somebody waits for has not been leased anything for long."""
    async with database.statements() as alone:
        rows = await alone.rows(WAITING, {"batch": Priority.BATCH, "seconds": LONG_WAIT})
    return [
        Alert(
            key=f"waiting:{row.platform}:{row.flow}",
            severity="warning",
            cause=f"{row.flow} of {row.platform}: the first request has waited for {row.seconds / 60:.0f} min ({_blockers(row.reasons)})",
            impact="who asked for it waits, or is answered with older data; nothing is lost",
            automatic="it goes on by itself"
            if row.until is None
            else f"it goes on at {row.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, when the first of its blockers clears",
            action=f"`beat why {row.request_id}` names every blocker; add a credential, or wait",
        )
        for row in rows
    ]


def _blockers(reasons: Sequence[Mapping[str, Any]] | None) -> str:
    return (
        listed([f"{reason['source']}: {reason['why']}" for reason in reasons or []])
        or "nothing known stands in its way"
    )
