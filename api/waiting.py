"""Waiting for requests to end: one query for all that are waited for, whoever waits, and no connection that is held meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

import structlog

from beat_actors.errors import StorageUnavailable

log = structlog.get_logger(__name__)

EVERY = 0.1
"""Seconds between two looks, while anybody waits."""
LONGEST = 60

Ended = Callable[[Collection[int]], Awaitable[set[int]]]


class Waiting:
    """One for each process. `ended` says which of some requests have ended."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._events: dict[int, asyncio.Event] = {}
        self._waiters: Counter[int] = Counter()
        self._watch: asyncio.Task[None] | None = None

    async def until_ended(self, request_id: int, seconds: float) -> bool:
        """Whether the request has ended within so many seconds. Never raises: while the database is away, nothing is known to end."""
        self._waiters[request_id] += 1
        event = self._events.setdefault(request_id, asyncio.Event())
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            self._waiters[request_id] -= 1
            if not self._waiters[request_id]:
                del self._waiters[request_id]
                self._events.pop(request_id, None)
        return True

    async def close(self) -> None:
        """Let nobody wait any longer."""
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
                log.warning("waiting_blind", requests=len(self._events), error=str(error))
                continue
            for request_id in ended:
                if event := self._events.get(request_id):
                    event.set()
