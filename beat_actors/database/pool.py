"""The pool of a process that runs for long. SQLAlchemy owns its connections: size, overflow, liveness, age."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

from beat_actors.database.connections import TRUSTED_FOR, Connection, Connections, prepare
from beat_actors.database.metrics import Metrics
from beat_actors.database.urls import DRIVER
from beat_actors.errors import StorageUnavailable
from beat_actors.settings import Settings

USED_AT, MADE_AT = "beat_used_at", "beat_made_at"


class Pool(Connections):
    """Connections that are kept, `database_pool_size` of them, and more for as long as they are wanted."""

    def __init__(self, settings: Settings, name: str, metrics: Metrics) -> None:
        super().__init__(settings, name, metrics)
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
            connect_args=self._options(),
        )
        event.listen(self.engine.sync_engine, "connect", _prepare)
        event.listen(self.engine.sync_engine, "connect", _note_made)
        event.listen(self.engine.sync_engine, "connect", _note_use)
        event.listen(self.engine.sync_engine, "checkin", _note_use)
        event.listen(self.engine.sync_engine, "checkout", self._check)

    @asynccontextmanager
    async def _take(self) -> AsyncIterator[Connection]:
        try:
            async with self.engine.connect() as pooled:
                raw = await pooled.get_raw_connection()
                yield raw.driver_connection  # type: ignore[misc]
        except PoolTimeout:
            self._metrics.out_of_connections(self.settings.database_pool_timeout)
            raise StorageUnavailable(
                f"no database connection came free within {self.settings.database_pool_timeout:g} s; "
                "the work in progress uses all of them, or PostgreSQL is slow"
            ) from None
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                # SQLAlchemy raised `error` from `error.orig`. Raised from `error` again, it would be its own cause.
                raise error.orig from error.orig.__cause__
            raise

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

    def taken(self) -> tuple[int, int]:
        pool = cast(QueuePool, self.engine.pool)
        return pool.checkedout(), self.settings.database_pool_size + self.settings.database_max_overflow

    async def close(self) -> None:
        await self.engine.dispose()


def _prepare(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.run_async(prepare)


def _note_made(_dbapi_connection: Any, record: Any) -> None:
    record.info[MADE_AT] = time.monotonic()


def _note_use(_dbapi_connection: Any, record: Any) -> None:
    record.info[USED_AT] = time.monotonic()
