"""Finding things for many readers at once: readers that ask while a statement runs share the next one.

A reader who is alone waits for nobody. The busier it gets, the more share a round trip and the less each costs. Nobody is kept longer
than they said: that costs a timer for each statement, and none for each reader.
"""

import asyncio
from dataclasses import dataclass

from beat_actors.assets.serving.links import Links
from beat_actors.data.items import Item
from beat_actors.data.media import of_found
from beat_actors.data.reading import Asked, find_all
from beat_actors.database import Database
from beat_actors.errors import StorageTooSlow

CLERKS = 2
"""Statements that are out at a time: while one is slow, another goes on."""
LINGER = 0.05
"""Seconds that a clerk without work keeps its connection: to get one costs as much as the statement."""
MOST_TOGETHER = 100
DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """`until`: the event loop's time at which it wants to be told that nothing came."""

    asked: Asked
    answer: asyncio.Future[Item | None]
    until: float


class Finder:
    """One for each process and event loop. What it finds has links to assets."""

    def __init__(self, database: Database, links: Links | None = None) -> None:
        self._database = database
        self._links = links or Links(database.settings)
        self._waiting: list[_Waiting] = []
        self._clerks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Future[None]] = set()
        self._left: set[asyncio.Task[None]] = set()
        """Clerks whose database does not answer: nobody waits for them any more."""

    async def find(self, asked: Asked, *, within: float = DEADLINE) -> Item | None:
        """The thing that was observed last, of those that are called so. Raises `StorageUnavailable`, also after so many seconds."""
        loop = asyncio.get_running_loop()
        one = _Waiting(asked, loop.create_future(), loop.time() + within)
        self._waiting.append(one)
        self._call()
        return await one.answer

    async def close(self) -> None:
        """Ends when what was asked is answered."""
        await asyncio.gather(*self._clerks)

    def _call(self) -> None:
        if self._idle:
            self._idle.pop().set_result(None)
        elif len(self._clerks) < CLERKS:
            clerk = asyncio.create_task(self._work())
            self._clerks.add(clerk)
            clerk.add_done_callback(self._clerks.discard)

    async def _work(self) -> None:
        """Until nobody waits any more, on one connection."""
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        assert me is not None
        while self._waiting:
            batch: list[_Waiting] = []
            timer = loop.call_at(self._waiting[0].until, self._give_up, me, batch)
            try:
                async with self._database.statements() as alone:
                    timer.cancel()
                    while self._waiting or await self._more():
                        batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                        timer = loop.call_at(batch[0].until, self._give_up, me, batch)
                        asked = [one.asked for one in batch]
                        found = await of_found(alone, self._links, asked, await find_all(alone, asked))
                        timer.cancel()
                        for one, item in zip(batch, found, strict=True):
                            if not one.answer.done():  # the reader may have gone
                                one.answer.set_result(item)
            except Exception as error:  # noqa: BLE001 - it is each reader's
                # Before there was a connection it is everybody's who waited for it.
                _tell(batch or self._take_all(), error)
            finally:
                timer.cancel()

    def _give_up(self, clerk: asyncio.Task[None], batch: list[_Waiting]) -> None:
        """The first of these has waited long enough for this clerk's statement, or, where they are none, for its connection.

        It is left to its driver, which takes seconds to notice that a server is frozen; others go on with another.
        """
        now = asyncio.get_running_loop().time()
        if not batch:
            batch = [one for one in self._waiting if one.until <= now]
            self._waiting = [one for one in self._waiting if one.until > now]
        _tell(batch, StorageTooSlow("PostgreSQL did not find it in the time that a reader is kept"))
        self._clerks.discard(clerk)
        self._left.add(clerk)
        clerk.add_done_callback(self._left.discard)
        clerk.cancel()
        if self._waiting:
            self._call()

    async def _more(self) -> bool:
        """Wait a little for somebody who asks; whether anybody does."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + LINGER
        while not self._waiting and (left := ends - loop.time()) > 0:
            called = loop.create_future()
            self._idle.add(called)
            await asyncio.wait((called,), timeout=left)
            self._idle.discard(called)
        return bool(self._waiting)

    def _take_all(self) -> list[_Waiting]:
        taken, self._waiting = self._waiting, []
        return taken


def _tell(readers: list[_Waiting], error: Exception) -> None:
    for one in readers:
        if not one.answer.done():
            one.answer.set_exception(error)
