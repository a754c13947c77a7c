"""The feed of changes: which entities are new or have changed, in the order of the log of events.

A page is read from the log's places behind the cursor. Pending changes get their places first, so the feed ends with what was committed last, and no
open transaction holds it up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, NamedTuple

import msgspec

from beat_actors.access.reader import OPERATOR, Reader, Sees, visible
from beat_actors.data import cursors
from beat_actors.database import Composed, Statements, Transaction
from beat_actors.errors import BadInput, CursorExpired
from beat_actors.events.log import BEHIND, sequence

MAX_PAGE = 1000
SCANNED = 500
"""Events that one page looks at, whatever its filter leaves of them."""
LONGEST = timedelta(hours=1)
"""For which transactions may last, and API processes of an earlier version may serve beside stages of this one."""

# Events that the filter leaves out, or that are kept no more, come without keys: the page ends behind them all the same. The first row is there always.
# An account's page is read through the index on its own events, so it neither costs nor shows what others have changed.
CHANGES = """
SELECT s.seq AS last, (SELECT at FROM event_log WHERE seq = s.seq) AS last_at, clock_timestamp() AS now, c.seq, c.at, c.platform, c.kind, c.request_id, CASE
    WHEN c.platform <> coalesce(%(platform)s::text, c.platform) OR c.kind <> coalesce(%(kind)s::text, c.kind) OR c.at < %(from)s OR NOT ({visible})
    THEN '{{}}' ELSE ARRAY(SELECT jsonb_array_elements_text(c.data->'keys')) END AS keys
FROM event_sequence s
LEFT JOIN LATERAL (
    SELECT l.seq, l.at, e.data, e.account_id, e.owner, e.data->>'platform' AS platform, e.data->>'kind' AS kind,
           (e.data->>'request_id')::bigint AS request_id
    FROM (SELECT l.seq, l.id, l.at FROM event_log l WHERE l.changes AND l.seq > %(seq)s{own} ORDER BY l.seq LIMIT %(scanned)s) l
    LEFT JOIN event e ON e.id = l.id AND e.at = l.at) c ON true
ORDER BY c.seq
"""
OWN = " AND l.account_id = %(account)s"


class DataChange(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that is new or has changed; its own route says what it is now. `at`: when the change was stored; `request_id`: by which request; null: an
    operator restored it from its log."""

    platform: str
    kind: str
    id: str
    at: datetime
    request_id: int | None


class ChangePage(msgspec.Struct, frozen=True):
    """In the order in which they were written; `next_cursor` is always given. `more`: there are some behind it already."""

    changes: list[DataChange]
    next_cursor: str
    more: bool


class Position(msgspec.Struct, frozen=True, array_like=True):
    """After the event at `seq`, or after `passed` of its keys. `written`: when that event happened; `at`: when the cursor was given."""

    seq: cursors.RowId
    passed: cursors.RowId
    written: datetime
    at: datetime


class OfTransaction(msgspec.Struct, frozen=True, array_like=True):
    """A cursor of earlier versions, which went by transactions."""

    xid: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}$")]
    id: cursors.RowId
    passed: cursors.RowId
    at: datetime


class ChangeRow(NamedTuple):
    """A change, its `keys` as far as the filter leaves them, and `last`, the last place of the log, with `last_at`. Where there is none, one row has
    None in all but the last place and `now`."""

    last: int
    last_at: datetime | None
    now: datetime
    seq: int
    at: datetime
    platform: str
    kind: str
    request_id: int | None
    keys: list[str]


KNOWN = Statements(__file__)("known", bool)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def _statement(own: str, mine: str) -> Composed[ChangeRow]:
    return Composed("data/changes.read", CHANGES.format(own=own, visible=mine), ChangeRow)


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since`: a cursor that a page gave, or the time from which on changes are given; without it, all that are kept."""

    since: str | datetime | None = None
    platform: str | None = None
    kind: str | None = None
    reader: Reader = OPERATOR
    limit: int = 200


async def since(transaction: Transaction, wanted: Wanted, *, kept_days: int) -> ChangePage:
    """The next page. Raises `BadInput` for a cursor that no page gave, `CursorExpired` for one behind which something may be missing."""
    await sequence(transaction)
    position = await _begin(transaction, wanted.since, kept_days)
    sees = wanted.reader.sees
    statement = _statement(OWN if sees is Sees.OWN else "", visible(sees, "c", "%(account)s::text", "c.platform"))
    values: dict[str, Any] = {
        "platform": wanted.platform,
        "kind": wanted.kind,
        "account": wanted.reader.account_id,
        "scanned": SCANNED,
        "seq": position.seq - (position.passed > 0),
        "from": wanted.since if isinstance(wanted.since, datetime) else None,
    }
    rows = await transaction.rows(statement, values)
    last, last_at, now = rows[0].last, rows[0].last_at or EARLIEST, rows[0].now
    rows = [row for row in rows if row.seq is not None]
    found: list[DataChange] = []
    for row in rows:
        passed = position.passed if position.seq == row.seq else 0
        room = wanted.limit - len(found)
        found += _changes(row, row.keys[passed : passed + room])
        if len(row.keys) > passed + room:
            return ChangePage(found, cursors.write(Position(row.seq, passed + room, row.at, now)), more=True)
    if len(rows) == SCANNED:
        return ChangePage(found, cursors.write(Position(rows[-1].seq, 0, rows[-1].at, now)), more=True)
    return ChangePage(found, cursors.write(Position(last, 0, last_at, now)), more=False)


async def _begin(transaction: Transaction, since: str | datetime | None, kept_days: int) -> Position:
    if since is None:
        return Position(0, 0, EARLIEST, EARLIEST)
    if isinstance(since, datetime):
        return Position(await transaction.value(BEHIND, {"at": since}) or 0, 0, EARLIEST, since)
    position = _read(since)
    if isinstance(position, OfTransaction):
        # A change may have been written a while before its transaction ended.
        seq = await transaction.value(BEHIND, {"at": position.at - LONGEST})
        if seq is not None:
            return Position(seq, 0, EARLIEST, position.at)
    elif await transaction.value(
        KNOWN, {"at": position.at, "seq": position.seq, "written": position.written, "days": kept_days}
    ):
        return position
    raise CursorExpired(
        "changes behind this cursor are no longer kept, or were lost with a database that was restored: read again what you follow, then continue from there"
    )


def _changes(row: ChangeRow, keys: list[str]) -> Iterator[DataChange]:
    for key in keys:
        yield DataChange(platform=row.platform, kind=row.kind, id=key, at=row.at, request_id=row.request_id)


def _read(text: str) -> Position | OfTransaction:
    try:
        return cursors.read(text, Position, field="since")
    except BadInput:
        return cursors.read(text, OfTransaction, field="since")
