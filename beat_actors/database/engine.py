"""The one door to PostgreSQL: a bounded pool and a transaction that commits or leaves no trace.

SQLAlchemy owns the connections (size, overflow, liveness, age) and builds the queries whose shape depends on the caller;
statements that matter are written in SQL and run by psycopg on the same connection, a batch in one round trip.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_loads
from sqlalchemy import Executable, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

from beat_actors.database import clock, cluster
from beat_actors.database.failures import meaning
from beat_actors.database.metrics import Metrics
from beat_actors.database.sql import Composed, Statement, Statements
from beat_actors.database.urls import DRIVER, connect_args
from beat_actors.errors import StorageContended, StorageReadOnly, StorageUnavailable
from beat_actors.settings import Settings

T = TypeVar("T")
R = TypeVar("R")
TRIES, FIRST_PAUSE = 5, 0.02
"""How often what was broken off is tried; the pause before the next try is random, and twice as long at most each time (seconds)."""
RowMaker = Callable[[psycopg.AsyncCursor[Any]], Callable[[Sequence[Any]], R]]
Params = Sequence[Any] | Mapping[str, Any]
DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
# Seconds for which a connection that was just used is taken to live; one that was lost meanwhile fails one transaction.
SLOW_CONNECTION = 1.0
"""Seconds from which on the wait for a connection is a wait for the server's answer, and not for the process itself."""
TRUSTED_FOR = 1.0
USED_AT, MADE_AT = "beat_used_at", "beat_made_at"
# What values are read by: a database or a role may have others as its defaults.
PINNED = {"DateStyle": "ISO, MDY", "TimeZone": "UTC"}
STATEMENTS = Statements(__file__)
NOW = STATEMENTS("now", float)
DURABLE = STATEMENTS("durable", str)
PIN = STATEMENTS("pin", str)


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
        self, connection: psycopg.AsyncConnection[Any], watch: clock.StepWatch, *, commits: bool = False
    ) -> None:
        """Send what is queued, and fill in the answers."""
        if not self._queued and not commits:
            return
        asked, cursors = clock.elapsed(), list[psycopg.AsyncCursor[Any]]()
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
        self, connection: psycopg.AsyncConnection[Any], metrics: Metrics, watch: clock.StepWatch, settings: Settings
    ) -> None:
        self.connection = connection
        self.settings = settings
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

    async def select(self, statement: Executable, row: type[R]) -> list[R]:
        """Run a query that SQLAlchemy Core built. `row`: has its columns as its fields."""
        compiled = statement.compile(  # type: ignore[attr-defined]
            dialect=DIALECT, compile_kwargs={"render_postcompile": True}
        )
        return await self.rows(Composed("select", str(compiled), row), compiled.params)


