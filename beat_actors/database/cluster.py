"""Which cluster a database lives in. Rows keep transaction numbers, and a dump may be restored into a cluster that counts lower ones.

Each new connection compares the cluster with the one that the database knows. In another one that is behind the rows, a new era begins:
`beat_xid_in_era` adds it to the cluster's numbers, so whatever is written is behind all that was restored. A standby that took over, and a
cluster that was restored as a whole, keep their identifier and their numbers.
"""

from typing import Any, NamedTuple

from beat_actors.database.sql import Statements

ERA = 2**48
"""Numbers of an era; more than a cluster gives out."""


class Newest(NamedTuple):
    """The highest numbers of rows, each with the row's id, and `here`, the next number of this cluster."""

    position: int | None
    position_id: int | None
    event: int | None
    event_id: int | None
    change: int | None
    change_id: int | None
    here: int


SQL = Statements(__file__)
KNOWN, SAME, LOCK = SQL("known", bool), SQL("same", bool), SQL("lock")
NEWEST = SQL("newest", Newest)
JOIN = SQL("join")
BEGIN_ERA = SQL("begin_era", int)
WITHOUT_LIMIT = SQL("without_limit")
MOVE_EVENTS, MOVE_CHANGES = SQL("move_events"), SQL("move_changes")


def join(cursor: Any) -> None:
    """Begin a new era where this database was restored into a cluster that counts lower numbers. `cursor`: of a transaction, which the
    caller commits."""
    cursor.execute(KNOWN.text)
    if cursor.fetchone() != (True,):
        return
    cursor.execute(SAME.text)
    if cursor.fetchone() == (True,):
        return
    cursor.execute(LOCK.text)
    cursor.execute(SAME.text)
    if cursor.fetchone() == (True,):
        return
    cursor.execute(NEWEST.text)
    position, position_id, event, event_id, change, change_id, here = Newest(*cursor.fetchone())
    cursor.execute(JOIN.text)
    newest = max(position or 0, event or 0, change or 0)
    if newest < here:
        return
    era = (newest // ERA + 1) * ERA
    cursor.execute(BEGIN_ERA.text, {"era": era, "last": newest})
    (by,) = cursor.fetchone()
    values = {"by": by, "since": era - by, "here": here}
    cursor.execute(WITHOUT_LIMIT.text)
    if max(position or 0, event or 0) >= here:
        restored = max(position_id or 0, (event_id or 0) if (event or 0) >= here else 0)
        cursor.execute(MOVE_EVENTS.text, values | {"id": restored})
    if (change or 0) >= here:
        cursor.execute(MOVE_CHANGES.text, values | {"id": change_id})
