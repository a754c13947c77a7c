"""Finding things for many readers at once: whoever asks while a statement is out shares the next one.

A reader who is alone waits for nobody. The busier it gets, the more share a round trip and the less each costs.
"""

import asyncio
from dataclasses import dataclass

from beat_actors.data.reading import Asked, Item, find_all
from beat_actors.database import Database

CLERKS = 2
"""Statements that are out at a time: while one is slow, another goes on."""
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

    async def find(self, asked: Asked) -> Item | None:
        """The thing that was observed last, of those that are called so. Raises `StorageUnavailable`."""
        one = _Waiting(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if len(self._clerks) < CLERKS:
            clerk = asyncio.create_task(self._work())
            self._clerks.add(clerk)
            clerk.add_done_callback(self._clerks.discard)
        return await one.answer

    async def close(self) -> None:
        """Ends when what was asked is answered."""
        await asyncio.gather(*self._clerks)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            try:
                async with self._database.statements() as alone:
                    found = await find_all(alone, [one.asked for one in batch])
            except Exception as error:  # noqa: BLE001 - it is each reader's
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            for one, item in zip(batch, found, strict=True):
                if not one.answer.done():  # the reader may have gone
                    one.answer.set_result(item)
