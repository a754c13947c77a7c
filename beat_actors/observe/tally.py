"""What is kept of processes that have ended, and the log of events, counted. The leading scheduler does both, one transaction each.

A row of `process` has the sums of a process that lives. They move to `metric_sum` in the transaction that takes them from the row, so that a
reader sees them at one of both places: no counter ever decreases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from beat_actors.database import Database, Statements, Transaction
from beat_actors.events import log
from beat_actors.observe.counts import INFINITE, Sum, Totals
from beat_actors.observe.families import EVENTS, REQUEST_SECONDS, REQUESTS, REQUESTS_ACCEPTED
from beat_actors.requests.swept import Swept

SILENT = 60
"""Seconds since its last report after which the sums of a process are taken over."""
MOST_ENDED = 500
"""Processes whose sums one run takes over."""
PLACES, MOST_PAGES = 5_000, 40
"""Places of the log that one statement counts, and statements of one run."""
ENDED, HAPPENED = "ended", "events"
"""Under which names the sums are kept."""
REQUEST_EVENT = "beat.scrape_request."


class Look(NamedTuple):
    """Whether processes have ended, events wait for their places, and the log has places that were not counted."""

    ended: bool
    pending: bool
    news: bool


class Kept(NamedTuple):
    """Sums that are kept, as JSON text."""

    position: int | None
    sums: str


class Happened(NamedTuple):
    """Events that are alike, and the last place that was read."""

    type: str
    platform: str
    flow: str
    priority: str
    bucket: int
    events: int
    seconds: float
    last: int


SQL = Statements(__file__)
LOOK = SQL("look", Look)
TAKE_ENDED = SQL("ended", str)
KEPT = SQL("kept", Kept)
KEEP = SQL("keep")
COUNT = SQL("happened", Happened)
SUMS = msgspec.json.Decoder(list[Sum])


async def sweep(database: Database, epoch: int | None = None) -> Swept:
    """Take over the sums of ended processes, and count what is new in the log. Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        found = await alone.only(LOOK, {"seconds": SILENT, "name": HAPPENED})
    count = await ended(database, epoch) if found.ended else 0
    for _ in range(MOST_PAGES * PLACES // log.SEQUENCED if found.pending else 0):
        if not await _sequenced(database):
            break
    for _ in range(MOST_PAGES if found.pending or found.news else 0):
        if not await happened(database, epoch):
            break
    return Swept(count=count)


async def ended(database: Database, epoch: int | None = None) -> int:
    """Take over the sums of processes that have ended; of how many."""
    async with database.transaction() as transaction:
        found = await transaction.rows(TAKE_ENDED, {"seconds": SILENT, "most": MOST_ENDED, "epoch": epoch})
        if found:
            kept = await transaction.row(KEPT, {"name": ENDED})
            totals = _totals(kept)
            for sums in found:
                totals.add(SUMS.decode(sums))
            await keep(transaction, ENDED, totals.sums(), epoch=epoch)
    return len(found)


async def happened(database: Database, epoch: int | None = None) -> bool:
    """Count the next places of the log; whether there may be more. The first time, it begins at the end of the log."""
    async with database.transaction() as transaction:
        kept = await transaction.row(KEPT, {"name": HAPPENED})
        last = await transaction.only(log.LAST)
        position = last if kept is None or kept.position is None else kept.position
        if position > last:  # the database was restored
            position = last
        bounds = list(REQUEST_SECONDS.bounds)
        rows = await transaction.rows(COUNT, {"after": position, "most": PLACES, "bounds": bounds})
        totals = _totals(kept)
        totals.add(_counted(rows))
        read_to = rows[0].last if rows else position
        await keep(transaction, HAPPENED, totals.sums(), position=read_to, epoch=epoch)
    return read_to < last and bool(rows)


async def keep(
    transaction: Transaction, name: str, sums: Sequence[Sum], *, position: int | None = None, epoch: int | None = None
) -> None:
    """Keep these sums in the place of those that were kept under the name."""
    values = {"name": name, "position": position, "sums": msgspec.json.encode(sums).decode(), "epoch": epoch}
    await transaction.run(KEEP, values)


async def _sequenced(database: Database) -> bool:
    """Give events that wait their places; whether there may be more. Publishers and deliverers do so too, where there are any."""
    async with database.statements() as alone:
        return (await log.sequence(alone)).moved == log.SEQUENCED


def _totals(kept: Kept | None) -> Totals:
    totals = Totals()
    if kept is not None:
        totals.add(SUMS.decode(kept.sums))
    return totals


def _counted(rows: Sequence[Happened]) -> list[Sum]:
    """The sums that these rows add."""
    found = []
    bounds = [*map(repr, REQUEST_SECONDS.bounds), INFINITE]
    for row in rows:
        if not row.type:
            continue  # its event has been deleted
        found.append(Sum(EVENTS.name, [row.type], row.events))
        if not row.type.startswith(REQUEST_EVENT):
            continue
        happened = row.type.removeprefix(REQUEST_EVENT)
        if happened == "accepted":
            found.append(Sum(REQUESTS_ACCEPTED.name, [row.platform, row.flow, row.priority], row.events))
        elif happened in ("complete", "failed", "cancelled"):
            found.append(Sum(REQUESTS.name, [row.platform, row.flow, happened, row.priority], row.events))
        if row.bucket >= 0:
            found.append(Sum(REQUEST_SECONDS.name, [row.priority], row.seconds, {bounds[row.bucket]: row.events}))
    return found
