"""Which of the schedulers leads: an advisory lock on a direct connection, an epoch that fences, and a heartbeat.

The lock makes a follower the leader a moment after the leader's process ends. A leader that is only paused keeps its lock for as
long as TCP stays up, so it also writes when it was last seen; a follower that finds this too old ends the leader's session.
Nothing depends on there being one leader only: every sweep may run twice at once. It saves work, and keeps alerts calm.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import psycopg

from beat_actors.database.sql import Statements
from beat_actors.logger import get_logger
from beat_actors.settings import Settings

log = get_logger(__name__)

NAME = "scheduler"
SILENT_FOR = 5.0
"""Seconds without a sign of life after which a leader is replaced."""
BEAT = 1.0
SQL = Statements(__file__)
ELECT = SQL("elect", int)
SEEN = SQL("seen")
DEPOSE = SQL("depose", bool)


class Leadership:
    """One candidate. `epoch` is its term while it leads, and `None` while another does."""

    def __init__(
        self,
        settings: Settings,
        *,
        holder: str,
        on_elected: Callable[[], None] = lambda: None,
        silent_for: float = SILENT_FOR,
    ) -> None:
        self._url = settings.direct_url
        self._holder = holder
        self._on_elected = on_elected
        self._silent_for = silent_for
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self.epoch: int | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._campaign())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._step_down()

    async def _campaign(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._silent_for):
                    await self._step()
            except (psycopg.Error, OSError, TimeoutError) as error:
                await self._step_down(because=type(error).__name__)
            except Exception as error:
                # A scheduler that ended its campaign would never lead, and the cause may pass: no thread to be had for a moment.
                log.exception("campaign_failed")
                await self._step_down(because=type(error).__name__)
            await asyncio.sleep(BEAT)

    async def _step(self) -> None:
        connection = self._connection or await self._connect()
        if self.epoch is not None:
            if (await connection.execute(SEEN.sent, {"name": NAME, "epoch": self.epoch})).rowcount == 0:
                await self._step_down(because="another one was elected")
            return
        if not await self._elected(connection):
            await connection.execute(DEPOSE.sent, {"name": NAME, "silent_for": self._silent_for})
            await self._elected(connection)

    async def _elected(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        async with connection.cursor(row_factory=ELECT.rows) as cursor:
            await cursor.execute(ELECT.sent, {"name": NAME, "holder": self._holder})
            epoch = await cursor.fetchone()
        if epoch is None:
            return False
        self.epoch = epoch
        log.info("leading", epoch=self.epoch, holder=self._holder)
        self._on_elected()
        return True

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        # Session state, so never through a pooler in transaction mode.
        self._connection = await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            application_name="beat leader",
            target_session_attrs="read-write",  # of several hosts, as for the pool
            connect_timeout=2,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=5000,
        )
        return self._connection

    async def _step_down(self, *, because: str = "it is stopping") -> None:
        if self.epoch is not None:
            log.warning("not_leading", epoch=self.epoch, because=because)
        self.epoch = None
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()  # and with it the lock
