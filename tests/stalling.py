"""Workers that stop before one of their transactions, to wake up or die whenever a test says so."""

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from beat_actors.database import Database

gate: ContextVar["Gate | None"] = ContextVar("gate", default=None)


class Gate:
    """Stops its worker before the `at`-th transaction, until it is opened."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            await self.opened.wait()


class GatedDatabase(Database):
    @asynccontextmanager
    async def transaction(self):
        own = gate.get()
        if own is not None:
            await own.passed()
        async with super().transaction() as transaction:
            yield transaction


@dataclass(frozen=True)
class Stalled:
    """A worker that stands before a transaction. `fences`: those of the fetches that it has claimed."""

    task: asyncio.Task
    gate: Gate
    fences: dict[int, int]


async def outcome_of(task):
    """What a worker came to; nothing, where it died."""
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, asyncio.CancelledError):
        return None
    if isinstance(ended, BaseException):
        raise ended
    return ended
