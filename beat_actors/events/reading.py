"""Events of the log, for people and for consumers that were sent no more than where an event's data are (`dataref`)."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec

from beat_actors.access.reader import Reader, Sees, visible
from beat_actors.database import Composed, Statements, Transaction
from beat_actors.errors import NotFound, UnknownName
from beat_actors.events.catalog import EVENTS, is_known
from beat_actors.events.log import BEHIND, LAST
from beat_actors.events.positions import expression

PAGE = 1000
"""Places of the log that one page looks at, whatever its filter leaves of them."""

ONE = """
SELECT l.seq, e.event_id::text AS id, e.type, e.subject, e.version, nullif(e.account_id, '') AS account_id, e.at AS time, e.data
FROM event_log l JOIN event e ON e.id = l.id AND e.at = l.at WHERE l.seq = %(seq)s AND {visible}
"""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """An event. `seq`: its place in the log. `id`: what consumers know it by. `version`: of its subject, where that counts its events. `time`: when it
    happened."""

    seq: int
    id: str
    type: str
    subject: str
    version: int | None
    account_id: str | None
    time: datetime
    data: dict[str, Any]


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events in the order of the log. `next`: the place up to which the log was looked at; give it as `after` for the next page. `last`: the last place of
    the log."""

    events: list[EventView]
    next: int
    last: int


class Found(NamedTuple):
    """A place of the log with its event, None in all fields but `seq` where the filter leaves it out."""

    seq: int
    id: str | None
    type: str
    subject: str
    version: int | None
    account_id: str | None
    time: datetime
    data: dict[str, Any]


SQL = Statements(__file__)
FOLLOWING = SQL("following", Found)


@cache
def _one(sees: Sees) -> Composed[EventView]:
    mine = visible(sees, "e", "%(account)s::text", "e.data->>'platform'")
    return Composed("events/reading.one", ONE.format(visible=mine), EventView)


async def event(transaction: Transaction, seq: int, reader: Reader) -> EventView:
    """The event at a place of the log. An account reads its own events; the installation's keys need the scope `operate` for any.

    Raises `NotFound` where there is none that the reader may see.
    """
    found = None
    if reader.sees is not Sees.PUBLIC:
        found = await transaction.row(_one(reader.sees), {"seq": seq, "account": reader.account_id})
    if found is None:
        raise NotFound(f"the log has no event at {seq} that you may read, or it is past its retention")
    return found


async def page(
    transaction: Transaction,
    *,
    after: int | None = None,
    since: datetime | None = None,
    types: Sequence[str] = (),
    subject: str | None = None,
) -> EventPage:
    """Of the `PAGE` places behind `after`, or behind what happened before `since`, those whose events have one of the types (`catalog.matches`) and the
    subject; without either, of the last `PAGE` places. Raises `UnknownName`."""
    check_types(types)
    last = await transaction.only(LAST)
    if after is None:
        after = max(last - PAGE, 0) if since is None else (await transaction.value(BEHIND, {"at": since}) or 0)
    values = {"after": after, "limit": PAGE, "types": expression(types or ["*"]), "subject": subject, "since": since}
    rows = await transaction.rows(FOLLOWING, values)
    events = [EventView(**row._asdict()) for row in rows if row.id is not None]
    return EventPage(events=events, next=rows[-1].seq if rows else after, last=last)


def check_types(types: Sequence[str]) -> None:
    """Raises `UnknownName`, with the types that there are, for a pattern that names none of them."""
    unknown = [pattern for pattern in types if not is_known(pattern)]
    if unknown:
        known = ", ".join(EVENTS)
        raise UnknownName(
            f"{unknown[0][:120]!r} names no type of events; a pattern is *, a type, or the beginning of types that ends in .*; there is: {known}",
            field="type",
        )
