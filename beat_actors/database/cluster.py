"""Which cluster a database lives in: a dump may be restored into a cluster that counts lower transaction numbers.

Each new connection compares the cluster with the one that the database knows. Another cluster that is behind the mark of the log of events is one that
the database was restored into, which is noted for an alert. The log itself goes on, since its order does not come from transaction numbers.
`outbox_event` and `change_log`, which older processes write to, are ordered by them: where the cluster is behind their rows, a new era begins, and
`beat_xid_in_era` adds it to the cluster's numbers. A standby that took over, and a cluster that was restored as a whole, keep their identifier and
their numbers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from beat_actors.database.sql import Statement, Statements

if TYPE_CHECKING:
    from beat_actors.database.connections import Connection

R = TypeVar("R")

ERA = 2**48
"""Numbers of an era; more than a cluster gives out."""


class Newest(NamedTuple):
    """The highest numbers of rows, each with the row's id; `here`, the next number of this cluster; and whether the log of events has a mark of a
    transaction that this cluster has not begun yet."""

    position: int | None
    position_id: int | None
    event: int | None
    event_id: int | None
    change: int | None
    change_id: int | None
    here: int
    marked_ahead: bool


SQL = Statements(__file__)
KNOWN, SAME, LOCK = SQL("known", bool), SQL("same", bool), SQL("lock")
NEWEST = SQL("newest", Newest)
JOIN = SQL("join")
RESTORED = SQL("restored")
BEGIN_ERA = SQL("begin_era", int)
WITHOUT_LIMIT = SQL("without_limit")
MOVE_EVENTS, MOVE_CHANGES = SQL("move_events"), SQL("move_changes")


async def join(connection: "Connection") -> None:
    """Begin a new era where this database was restored into a cluster that counts lower numbers. The caller commits."""
    if await _rows(connection, KNOWN) != [True] or await _rows(connection, SAME) == [True]:
        return
    await connection.execute(LOCK.sent)
    if await _rows(connection, SAME) == [True]:
        return
    (found,) = await _rows(connection, NEWEST)
    position, event, change = found.position or 0, found.event or 0, found.change or 0
    await connection.execute(JOIN.sent)
    newest = max(position, event, change)
    if newest < found.here:
        if found.marked_ahead:
            await connection.execute(RESTORED.sent)
        return
    era = (newest // ERA + 1) * ERA
    (by,) = await _rows(connection, BEGIN_ERA, {"era": era, "last": newest})
    values = {"by": by, "since": era - by, "here": found.here}
    await connection.execute(WITHOUT_LIMIT.sent)
    if max(position, event) >= found.here:
        restored = max(found.position_id or 0, (found.event_id or 0) if event >= found.here else 0)
        await connection.execute(MOVE_EVENTS.sent, values | {"id": restored})
    if change >= found.here:
        await connection.execute(MOVE_CHANGES.sent, values | {"id": found.change_id})


async def _rows(connection: "Connection", statement: Statement[R], params: Mapping[str, int] | None = None) -> list[R]:
    async with connection.cursor(row_factory=statement.rows) as cursor:
        await cursor.execute(statement.sent, params)
        return await cursor.fetchall()