class Database:
    """A process's pool. Close it before its event loop ends."""

    def __init__(self, settings: Settings, *, name: str) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.clock = clock.StepWatch()
        self._distrusted = 0.0
        self.engine = create_async_engine(
            DRIVER,
            isolation_level="READ COMMITTED",
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_max_overflow,
            pool_timeout=settings.database_pool_timeout,
            pool_recycle=settings.database_pool_recycle,
            pool_use_lifo=True,  # a process with little to do keeps to one connection, which needs no asking whether it lives
            hide_parameters=True,
            use_native_hstore=False,
            connect_args={
                # Of several hosts the one that takes writes; a standby is as good as none.
                "target_session_attrs": "read-write",
                **connect_args(str(settings.database_url)),
                "client_encoding": "utf8",
                "application_name": f"beat {name}",
                "connect_timeout": 2,
                "prepare_threshold": 5 if settings.database_prepared_statements else None,
                # The server notices a vanished client, and the client a vanished server, in seconds rather than hours.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                # Keepalives say nothing of a connection on which something was sent and is never acknowledged.
                "tcp_user_timeout": 10_000,
            },
        )
        event.listen(self.engine.sync_engine, "connect", _json_by_msgspec)
        event.listen(self.engine.sync_engine, "connect", _pin)
        event.listen(self.engine.sync_engine, "connect", _join_cluster)
        event.listen(self.engine.sync_engine, "connect", _note_made)
        event.listen(self.engine.sync_engine, "connect", _note_use)
        event.listen(self.engine.sync_engine, "checkin", _note_use)
        event.listen(self.engine.sync_engine, "checkout", self._check)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end of the block and rolls back on any exception.

        Raises `StorageUnavailable` where PostgreSQL does not answer, refuses the connection, or the pool stays exhausted, and `StorageLost`
        where it may have committed all the same.
        """
        async with self._connection() as connection:
            try:
                transaction = Transaction(connection, self.metrics, self.clock, self.settings)
                yield transaction
                await transaction.commit()
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                raise

    async def again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work`, which is one transaction, and run it again where PostgreSQL breaks it off in favour of another one.

        Raises `StorageContended` after five tries. What `work` changes outside the transaction has to come after its commit.
        """
        for tries in range(1, TRIES):
            try:
                return await work()
            except StorageContended:
                await asyncio.sleep(FIRST_PAUSE * 2**tries * random.random())
        return await work()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Transaction]:
        """Each statement of the block by itself, one round trip and not three. Raises as `transaction` does."""
        async with self._connection() as connection:
            await connection.set_autocommit(True)
            try:
                yield Transaction(connection, self.metrics, self.clock, self.settings)
            finally:
                if connection.info.transaction_status is TransactionStatus.ACTIVE:
                    await connection.close()  # the block was broken off, and its query still runs
                if not connection.closed:
                    await connection.set_autocommit(False)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        asked, began = False, time.perf_counter()
        try:
            async with self.engine.connect() as pooled:
                raw = await pooled.get_raw_connection()
                asked = True
                if time.perf_counter() - began >= SLOW_CONNECTION:
                    self.metrics.answered(began)  # a new connection, or the answer of one that lay idle
                yield raw.driver_connection  # type: ignore[misc]
        except PoolTimeout:
            self.metrics.exhausted.note(self.settings.database_pool_timeout)
            raise StorageUnavailable(
                f"no database connection came free within {self.settings.database_pool_timeout:g} s; "
                "the work in progress uses all of them, or PostgreSQL is slow"
            ) from None
        except psycopg.Error as error:
            if not asked:
                self.metrics.unanswered(began)
            found = self._meaning(error, sent=asked)
            if found is None:
                raise
            raise found from error
        except DBAPIError as error:
            if not asked:
                self.metrics.unanswered(began)
            found = self._meaning(error.orig, sent=False) if isinstance(error.orig, psycopg.Error) else None
            if found is None:
                raise
            raise found from error

    def _meaning(self, error: psycopg.Error, *, sent: bool) -> StorageUnavailable | None:
        found = meaning(error, sent=sent)
        if isinstance(found, StorageReadOnly) and sent:
            self.distrust()  # the others lead to the same server
        return found

    def _check(self, dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        """Ask a connection that lay idle whether it lives, before somebody relies on it; in a busy pool that would be every other
        round trip. Where it does not, or where its server was found to take no writes, the pool replaces it and all that are as old."""
        if record.info.get(MADE_AT, 0.0) < self._distrusted:
            raise InvalidatePoolError
        if time.monotonic() - record.info.get(USED_AT, 0.0) < TRUSTED_FOR:
            return
        dialect = self.engine.dialect
        try:
            alive = dialect.do_ping(dbapi_connection)
        except dialect.loaded_dbapi.Error as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from error  # the driver's own clean-up failed, and its error replaced the cancellation
            if not dialect.is_disconnect(error, dbapi_connection, None):
                # A call before was broken off: its query still runs, or its cancellation came late. The server and the others are well.
                raise DisconnectionError from error
            alive = False
        if not alive:
            raise InvalidatePoolError

    def distrust(self) -> None:
        """Replace every connection that stands now, each when it is next wanted: their server takes no writes."""
        self._distrusted = time.monotonic()

    def pool(self) -> tuple[int, int]:
        """How many connections are taken, of how many that there may be."""
        pool = cast(QueuePool, self.engine.pool)
        return pool.checkedout(), self.settings.database_pool_size + self.settings.database_max_overflow

    async def close(self) -> None:
        await self.engine.dispose()


def _sent(sql: Statement[R] | str) -> tuple[bytes, RowMaker[R]]:
    """What goes to the server, and the row factory. A text is what tests and benchmarks send; its rows are named tuples of any columns."""
    if isinstance(sql, Statement):
        return sql.sent, sql.rows
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


def _json_by_msgspec(dbapi_connection: Any, _record: Any) -> None:
    set_json_loads(msgspec.json.decode, dbapi_connection.driver_connection)


def _note_made(_dbapi_connection: Any, record: Any) -> None:
    record.info[MADE_AT] = time.monotonic()


def _pin(dbapi_connection: Any, _record: Any) -> None:
    """Set what values are read by, which PgBouncer keeps for each of its clients, and let commits wait for the disk."""
    info = dbapi_connection.driver_connection.info
    wrong = {name: value for name, value in PINNED.items() if info.parameter_status(name) != value}
    cursor = dbapi_connection.cursor()
    for name, value in wrong.items():
        cursor.execute(PIN.text, {"name": name, "value": value})
    cursor.execute(DURABLE.text)
    cursor.close()
    dbapi_connection.commit()


def _join_cluster(dbapi_connection: Any, _record: Any) -> None:
    cursor = dbapi_connection.cursor()
    cluster.join(cursor)
    cursor.close()
    dbapi_connection.commit()


def _note_use(_dbapi_connection: Any, record: Any) -> None:
    record.info[USED_AT] = time.monotonic()
