"""A transaction: statements one by one, or many in one round trip. It knows psycopg's types and loads no driver, so that a module with
statements costs nothing where they are not run."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from beat_actors.database import clock
from beat_actors.database.sql import Statement, Statements

if TYPE_CHECKING:
    import psycopg

    from beat_actors.database.metrics import Metrics
    from beat_actors.settings import Settings

R = TypeVar("R")
RowMaker = Callable[["psycopg.AsyncCursor[Any]"], Callable[[Sequence[Any]], R]]
Params = Sequence[Any] | Mapping[str, Any]
SQL = Statements(__file__)
NOW = SQL("now", float)
BY_INDEX = SQL("by_index", str)


class Answer(Generic[R]):
    """What a statement of a `Pipeline` came to: its `rows`, and how many rows it `touched`. Empty until the pipeline has ended."""

    __slots__ = ("rows", "touched")

    def __init__(self) -> None:
        self.rows: list[R] = []
        self.touched = 0

    @property
    def only(self) -> R:
        """The first row. Raises IndexError where there is none."""
        return self.rows[0]


class Pipeline:
    """Statements that are sent together, in one round trip. See `Transaction.pipeline`."""

    def __init__(self) -> None:
        self._queued: list[tuple[bytes, RowMaker[Any], Params | None, bool, Answer[Any]]] = []
        self._now: Answer[float] | None = None

    async def run(self, sql: Statement[R], params: Params | None = None, *, binary: bool = False) -> Answer[R]:
        """Queue a statement. Its answer is there when the pipeline has ended."""
        answer = Answer[R]()
        self._queued.append((*_sent(sql), params, binary, answer))
        return answer

    async def now(self) -> Answer[float]:
        """The database's clock (epoch seconds). Steps of it since the last look are noted."""
        self._now = await self.run(NOW)
        return self._now

    async def end(
        self, connection: "psycopg.AsyncConnection[Any]", watch: clock.StepWatch, *, commits: bool = False
    ) -> None:
        """Send what is queued, and fill in the answers."""
        if not self._queued and not commits:
            return
        asked, cursors = clock.elapsed(), list["psycopg.AsyncCursor[Any]"]()
        async with connection.pipeline() as sending:
            # psycopg asks for a flush after the last sync, and PostgreSQL then no longer counts the time that the transaction is idle: a
            # process that froze would keep its locks for good.
            sending._exit_gen = sending._sync_gen  # type: ignore[method-assign]
            for sql, factory, params, binary, _ in self._queued:
                cursors.append(connection.cursor(row_factory=factory, binary=binary))
                await cursors[-1].execute(sql, params)
            if commits:
                await connection.commit()
        answered = clock.elapsed()
        for cursor, (*_, answer) in zip(cursors, self._queued, strict=True):
            answer.touched = cursor.rowcount
            if cursor.pgresult is not None and cursor.pgresult.nfields:  # cheaper to ask than its description
                answer.rows = await cursor.fetchall()
            await cursor.close()
        if self._now is not None:
            watch.look(self._now.only, asked, answered)


class Transaction:
    """One open transaction. Rows are of the statement's type."""

    def __init__(
        self,
        connection: "psycopg.AsyncConnection[Any]",
        metrics: "Metrics",
        watch: clock.StepWatch,
        settings: "Settings",
        ids: dict[tuple[object, ...], int] | None = None,
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.ids = {} if ids is None else ids
        """Ids of committed rows that are never changed nor deleted, by what they stand for. The process keeps them."""
        self.clock = watch
        self.last = Pipeline()
        """What is queued here is sent with the commit, in one round trip."""
        self._metrics = metrics

    async def rows(self, sql: Statement[R], params: Params | None = None, *, binary: bool = False) -> list[R]:
        """Run a query. `binary`: results in binary, which pays where there are bytes among them."""
        sent, factory = _sent(sql)
        async with self.connection.cursor(row_factory=factory, binary=binary) as cursor:
            with self._metrics.timed():
                await cursor.execute(sent, params)
            return await cursor.fetchall()

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Pipeline]:
        """Statements none of which needs the answer of another, in one round trip and not one each. PostgreSQL runs them in the order in
        which they are queued, each with a snapshot of its own, as when they are sent one by one. All are sent at the end of the block; the
        first that fails raises there, and those after it are not run."""
        pipeline = Pipeline()
        yield pipeline
        with self._metrics.timed():
            await pipeline.end(self.connection, self.clock)

    async def commit(self) -> None:
        await self.last.end(self.connection, self.clock, commits=True)

    async def row(self, sql: Statement[R], params: Params | None = None) -> R | None:
        found = await self.rows(sql, params)
        return found[0] if found else None

    async def only(self, sql: Statement[R], params: Params | None = None) -> R:
        """The first row of a statement that always gives one. Raises IndexError where there is none."""
        return (await self.rows(sql, params))[0]

    async def value(self, sql: Statement[R], params: Params | None = None) -> R | None:
        """The first column of the first row, None where there is no row. A `Statement` has one column only."""
        found = await self.row(sql, params)
        return found if found is None or isinstance(sql, Statement) else found[0]

    async def now(self) -> float:
        """The database's clock (epoch seconds). Steps of it since the last look are noted."""
        asked = clock.elapsed()
        (now,) = await self.rows(NOW)
        self.clock.look(now, asked, clock.elapsed())
        return now

    async def run(self, sql: Statement[object], params: Params | None = None) -> int:
        """Run a statement that returns no rows; the number of rows that it touched."""
        async with self.connection.cursor() as cursor:
            with self._metrics.timed():
                await cursor.execute(_sent(sql)[0], params)
            return cursor.rowcount


def _sent(sql: Statement[R] | str) -> tuple[bytes, RowMaker[R]]:
    """What goes to the server, and the row factory. A text is what tests and benchmarks send; its rows are named tuples of any columns."""
    if isinstance(sql, Statement):
        return sql.sent, sql.rows
    from psycopg.rows import namedtuple_row

    return sql.encode(), cast("RowMaker[R]", namedtuple_row)


def jsonb(value: object) -> str:
    """A value as JSON text for a `::jsonb` parameter."""
    return msgspec.json.encode(value).decode()


def columns(rows: Iterable[Sequence[object]], width: int) -> tuple[list[object], ...]:
    """Rows turned into the column arrays that `unnest` takes."""
    turned = tuple(list(column) for column in zip(*rows, strict=True))
    return turned or tuple([] for _ in range(width))


def arrays(rows: Iterable[Sequence[object]], *names: str) -> dict[str, list[object]]:
    """`columns` as parameters with names, in their order."""
    return dict(zip(names, columns(rows, len(names)), strict=True))
