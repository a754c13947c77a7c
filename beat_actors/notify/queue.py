"""Messages to sinks: which are due, claimed with a lease, settled; and what each sink was told.

A message has no content while it waits: it says what there is to say when it is sent. `attempt` rises with each claim and is its fence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from beat_actors.database import Database, Statements
from beat_actors.notify.hours import is_open
from beat_actors.notify.kinds import KEEP_STATE, NO_PLATFORM
from beat_actors.notify.message import Affected, Told

WAIT = 10.0
"""Seconds from the first alert of a group on within which other alerts join the same message."""
INTERVAL = 30.0
"""Seconds between two messages of a group."""
PER_MINUTE, PER_SINK = 20, 4
"""Messages to one sink a minute, and those that are out to it at a time."""
EXPIRES = 86_400.0
"""Seconds after which a message that its sink does not take is given up."""
LEASE = 60.0
"""Seconds after which a message whose sender said nothing is sent again; more than an attempt may take."""
CONTENT = 1000
"""Open alerts, and ended ones, that one message tells of."""
COUNTED = 10_000
"""Open requests that are counted."""
FORGOTTEN = 5000


class Look(NamedTuple):
    """A sink that is active or has a message waiting; `now`: epoch seconds. Of all sinks: `busy`: there may be something to make messages of;
    `due`: there is a message to send."""

    id: int
    hours: str | None
    days: str | None
    timezone: str
    now: float
    active: bool
    busy: bool
    due: bool


class Claimed(NamedTuple):
    """A message that its claimer alone sends, and its sink. `failures`: of the sink, in a row."""

    id: int
    attempt: int
    group_key: str
    test: bool
    sink_id: int
    name: str
    kind: str
    target: str
    recipients: list[str]
    sender: str | None
    key_id: str
    secret: bytes
    private: bool
    failures: int
    repeat_seconds: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a claimed message went: `sent`, `failed`, or `dropped`: there was nothing to say any more. `delay`: seconds until the next attempt."""

    outcome: str
    delay: float = 0.0
    status: int | None = None
    error: str | None = None


SQL = Statements(__file__)
LOOK, PLAN, CLAIM = SQL("look", Look), SQL("plan", int), SQL("claim", Claimed)
CONTENT_OF, AFFECTED = SQL("content", Told), SQL("affected", Affected)
LOCK, SETTLE = SQL("lock", int), SQL("settle", int)
LATE, FORGET = SQL("late"), SQL("forget")
_OF_ALERTS = {"no_platform": NO_PLATFORM, "keep_state": list(KEEP_STATE)}


async def look(database: Database) -> list[Look]:
    async with database.statements() as alone:
        return await alone.rows(LOOK)


async def plan(database: Database, sinks: Sequence[Look]) -> int:
    """Make messages for the sinks whose hours it is; how many."""
    open_now = [one.id for one in sinks if one.active and is_open(one.hours, one.days, one.timezone, one.now)]
    if not open_now:
        return 0
    values = {"sinks": open_now, "wait": WAIT, "interval": INTERVAL, "most": PER_MINUTE, "expires": EXPIRES}
    async with database.statements() as alone:
        return await alone.only(PLAN, values | _OF_ALERTS)


async def claim(database: Database, limit: int) -> list[Claimed]:
    """Up to so many messages whose time has come; they are the caller's for `LEASE` seconds."""
    async with database.statements() as alone:
        await alone.run(LATE)
        return await alone.rows(CLAIM, {"per_sink": PER_SINK, "limit": limit, "lease": LEASE})


async def content(database: Database, row: Claimed) -> tuple[list[Told], list[Affected]]:
    """What a message says, and how many requests are open meanwhile."""
    values = {"sink": row.sink_id, "group_key": row.group_key, "limit": CONTENT}
    async with database.statements() as alone:
        told = await alone.rows(CONTENT_OF, values | _OF_ALERTS)
        return told, await alone.rows(AFFECTED, {"most": COUNTED}) if told else []


async def settle(database: Database, row: Claimed, outcome: Outcome, told: Sequence[Told]) -> None:
    """Write down how it went. `told`: what the message said, where it was sent."""
    firing = [one for one in told if one.resolved_at is None]
    over = [one for one in told if one.resolved_at is not None]
    sent = outcome.outcome == "sent"
    values = {
        "id": row.id,
        "attempt": row.attempt,
        "outcome": outcome.outcome,
        "delay": outcome.delay,
        "status": outcome.status,
        "error": outcome.error,
        "firing": len(firing),
        "resolved": len(over),
        "told": [one.id for one in firing] if sent else [],
        "severities": [one.severity for one in firing] if sent else [],
        "over": [one.id for one in over] if sent else [],
    }
    async with database.transaction() as transaction:
        if await transaction.rows(LOCK, {"sink": row.sink_id}):
            await transaction.rows(SETTLE, values)


async def forget(database: Database, epoch: int | None = None) -> int:
    """Drop messages that ended longer ago than logs are kept; how many, up to `FORGOTTEN` at once."""
    async with database.statements() as alone:
        return await alone.run(FORGET, {"days": database.settings.log_days, "epoch": epoch, "limit": FORGOTTEN})
