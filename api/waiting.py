"""Wait for requests or batches to end. One query looks for all of them, for all callers, and no wait holds a connection."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Generic, TypeVar

from api.room import Places
from beat_actors.errors import StorageUnavailable
from beat_actors.logger import get_logger

log = get_logger(__name__)

EVERY = 0.1
"""Seconds between two such queries, while any caller waits."""
LONGEST = 60
"""Seconds that a caller may wait."""
MAX_WAITS = 1000
"""The most callers that wait in one process."""
MAX_WAITS_OF_KEY = 100
"""The most of them with one key."""
LOOKS_OF_KEY = 2
"""Requests that are read at a time for the waiting callers of one key, so that many waits that end together take few connections."""
LOOK_WITHIN = 5.0
"""Seconds in which such a read must begin."""
COME_BACK = (10, 20)
"""The range of seconds after which a caller looks again for whom there was no room. It is random, so that callers do not come together."""

K = TypeVar("K", bound=Hashable)


class Waiting(Generic[K]):
    """One for each kind of row that callers of a process wait for.

    `ended`: returns which of these rows have ended. `beside`: another one, with which it shares the bounds on waits and reads. `most`, `most_of_key`:
    its own bounds on waits, in place of `MAX_WAITS` and `MAX_WAITS_OF_KEY`.
    """

    def __init__(
        self,
        ended: Callable[[Collection[K]], Awaitable[set[K]]],
        beside: "Waiting[K] | None" = None,
        *,
        most: int | None = None,
        most_of_key: int | None = None,
    ) -> None:
        self._ended = ended
        self._most, self._most_of_key = most, most_of_key
        self._events: dict[K, asyncio.Event] = {}
        self._waiters: Counter[K] = Counter()
        self._of_key: Counter[int] = Counter() if beside is None else beside._of_key
        self.looks: Places = Places(LOOKS_OF_KEY) if beside is None else beside.looks
        self._watch: asyncio.Task[None] | None = None

    async def until_ended(self, number: K, seconds: float, key_id: int) -> bool:
        """Whether the row has ended within so many seconds. Never raises: while the database is away, no row is known to have ended.

        `key_id`: of the caller's key, which is to have `room`.
        """
        self._of_key[key_id] += 1
        self._waiters[number] += 1
        event = self._events.setdefault(number, asyncio.Event())
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            self._of_key[key_id] -= 1
            if not self._of_key[key_id]:
                del self._of_key[key_id]
            self._waiters[number] -= 1
            if not self._waiters[number]:
                del self._waiters[number]
                self._events.pop(number, None)
        return True

    def room(self, key_id: int) -> bool:
        """Whether one more caller with this key may wait."""
        most, of_key = self._most or MAX_WAITS, self._most_of_key or MAX_WAITS_OF_KEY
        return self._of_key[key_id] < of_key and self._of_key.total() < most

    def waits_of(self, key_id: int) -> int:
        """Callers with this key that wait."""
        return self._of_key.get(key_id, 0)

    async def close(self) -> None:
        """End all waits."""
        if self._watch is not None:
            self._watch.cancel()
        for event in self._events.values():
            event.set()

    async def _look(self) -> None:
        while self._events:
            await asyncio.sleep(EVERY)
            try:
                ended = await self._ended(list(self._events))
            except StorageUnavailable as error:
                log.warning("waiting_blind", rows=len(self._events), error=str(error))
                continue
            for number in ended:
                if event := self._events.get(number):
                    event.set()
