"""What changed since: a feed over `change_log` that nothing is missing from, however late it is committed.

Transactions begin in one order and commit in another. So the feed goes in the order in which they began to write, and ends before
the oldest that still runs: what stands behind it may yet get company in front. A transaction that hangs holds the feed up, and
loses nothing. The database ends those of Beat by its statement and idle timeouts; those of others, an alert names (`database:held`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NamedTuple

import msgspec

from beat_actors.access.reader import OPERATOR, Reader, Sees, visible
from beat_actors.data import cursors
from beat_actors.database import Statement, Statements, Transaction
from beat_actors.errors import BadInput, CursorExpired

MAX_PAGE = 1000
SCANNED = 500
"""Rows that one page looks at, whatever its filter leaves of them."""

# Rows that the filter leaves out come without their keys: the page ends behind them all the same. The first row is there always.
# An account's page is read through the index on its own rows, so it neither costs nor shows what others have changed.
CHANGES = """
SELECT s.oldest::text AS oldest, s.now, c.xid::text AS xid, c.id, c.at, c.platform, c.kind, c.request_id, CASE
    WHEN c.platform <> coalesce(%(platform)s::text, c.platform) OR c.kind <> coalesce(%(kind)s::text, c.kind) OR NOT ({visible})
    THEN '{{}}' ELSE c.keys END AS keys
FROM (SELECT beat_xid_in_era(pg_snapshot_xmin(pg_current_snapshot())) AS oldest, clock_timestamp() AS now) s
LEFT JOIN LATERAL (
    SELECT * FROM change_log c WHERE {since} AND c.xid < s.oldest{own} ORDER BY c.xid, c.id LIMIT %(scanned)s) c ON true
ORDER BY c.xid, c.id
"""
OWN = " AND c.account_id = %(account)s"
FROM_CURSOR = "(c.xid, c.id) >= (%(xid)s::xid8, %(id)s)"
FROM_TIME = "c.at >= %(at)s"


class DataChange(msgspec.Struct, frozen=True, kw_only=True):
    """That a thing is new or has changed; its own route says what it is now. `at`: when it was observed; `request_id`: by which request."""

    platform: str
    kind: str
    id: str
    at: datetime
    request_id: int


class ChangePage(msgspec.Struct, frozen=True):
    """In the order in which they were written; `next_cursor` is always given. `more`: there are some behind it already."""

    changes: list[DataChange]
    next_cursor: str
    more: bool


class Position(msgspec.Struct, frozen=True, array_like=True):
    """After `passed` of the keys of this row, or before all that the transaction changed. `at`: when that was, to know what is kept no more."""

    xid: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}$")]
    id: cursors.RowId
    passed: cursors.RowId
    at: datetime


class ChangeRow(NamedTuple):
    """A row of `change_log`, its `keys` as far as the filter leaves them. Where there is none, one row has None in all but `oldest` and
    `now`."""

    oldest: str
    now: datetime
    xid: str
    id: int
    at: datetime
    platform: str
    kind: str
    request_id: int
    keys: list[str]


KNOWN = Statements(__file__)("known", bool)


@cache
def _statement(begins: str, own: str, mine: str) -> Statement[ChangeRow]:
    text = CHANGES.format(since=begins, own=own, visible=mine)
    return Statement("data/changes.read", "", text, ChangeRow)


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since`: a cursor that a page gave, or the time from which on changes are given; without it, all that are kept."""

    since: str | datetime | None = None
    platform: str | None = None
    kind: str | None = None
    reader: Reader = OPERATOR
    limit: int = 200


async def since(transaction: Transaction, wanted: Wanted, *, kept_days: int) -> ChangePage:
    """The next page. Raises `BadInput` for a cursor that is none, `CursorExpired` for one behind which something may be missing."""
    values: dict[str, Any] = {
        "platform": wanted.platform,
        "kind": wanted.kind,
        "account": wanted.reader.account_id,
        "scanned": SCANNED,
        "xid": "0",
        "id": 0,
    }
    begins, position = FROM_CURSOR, None
    if isinstance(wanted.since, datetime):
        begins, values["at"] = FROM_TIME, wanted.since
    elif wanted.since is not None:
        position = _read(wanted.since)
        values |= {"xid": position.xid, "id": position.id}
        if not await transaction.value(KNOWN, {"at": position.at, "xid": position.xid, "days": kept_days}):
            raise CursorExpired(
                "what lies behind this cursor is kept no more, or was lost with a database that was restored: read anew what you follow, then go on from there"
            )
    sees = wanted.reader.sees
    mine = visible(sees, "c", "%(account)s::text", "c.platform")
    rows = await transaction.rows(_statement(begins, OWN if sees is Sees.OWN else "", mine), values)
    oldest, now = rows[0].oldest, rows[0].now
    rows = [row for row in rows if row.xid is not None]
    found: list[DataChange] = []
    for row in rows:
        passed = position.passed if position and (position.xid, position.id) == (row.xid, row.id) else 0
        room = wanted.limit - len(found)
        found += _changes(row, row.keys[passed : passed + room])
        if len(row.keys) > passed + room:
            return ChangePage(found, cursors.write(Position(row.xid, row.id, passed + room, row.at)), more=True)
    if len(rows) == SCANNED:
        last = rows[-1]
        return ChangePage(found, cursors.write(Position(last.xid, last.id + 1, 0, last.at)), more=True)
    return ChangePage(found, cursors.write(Position(oldest, 0, 0, now)), more=False)


def _changes(row: ChangeRow, keys: list[str]) -> Iterator[DataChange]:
    for key in keys:
        yield DataChange(platform=row.platform, kind=row.kind, id=key, at=row.at, request_id=row.request_id)


def _read(text: str) -> Position:
    position = cursors.read(text, Position, field="since")
    if int(position.xid) >= 2**64:
        raise BadInput("this cursor is not one that a page gave", field="since")
    return position
