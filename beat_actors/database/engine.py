"""The one door to PostgreSQL: a bounded pool and a transaction that commits or leaves no trace.

SQLAlchemy owns the connections (size, overflow, liveness, age) and builds the queries whose shape depends on the caller;
statements that matter are written in SQL and run by psycopg on the same connection, a batch in one round trip.
"""

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, cast

import msgspec
import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_loads
from sqlalchemy import Executable, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

from beat_actors.database.pulse import Pulse
from beat_actors.database.urls import driver_url
from beat_actors.errors import StorageLost, StorageUnavailable
from beat_actors.settings import Settings

Params = Sequence[Any] | Mapping[str, Any]
DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
# The last is what a process finds that was stopped in the middle of a transaction, and woke up too late.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout)
# What comes of them where a pooler gives out sessions by the transaction and does not know of them.
PREPARED_ELSEWHERE = (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName)

# Seconds for which a connection that was just used is taken to live; one that was lost meanwhile fails one transaction.
TRUSTED_FOR = 1.0
USED_AT = "beat_used_at"


class Transaction:
    """One open transaction. Rows come back as named tuples."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], pulse: Pulse) -> None:
        self.connection = connection
        self._pulse = pulse

    async def rows(self, sql: LiteralString | str, params: Params | None = None, *, binary: bool = False) -> list[Any]:
        """Run a query. `binary`: results in binary, which pays where there are bytes among them."""
        async with self.connection.cursor(row_factory=namedtuple_row, binary=binary) as cursor:
            with self._pulse.beat():
                await cursor.execute(sql.encode(), params)
            return await cursor.fetchall()

    async def row(self, sql: LiteralString | str, params: Params | None = None) -> Any | None:
        found = await self.rows(sql, params)
        return found[0] if found else None

    async def value(self, sql: LiteralString | str, params: Params | None = None) -> Any:
        found = await self.row(sql, params)
        return found[0] if found is not None else None

    async def run(self, sql: LiteralString | str, params: Params | None = None) -> int:
        """Run a statement that returns no rows; the number of rows that it touched."""
        async with self.connection.cursor() as cursor:
            with self._pulse.beat():
                await cursor.execute(sql.encode(), params)
            return cursor.rowcount

    async def select(self, statement: Executable) -> list[Any]:
        """Run a query that SQLAlchemy Core built."""
        compiled = statement.compile(  # type: ignore[attr-defined]
            dialect=DIALECT, compile_kwargs={"render_postcompile": True}
        )
        return await self.rows(str(compiled), compiled.params)


class Database:
    """A process's pool. Close it before its event loop ends."""

    def __init__(self, settings: Settings, *, name: str) -> None:
        self.settings = settings
        self.pulse = Pulse()
        self.engine = create_async_engine(
            driver_url(str(settings.database_url)),
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_max_overflow,
            pool_timeout=settings.database_pool_timeout,
            pool_recycle=settings.database_pool_recycle,
            pool_use_lifo=True,  # a process with little to do keeps to one connection, which needs no asking whether it lives
            hide_parameters=True,
            use_native_hstore=False,
            connect_args={
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
                yield Transaction(connection, self.pulse)
                await connection.commit()
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                raise

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Transaction]:
        """Each statement of the block by itself, one round trip and not three. Raises as `transaction` does."""
        async with self._connection() as connection:
            await connection.set_autocommit(True)
            try:
                yield Transaction(connection, self.pulse)
            finally:
                if not connection.closed:
                    await connection.set_autocommit(False)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        asked = False
        try:
            async with self.engine.connect() as pooled:
                raw = await pooled.get_raw_connection()
                asked = True
                yield raw.driver_connection  # type: ignore[misc]
        except PoolTimeout:
            self.pulse.exhausted.note(self.settings.database_pool_timeout)
            raise StorageUnavailable(
                f"no database connection came free within {self.settings.database_pool_timeout:g} s; "
                "the work in hand holds them all, or PostgreSQL is slow"
            ) from None
        except PREPARED_ELSEWHERE as error:
            raise StorageUnavailable(
                f"a pooler before PostgreSQL mixes up prepared statements ({_first_line(error)}): "
                "set BEAT_DATABASE_PREPARED_STATEMENTS=false, or use PgBouncer 1.22 with max_prepared_statements"
            ) from error
        except UNAVAILABLE as error:
            # What the server says of itself, it says instead of doing it.
            kind = StorageLost if asked and error.sqlstate is None else StorageUnavailable
            raise kind(f"PostgreSQL did not answer: {_first_line(error)}") from error
        except DBAPIError as error:
            if isinstance(error.orig, UNAVAILABLE):
                raise StorageUnavailable(f"PostgreSQL did not answer: {_first_line(error.orig)}") from error
            raise

    def _check(self, dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        """Ask a connection that lay idle whether it lives, before somebody relies on it; in a busy pool that would be every other
        round trip. Where it does not, the pool replaces it and all that are as old."""
        if time.monotonic() - record.info.get(USED_AT, 0.0) < TRUSTED_FOR:
            return
        dialect = self.engine.dialect
        try:
            alive = dialect.do_ping(dbapi_connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, dbapi_connection, None):
                raise
            alive = False
        if not alive:
            raise InvalidatePoolError

    def pool(self) -> tuple[int, int]:
        """How many connections are taken, of how many that there may be."""
        pool = cast(QueuePool, self.engine.pool)
        return pool.checkedout(), self.settings.database_pool_size + self.settings.database_max_overflow

    async def close(self) -> None:
        await self.engine.dispose()


def jsonb(value: Any) -> str:
    """A value as JSON text for a `::jsonb` parameter."""
    return msgspec.json.encode(value).decode()


def columns(rows: Iterable[Sequence[Any]], width: int) -> tuple[list[Any], ...]:
    """Rows turned into the column arrays that `unnest` takes."""
    turned = tuple(list(column) for column in zip(*rows, strict=True))
    return turned or tuple([] for _ in range(width))


def _json_by_msgspec(dbapi_connection: Any, _record: Any) -> None:
    set_json_loads(msgspec.json.decode, dbapi_connection.driver_connection)


def _note_use(_dbapi_connection: Any, record: Any) -> None:
    record.info[USED_AT] = time.monotonic()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
