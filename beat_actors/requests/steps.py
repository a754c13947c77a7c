"""What a step back of the database's clock leaves: times that lie further ahead than anything was ever set. Set right at once, in each table.

A cooldown, a pause or a wait lasts as long as it was to last; a lease lasts once more at most. Credentials that were written within `UNSURE`
seconds before the step was found are left alone, since what they say may be of after it: no provider's wait is cut short.
What is a moment by itself (a deadline, a token's end, a day of the calendar) goes by the clock as it is.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from beat_actors.broker.changes import lock
from beat_actors.broker.windows import AHEAD
from beat_actors.credentials.upkeep import lease_seconds
from beat_actors.database import Database, Statement, Statements
from beat_actors.database.clock import StepBack
from beat_actors.fetches.leasing import USE_WITHIN
from beat_actors.fetches.rescue import LEASES_AFTER_STEP, PAUSES_AFTER_STEP, Walked
from beat_actors.logger import get_logger
from beat_actors.platforms.registry import platforms
from beat_actors.requests.swept import Swept
from beat_actors.webhooks.deliveries import LEASE

log = get_logger(__name__)

UNSURE = 15.0
"""Seconds before a step back was found within which it may have happened."""
BATCH = 2000
GIVEN_UP = 60.0

SQL = Statements(__file__)
OTHERS = tuple(SQL(name) for name in ("calls", "processes", "endpoints_created", "deliveries_out", "lanes"))
OF_PLATFORM = tuple(SQL(name) for name in ("credentials", "breakers", "owners_breakers"))
DELIVERIES = SQL("deliveries", Walked)
ENDPOINTS = SQL("endpoints", Walked)

Part = Callable[[Database, int | None], Awaitable[int]]


class StepsBack:
    """What one scheduler sets right, part by part, each once. A step that was found longer ago than `GIVEN_UP` seconds was another leader's,
    or cannot be set right."""

    def __init__(self) -> None:
        self._left: deque[tuple[float, Part]] = deque()
        self._term: int | None = None

    async def __call__(self, database: Database, epoch: int | None = None) -> Swept:
        """Set right what the steps back left that this process has found. At the beginning of a term leases too, whatever is known of steps."""
        found, is_new = list(database.clock.back), epoch != self._term
        database.clock.back.clear()
        self._term = epoch
        if is_new or found:
            self._left.append((time.monotonic(), _leases))
        self._left += ((step.found_by, part) for step in found for part in _parts(step))
        count = 0
        while self._left:
            since, part = self._left[0]
            if time.monotonic() - since < GIVEN_UP:
                count += await part(database, epoch)
            self._left.popleft()
        if found:
            log.warning("set_right_after_step_back", seconds=[round(step.seconds, 2) for step in found], rows=count)
        return Swept(wake=set(platforms()) if found else set(), count=count)


async def _leases(database: Database, epoch: int | None) -> int:
    values: dict[str, Any] = {
        "epoch": epoch,
        "lease": database.settings.stage_lease,
        "within": USE_WITHIN,
        "ahead": AHEAD,
        "batch": BATCH,
        "call_lease": lease_seconds(database.settings),
        "delivery_lease": LEASE,
    }
    async with database.statements() as alone:
        count = changed = await alone.run(LEASES_AFTER_STEP, values)
        while changed == BATCH:
            changed = await alone.run(LEASES_AFTER_STEP, values)
            count += changed
        for statement in OTHERS:
            count += await alone.run(statement, values)
    return count


def _parts(step: StepBack) -> Iterator[Part]:
    values = {"seconds": step.seconds, "found": step.found, "unsure": UNSURE, "batch": BATCH, "after": step.found}
    for platform in platforms():
        yield partial(_shift, values | {"platform": platform})
    for sql in (ENDPOINTS, PAUSES_AFTER_STEP, DELIVERIES):
        yield partial(_walk, sql, values)


async def _shift(values: dict[str, Any], database: Database, epoch: int | None) -> int:
    """The credentials and breakers of one platform."""
    of = values | {"epoch": epoch}
    async with database.transaction() as transaction:
        await lock(transaction, values["platform"])
        return sum([await transaction.run(statement, of) for statement in OF_PLATFORM])


async def _walk(statement: Statement[Walked], values: dict[str, Any], database: Database, epoch: int | None) -> int:
    """To the end, a batch at a time; how many rows."""
    count, after = 0, values["after"]
    async with database.statements() as alone:
        while True:
            row = await alone.only(statement, values | {"epoch": epoch, "after": after})
            count, after = count + row.read, row.last
            if row.read < values["batch"]:
                return count
