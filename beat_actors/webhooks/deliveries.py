"""Deliveries of events to endpoints: made from the log of events, claimed with a lease, settled in batches, kept for a while.

`attempt` rises with each claim and is its fence: who was taken for dead and comes back settles nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from beat_actors.database import BY_INDEX, Database, Statements, jsonb
from beat_actors.events.log import sequence
from beat_actors.traces.onward import of_row
from beat_actors.webhooks.backoff import FAILURES, open_seconds

PROCESS = "deliverer"
"""The name by which a process that delivers reports and connects."""
EVENTS = 1000
"""Events of which one statement makes deliveries."""
PER_ENDPOINT = 8
"""Deliveries that are out to one endpoint at a time, so that a slow one has few of the places."""
PER_ACCOUNT = 32
"""Deliveries that are out to all endpoints of one account at a time, over all processes. The installation's own count as an account."""
LEASE = 60.0
"""Seconds after which a delivery whose sender said nothing is made again; more than a call may take."""
FORGOTTEN = 5000


class Look(NamedTuple):
    """What there is to do: `pending`: events without a place in the log; `news`: events without deliveries; `late` and `due` deliveries; and whether
    any endpoint is `active`."""

    active: bool
    pending: bool
    news: bool
    late: bool
    due: bool


class Claimed(NamedTuple):
    """A delivery that its claimer alone sends. `tries`: attempts since it was made, or sent again by hand. `at`: epoch seconds of now.
    The old secret counts where `old_key_id` is not None. `request_id` to `trace`: the request that the event is of."""

    id: int
    attempt: int
    tries: int
    endpoint_id: int
    event_id: UUID
    type: str
    data: dict[str, Any]
    occurred_at: datetime
    url: str
    key_id: str
    secret: bytes
    old_key_id: str | None
    old_secret: bytes | None
    at: int
    request_id: int | None
    created_at: datetime | None
    runs: int | None
    trace: bytes | None

    @property
    def traceparent(self) -> str | None:
        """With which the consumer goes on with the trace of the request; None if the event is of none, or of one that is gone."""
        return of_row(self, str(self.event_id), self.type, self.endpoint_id)


class Settled(NamedTuple):
    """An endpoint of which outcomes were written. `gone`: it wants nothing any more."""

    id: int
    gone: bool


SQL = Statements(__file__)
FAN_OUT = SQL("fan_out", int)
LOOK = SQL("look", Look)
CANDIDATES = SQL("candidates", int)
CLAIM = SQL("claim", Claimed)
LOCK = SQL("lock", int)
SETTLE = SQL("settle", Settled)
LATE = SQL("late")
REFUSED = SQL("refused")
FORGET = SQL("forget")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a claimed delivery went. `delay`, `pause`: seconds until this delivery's next attempt, and until the endpoint's next one.

    `gone`: the endpoint wants nothing any more.
    """

    id: int
    attempt: int
    endpoint_id: int
    delivered: bool
    delay: float
    gone: bool = False
    status: int | None = None
    error: str | None = None
    pause: float = 0.0


async def look(database: Database) -> Look:
    async with database.statements() as alone:
        return await alone.only(LOOK)


async def fan_out(database: Database) -> int:
    """Give pending events their places in the log, and make deliveries of the next events; how many events were looked at."""
    async with database.statements() as alone:
        await sequence(alone)
        return await alone.only(FAN_OUT, {"limit": EVENTS})


async def claim(database: Database, limit: int) -> list[Claimed]:
    """Up to so many deliveries whose time has come, each with its endpoint; they are the caller's for `LEASE` seconds."""
    values = {"failures": FAILURES, "per_endpoint": PER_ENDPOINT, "per_account": PER_ACCOUNT, "limit": limit}
    async with database.transaction() as transaction:
        async with transaction.pipeline() as together:
            await together.run(BY_INDEX)
            endpoints = await together.run(CANDIDATES, values)
        if not endpoints.rows:
            return []
        return await transaction.rows(CLAIM, values | {"endpoints": endpoints.rows, "lease": LEASE})


async def settle(database: Database, outcomes: Sequence[Outcome]) -> None:
    """Write down how these went, and what follows for their endpoints."""
    rows = [
        {name: getattr(one, name) for name in Outcome.__dataclass_fields__}
        for one in sorted(outcomes, key=lambda one: one.id)
    ]
    async with database.transaction() as transaction:
        before = await transaction.rows(LOCK, {"endpoints": sorted({one.endpoint_id for one in outcomes})})
        if not before:
            return
        values = {"outcomes": jsonb(rows), "failures": FAILURES, "cooldowns": open_seconds()}
        settled = await transaction.rows(SETTLE, values)
        if gone := [row.id for row in settled if row.gone]:
            await transaction.run(REFUSED, {"endpoints": gone})


async def fail_late(database: Database) -> int:
    """End what nobody took within 24 h; how many."""
    async with database.transaction() as transaction:
        await transaction.last.run(BY_INDEX)
        ended = await transaction.last.run(LATE, {"limit": EVENTS})
    return ended.touched


async def forget(database: Database, epoch: int | None = None) -> int:
    """Drop what ended longer ago than logs are kept; how many, up to `FORGOTTEN` at once."""
    async with database.statements() as alone:
        return await alone.run(FORGET, {"days": database.settings.log_days, "epoch": epoch, "limit": FORGOTTEN})
