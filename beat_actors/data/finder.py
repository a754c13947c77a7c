"""Finding things for many readers at once: whoever asks while a statement is out shares the next one.

A reader who is alone waits for nobody. The busier it gets, the more share a round trip and the less each costs.
"""

import asyncio
from dataclasses import dataclass

from beat_actors.data.reading import Asked, Item, find_all
from beat_actors.database import Database

CLERKS = 2
"""Statements that are out at a time: while one is slow, another goes on."""
LINGER = 0.05
"""Seconds that a clerk without work keeps its connection: to get one costs as much as the statement."""
MOST_TOGETHER = 100


@dataclass(frozen=True, slots=True)
class _Waiting:
    asked: Asked
    answer: asyncio.Future[Item | None]


class Finder:
    """One for each process and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._clerks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Future[None]] = set()

    async def find(self, asked: Asked) -> Item | None:
        """The thing that was observed last, of those that are called so. Raises `StorageUnavailable`."""
        one = _Waiting(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._idle:
            self._idle.pop().set_result(None)
        elif len(self._clerks) < CLERKS:
            clerk = asyncio.create_task(self._work())
            self._clerks.add(clerk)
            clerk.add_done_callback(self._clerks.discard)
        return await one.answer

    async def close(self) -> None:
        """Ends when what was asked is answered."""
        await asyncio.gather(*self._clerks)

    async def _work(self) -> None:
        """Until nobody waits any more, on one connection."""
        while self._waiting:
            batch: list[_Waiting] = []
            try:
                async with self._database.statements() as alone:
                    while self._waiting or await self._more():
                        batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                        for one, item in zip(batch, await find_all(alone, [one.asked for one in batch]), strict=True):
                            if not one.answer.done():  # the reader may have gone
                                one.answer.set_result(item)
            except Exception as error:  # noqa: BLE001 - it is each reader's
                # Before there was a connection it is everybody's who waited for it.
                for one in batch or self._take_all():
                    if not one.answer.done():
                        one.answer.set_exception(error)

    async def _more(self) -> bool:
        """Wait a little for somebody who asks; whether anybody does."""
        called = asyncio.get_running_loop().create_future()
        self._idle.add(called)
        await asyncio.wait((called,), timeout=LINGER)
        self._idle.discard(called)
        return bool(self._waiting)

    def _take_all(self) -> list[_Waiting]:
        taken, self._waiting = self._waiting, []
        return taken
