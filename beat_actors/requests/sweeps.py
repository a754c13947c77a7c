"""What the scheduler looks for: work whose time has come, messages that were lost, leases whose holder died. Each a batch of
idempotent SQL that may run anywhere, at any time, twice at once.

What writes takes the leader's `epoch` and does nothing for a leader that has been replaced; without one it runs for anybody.
"""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

import psycopg

from beat_actors.database import Database, Statement, Statements, clock
from beat_actors.database.clock import TOLD_FOR
from beat_actors.fetches import ending, rescue
from beat_actors.fetches.claims import ISOLATE_AFTER
from beat_actors.fetches.states import Stage
from beat_actors.platforms.registry import platforms
from beat_actors.requests import lifecycle
from beat_actors.requests.swept import Swept

BATCH = 1000

SQL = Statements(__file__)


class Due(NamedTuple):
    """A platform with something to do, or the database's time in epoch seconds."""

    platform: str | None
    now: float | None


class Unmade(NamedTuple):
    """A day that lacks a partition of the table `parent`."""

    parent: str
    day: date


DUE = SQL("due", Due)
WAITING = SQL("waiting", str)
LATE = SQL("late", int)
FORGOTTEN = SQL("forgotten", int)
FREE = (SQL("free_credentials", str), SQL("free_breakers", str), SQL("free_owners_breakers", str))
UNMADE = SQL("unmade", Unmade)
READ = SQL("read", int)
READ_FIRST = frozenset({"profile_log", "post_log"})
"""Logs of which a day is dropped only when it was read for the last good states of entities (`restoring/keeping`)."""
MAKE = SQL("make", int)
DROP = SQL("drop", int)
PASSED_BY = 60.0
"""Seconds past a fetch's deadline until it is asked whether anybody waits for it still."""
LAST_RESORT = 900.0
"""Seconds; fifteen minutes."""
AHEAD = 3
"""Days ahead that have partitions."""
KEPT = {
    **dict.fromkeys(("raw_payload", "archived_payload"), "raw_payload_days"),
    **dict.fromkeys(("trace_log", "profile_log", "post_log", "change_log", "broker_decision"), "log_days"),
}


STAGE_OF: Mapping[str, str] = {Stage.LEASED: "retrieve", Stage.RETRIEVED: "ingest", Stage.INGESTED: "process"}


async def due(database: Database) -> Swept:
    """Waiting work whose time has come, and outcomes for which no turn was asked. Notes steps of the database's clock, for the other sweeps."""
    async with database.statements() as alone:
        asked = clock.elapsed()
        rows = await alone.rows(DUE, {"platforms": list(platforms())})
        now = next(row.now for row in rows if row.now is not None)
        database.clock.look(now, asked, clock.elapsed())
    wake = {row.platform for row in rows if row.platform is not None}
    return Swept(wake=wake, count=len(wake))


async def waiting(database: Database) -> Swept:
    """Every platform on which anything waits: derives each lane's state anew, so that edits by hand take effect."""
    async with database.statements() as alone:
        rows = await alone.rows(WAITING)
    return Swept(wake=set(rows), count=len(rows))


async def unsent(
    database: Database, epoch: int | None = None, *, grace: float, oldest: Mapping[str, float] = MappingProxyType({})
) -> Swept:
    """Stage work without a message or a living holder, sent more than `grace` seconds ago.

    `oldest`: seconds since the message at the head of a stage's queue was sent. What was sent after that message waits behind it, and
    is not sent again, for `LAST_RESORT` seconds at most.
    What has been tried before goes in a message of its own: if it kills its worker, it kills no neighbour's try. What has been tried
    often is isolated.
    """
    waits = {stage: min(max(oldest.get(stage, 0.0), 0.0), LAST_RESORT) for stage in STAGE_OF.values()}
    async with database.statements() as alone:
        rows = await rescue.unsent(alone, waits, grace=grace, epoch=epoch, limit=BATCH)
    fresh: dict[str, list[int]] = {}
    swept = Swept(count=len(rows))
    for row in rows:
        if row.stage_attempts >= ISOLATE_AFTER and row.stage != Stage.LEASED:
            fresh.setdefault("suspects", []).append(row.id)
        elif row.stage_attempts:
            swept.send.append((STAGE_OF[row.stage], [row.id]))
        else:
            fresh.setdefault(STAGE_OF[row.stage], []).append(row.id)
    swept.send += fresh.items()
    return swept


