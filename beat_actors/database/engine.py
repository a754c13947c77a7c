"""The one door to PostgreSQL: a transaction that commits or leaves no trace, on a connection of a bounded pool."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from beat_actors.database import clock
from beat_actors.database.metrics import Metrics
from beat_actors.database.transaction import Transaction
from beat_actors.errors import StorageContended

if TYPE_CHECKING:
    from beat_actors.database.connections import Connections
    from beat_actors.settings import Settings

T = TypeVar("T")
TRIES, FIRST_PAUSE = 5, 0.02
"""How often what was broken off is tried; the pause before the next try is random, and twice as long at most each time (seconds)."""


class Database:
    """A process's connections. Close it before its event loop ends. `name`: of the process, as PostgreSQL shows it.

    `connections`: where they come from; a pool if not given."""

    def __init__(self, settings: "Settings", *, name: str, connections: "type[Connections] | None" = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.clock = clock.StepWatch()
        self.ids: dict[tuple[object, ...], int] = {}
        self.connections = (connections or _pool())(settings, name, self.metrics)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end of the block and rolls back on any exception.

        Raises `StorageUnavailable` where PostgreSQL does not answer, refuses the connection, or the pool stays exhausted, and `StorageLost`
        where it may have committed all the same.
        """
        async with self.connections.lend() as connection:
            try:
                transaction = Transaction(connection, self.metrics, self.clock, self.settings, self.ids)
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
        async with self.connections.lend() as connection, self.connections.autocommitted(connection):
            yield Transaction(connection, self.metrics, self.clock, self.settings, self.ids)

    def pool(self) -> tuple[int, int]:
        """How many connections are taken, of how many that there may be."""
        return self.connections.taken()

    async def close(self) -> None:
        await self.connections.close()


def _pool() -> "type[Connections]":
    """The pool, whose library takes longer to load than most commands run; a process that only names `Database` does not load it."""
    from beat_actors.database.pool import Pool

    return Pool
