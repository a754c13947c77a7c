"""Work that waits long, dispatch cycles that do not run, and sweeps that are late."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.moments import moment
from beat_actors.requests.states import Priority
from beat_actors.running_code import unserved
from beat_actors.watch.rule import listed, number

IDLE_BROKER = 10
"""Seconds without a dispatch cycle, while work is ready, after which an alert is opened."""
LONG_WAIT = 600
"""Seconds for which a request that is no batch work may wait before an alert is opened."""


class Late(NamedTuple):
    """A sweep that is late: seconds since it succeeded, its interval and deadline (seconds), its last error, and whether its alert is open."""

    name: str
    ago: int
    every: float
    deadline: float
    error: str | None
    stands: bool


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
LATE = SQL("late", Late)
WAITING = SQL("waiting", Waiting)
STANDSTILL = SQL("standstill", Standstill)


async def late_sweeps(database: Database) -> list[Alert]:
    """Sweeps that have not succeeded for three of their intervals and a deadline, under this leader too."""
    async with database.statements() as alone:
        rows = await alone.rows(LATE)
    return [
        Alert(
            key=f"sweep:{row.name}",
            severity="critical",
            cause=f"the sweep {row.name!r} has not succeeded for {row.ago} s (it runs every {row.every:g} s); {f'last error: {row.error}' if row.error else 'it reported no error'}",
            impact="the work that this sweep finds is done late; nothing is lost",
            automatic="the scheduler runs it again at each interval; other sweeps are not delayed",
            action="check the scheduler's log, then: `beat doctor`",
        )
        for row in rows
        # While PostgreSQL does not answer no sweep succeeds, and another alert tells of that.
        if row.stands or row.ago - database.metrics.away_for(row.ago) > 3 * row.every + row.deadline
    ]


async def standstill(database: Database) -> list[Alert]:
    """Platforms on which work is ready and no dispatch cycle runs."""
    async with database.statements() as alone:
        rows = await alone.rows(STANDSTILL, {"idle": IDLE_BROKER})
    # What no worker has, another alert tells, with its cause.
    elsewhere = await unserved(database) if rows else set[str]()
    return [
        Alert(
            key=f"claims:{row.platform}",
            severity="critical",
            cause=f"{row.platform}: no worker has run a dispatch cycle for more than {IDLE_BROKER} s, with work ready in {number(row.lanes, 'lane')}",
            impact=f"no request of {row.platform} makes progress; none is lost",
            automatic="the scheduler asks for a dispatch cycle every 2 s; the first free worker runs it",
            action="check that workers run and reach PostgreSQL and Redis: `beat doctor`",
            platform=row.platform,
        )
        for row in rows
        if row.platform not in elsewhere
    ]


async def waiting(database: Database) -> list[Alert]:
    """Flows in which a request that is no batch work has waited long for its first lease."""
    async with database.statements() as alone:
        rows = await alone.rows(WAITING, {"batch": Priority.BATCH, "seconds": LONG_WAIT})
    return [
        Alert(
            key=f"waiting:{row.platform}:{row.flow}",
            severity="warning",
            cause=f"{row.flow} of {row.platform}: the oldest request has waited for {row.seconds / 60:.0f} min ({_blockers(row.reasons)})",
            impact="its consumer waits or gets older data; nothing is lost",
            automatic="the request continues when a source has room"
            if row.until is None
            else f"the request continues at {moment(row.until)}, when the first blocker clears",
            action=f"`beat why {row.request_id}` names every blocker; add a credential, or wait",
            platform=row.platform,
            over_at=row.until,
        )
        for row in rows
    ]


def _blockers(reasons: Sequence[Mapping[str, Any]] | None) -> str:
    return listed([f"{reason['source']}: {reason['why']}" for reason in reasons or []]) or "no known blocker"
