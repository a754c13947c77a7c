"""The connections of a command, which makes one, uses it for a moment and ends. It loads psycopg and no pool."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg

from beat_actors.database.connections import TRUSTED_FOR, Connection, Connections, prepare
from beat_actors.database.metrics import Metrics
from beat_actors.settings import Settings


class Idle(NamedTuple):
    """A connection that was put back, at `since` (`time.monotonic`)."""

    connection: Connection
    since: float


class Unpooled(Connections):
    """A connection for each block, and the last one again where it was used within the last second. As many as the command has open blocks."""

    def __init__(self, settings: Settings, name: str, metrics: Metrics) -> None:
        super().__init__(settings, name, metrics)
        self._idle: list[Idle] = []
        self._taken = 0

    @asynccontextmanager
    async def _take(self) -> AsyncIterator[Connection]:
        connection = await self._kept() or await self._made()
        self._taken += 1
        try:
            yield connection
            if not connection.closed:
                await connection.rollback()
                self._idle.append(Idle(connection, time.monotonic()))
        except BaseException:
            await connection.close()
            raise
        finally:
            self._taken -= 1

    async def _kept(self) -> Connection | None:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < TRUSTED_FOR and since > self._distrusted:
                return connection
            await connection.close()
        return None

    async def _made(self) -> Connection:
        connection = await psycopg.AsyncConnection.connect(**self._options())
        try:
            await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
            await prepare(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    def taken(self) -> tuple[int, int]:
        return self._taken, self._taken + len(self._idle)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().connection.close()