async def orphaned(database: Database, epoch: int | None = None) -> Swept:
    """Calls whose worker is gone."""
    if database.clock.stepped_forth(database.settings.stage_lease):
        return Swept()  # holders that live renew their leases meanwhile
    async with database.statements() as alone:
        wake = await rescue.orphaned(alone, expected=database.clock.expected(), epoch=epoch, limit=BATCH)
    return Swept(wake=wake, count=len(wake))


async def expired(database: Database, epoch: int | None = None) -> Swept:
    """Requests past their deadline."""
    async with database.statements() as alone:
        late = await alone.rows(LATE, {"epoch": epoch, "limit": BATCH})
    if not late:
        return Swept()
    async with database.transaction() as transaction:
        return Swept(count=len(await lifecycle.expire(transaction, late)))


async def check_and_cancel_long_running_tasks(database: Database, epoch: int | None = None) -> Swept:
    """Work of a stage that runs for longer than its flow's `time_limit`."""
    flows = [
        (platform.name, flow.name, flow.time_limit)
        for platform in platforms().values()
        for flow in platform.flows.values()
    ]
    if database.clock.stepped_forth(max((limit for _, _, limit in flows), default=0.0)):
        return Swept()  # what was claimed before it seems to have been worked on for so much longer
    async with database.statements() as alone:
        rows = await rescue.overdue(alone, flows, epoch=epoch, limit=BATCH)
    return Swept(count=len(rows))


async def unsettled(database: Database, epoch: int | None = None) -> Swept:
    """Fetches that nothing else would ever move on: between a call and the broker, or past the deadline of one that left."""
    async with database.statements() as alone:
        rows = await rescue.unsettled(alone, seconds=LAST_RESORT, epoch=epoch, limit=BATCH)
        forgotten = await alone.rows(FORGOTTEN, {"seconds": PASSED_BY, "limit": BATCH})
        dated = await ending.date(alone, forgotten) if forgotten else set()
    return Swept(wake={*rows} | dated, count=len(rows) + len(dated))


async def stuck_probes(database: Database, epoch: int | None = None) -> Swept:
    """Probes whose fetch ended some other way."""
    async with database.statements() as alone:
        freed = [platform for free in FREE for platform in await alone.rows(free, {"epoch": epoch})]
    return Swept(wake=set(freed), count=len(freed))


async def partitions(database: Database, epoch: int | None = None) -> Swept:
    """The days ahead get their partitions, and so do days that came into a default partition; what is past its age goes.

    Each by itself: what fails keeps no other from it, and is raised at the end.
    """
    settings = database.settings
    made, errors = 0, []
    async with database.statements() as alone:

        async def attempt(statement: Statement[int], **values: Any) -> int:
            try:
                return await alone.value(statement, values | {"epoch": epoch}) or 0
            except psycopg.Error as error:
                if alone.connection.closed:
                    raise
                errors.append(error)
                return 0

        # After a step forth the clock may be wrong: what it says is past its age is kept for an hour more.
        for parent, days in () if database.clock.stepped_forth(TOLD_FOR) else KEPT.items():
            kept = getattr(settings, days)
            if parent in READ_FIRST:
                # A day goes once the last good states of its entities are kept.
                kept = await alone.only(READ, {"log": parent, "days": kept})
            await attempt(DROP, parent=parent, days=kept)
        for row in await alone.rows(UNMADE, {"ahead": AHEAD}):
            made += await attempt(MAKE, parent=row.parent, day=row.day)
    if errors:
        raise errors[0]
    return Swept(count=made)
