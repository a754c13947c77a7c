"""Connections to PostgreSQL: how they are made, what is asked of a new one, and what their errors mean."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads

from beat_actors.database import cluster
from beat_actors.database.failures import meaning
from beat_actors.database.metrics import Metrics
from beat_actors.database.sql import Statements
from beat_actors.database.urls import connect_args
from beat_actors.errors import StorageReadOnly, StorageUnavailable
from beat_actors.settings import Settings

Connection = psycopg.AsyncConnection[Any]

SLOW_CONNECTION = 1.0
"""Seconds from which on the wait for a connection is a wait for the server's answer, and not for the process itself."""
TRUSTED_FOR = 1.0
"""Seconds for which a connection that was just used is taken to live; one that was lost meanwhile fails one transaction."""
# What values are read by: a database or a role may have others as its defaults.
PINNED = {"DateStyle": "ISO, MDY", "TimeZone": "UTC"}
STATEMENTS = Statements(__file__)
DURABLE = STATEMENTS("durable", str)
PIN = STATEMENTS("pin", str)


class Connections(ABC):
    """Where a process's connections come from. `name`: of the process, as PostgreSQL shows it."""

    def __init__(self, settings: Settings, name: str, metrics: Metrics) -> None:
        self.settings = settings
        self._name = name
        self._metrics = metrics
        self._distrusted = 0.0

    @abstractmethod
    def _take(self) -> AbstractAsyncContextManager[Connection]:
        """A connection that is prepared, for the block. Raises `psycopg.Error`, and `StorageUnavailable` where none comes free."""

    @abstractmethod
    def taken(self) -> tuple[int, int]:
        """How many connections are taken, of how many that there may be."""

    @abstractmethod
    async def close(self) -> None:
        """Close those that lie idle."""

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """A connection for the block, whose errors are raised as what they mean for a caller. Raises `StorageUnavailable`."""
        asked, began = False, time.perf_counter()
        try:
            async with self._take() as connection:
                asked = True
                if time.perf_counter() - began >= SLOW_CONNECTION:
                    self._metrics.answered(began)  # a new connection, or the answer of one that lay idle
                yield connection
        except psycopg.Error as error:
            if not asked:
                self._metrics.unanswered(began)
            found = self._meaning(error, sent=asked)
            if found is None:
                raise
            raise found from error

    @asynccontextmanager
    async def autocommitted(self, connection: Connection) -> AsyncIterator[None]:
        """Each statement of the block commits by itself. A connection that cannot be set back is closed: on it, every statement of a later
        transaction would commit by itself."""
        try:
            await connection.set_autocommit(True)  # it may be cancelled and have taken effect
            yield
        finally:
            try:
                if connection.info.transaction_status is TransactionStatus.IDLE:
                    await connection.set_autocommit(False)
            finally:
                if connection.autocommit:
                    await (
                        connection.close()
                    )  # the block was broken off, and its query still runs, or so was the setting

    def distrust(self) -> None:
        """Replace every connection that stands now, each when it is next wanted: their server takes no writes."""
        self._distrusted = time.monotonic()

    def _meaning(self, error: psycopg.Error, *, sent: bool) -> StorageUnavailable | None:
        found = meaning(error, sent=sent)
        if isinstance(found, StorageReadOnly) and sent:
            self.distrust()  # the others lead to the same server
        return found

    def _options(self) -> dict[str, Any]:
        """What libpq and psycopg are told."""
        return {
            # Of several hosts the one that takes writes; a standby is as good as none.
            "target_session_attrs": "read-write",
            **connect_args(str(self.settings.database_url)),
            "client_encoding": "utf8",
            "application_name": f"beat {self._name}",
            "connect_timeout": 2,
            "prepare_threshold": 5 if self.settings.database_prepared_statements else None,
            # The server notices a vanished client, and the client a vanished server, in seconds rather than hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            # Keepalives say nothing of a connection on which something was sent and is never acknowledged.
            "tcp_user_timeout": 10_000,
        }


async def prepare(connection: Connection) -> None:
    """What a new connection needs: JSON by msgspec, the settings by which values are read (PgBouncer keeps them for each of its clients),
    commits that wait for the disk, and a new era where the database was restored into another cluster."""
    set_json_loads(msgspec.json.decode, connection)
    for name, value in PINNED.items():
        if connection.info.parameter_status(name) != value:
            await connection.execute(PIN.sent, {"name": name, "value": value})
    await connection.execute(DURABLE.sent)
    await connection.commit()
    await cluster.join(connection)
    await connection.commit()
