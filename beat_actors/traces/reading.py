"""The rows that traces are made of. Each statement is bounded, whatever the history."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from beat_actors.database import Database, Statements, Transaction
from beat_actors.traces.rows import MOST_CALLS, MOST_FETCHES, CallRow, DeliveryRow, Ended, FetchRow, Rows, event_id

NAME = "traces"
"""Under which name the place and the counters are kept."""
PLACES = 2_000
"""Places of the log that one page has."""
SETTLED = 10.0
"""Seconds after its end at which a request is exported: deliveries of webhooks, and calls that had begun, have mostly ended by then."""
LATER = timedelta(seconds=SETTLED)
MOST_ENDPOINTS = 100
"""Endpoints of webhooks of one account at which deliveries are looked for."""


class Place(NamedTuple):
    """How far the log was exported, `None` before the first time, and its last place."""

    position: int | None
    last: int


class Page(NamedTuple):
    """Places of the log: the last one, `None` where there is none, and how many of them are lost."""

    last: int | None
    lost: int


class Lost(NamedTuple):
    """Places that are lost."""

    places: int


SQL = Statements(__file__)
PLACE, PAGE, LOST, ENDS = SQL("place", Place), SQL("page", Page), SQL("lost", Lost), SQL("ends", Ended)
FETCHES, CALLS, DELIVERIES = SQL("fetches", FetchRow), SQL("calls", CallRow), SQL("deliveries", DeliveryRow)


async def place(transaction: Transaction) -> Place:
    """How far the log was exported. A place behind the end of the log is of another database, which this one was restored from."""
    return await transaction.only(PLACE, {"name": NAME})


async def page(transaction: Transaction, after: int, settled: float = SETTLED) -> tuple[Page, list[Ended]]:
    """The next page of the log behind a place, and the ends of requests in it."""
    found = await transaction.only(PAGE, {"after": after, "most": PLACES, "seconds": settled})
    if found.last is None:
        return found, []
    ends = await transaction.rows(ENDS, {"after": after, "last": found.last})
    return found, [end.of_its_run() for end in ends]


async def lost(transaction: Transaction, after: int, last: int) -> int:
    """How many places behind `after`, up to `last`, are not kept any more, or their events are not. Both are of one page."""
    return (await transaction.only(LOST, {"after": after, "last": last})).places


async def rows_of(database: Database, ends: Sequence[Ended]) -> list[Rows]:
    """The rows of these requests, in their order."""
    events = {end.seq: [event_id(end.id, happened, end.run or 0) for happened in _told(end)] for end in ends}
    asked = {
        "ids": sorted({end.id for end in ends}),
        "since": min(end.created_at for end in ends),
        "until": max(end.scraped_at for end in ends) + LATER,
        "most": MOST_CALLS,
    }
    told = {
        "ids": [end.id for end in ends for _ in events[end.seq]],
        "events": [one for end in ends for one in events[end.seq]],
        "accounts": [end.account_id for end in ends for _ in events[end.seq]],
        "most": MOST_ENDPOINTS,
    }
    fetches: dict[tuple[int, int], list[FetchRow]] = defaultdict(list)
    calls: dict[int, list[CallRow]] = defaultdict(list)
    deliveries: dict[str, list[DeliveryRow]] = defaultdict(list)
    wanted = {"ids": [end.id for end in ends], "runs": [end.run or 0 for end in ends], "most": MOST_FETCHES}
    async with database.transaction() as transaction:
        for fetch in await transaction.rows(FETCHES, wanted):
            fetches[fetch.request_id, fetch.run].append(fetch)
        for call in await transaction.rows(CALLS, asked):
            calls[call.request_id].append(call)
        for delivery in await transaction.rows(DELIVERIES, told):
            deliveries[delivery.event_id].append(delivery)
    found = []
    for end in ends:
        own = fetches[end.id, end.run or 0]
        known, until = {row.id for row in own}, end.scraped_at + LATER
        made = [
            call for call in calls[end.id] if call.at <= until and (call.fetch_id is None or call.fetch_id in known)
        ]
        found.append(Rows(end, own, made, [row for one in events[end.seq] for row in deliveries[one]]))
    return found


def _told(end: Ended) -> tuple[str, ...]:
    return ("accepted", "processing", end.happened)
