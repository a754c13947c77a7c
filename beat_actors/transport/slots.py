"""Slots of a host: a semaphore that lets those pass first whose call somebody waits for."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """`count` of them, for the tasks of one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def one(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a slot, in the order of coming among those that are urgent and those that are not, and have it while the block runs."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._others)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(passed)
        try:
            await passed
        except asyncio.CancelledError:
            if passed.cancelled():
                with contextlib.suppress(ValueError):  # a slot that came free may have passed over it
                    queue.remove(passed)
            else:
                self._pass_on()  # it was this one's already
            raise

    def _pass_on(self) -> None:
        for queue in (self._urgent, self._others):
            while queue:
                passed = queue.popleft()
                if not passed.done():
                    passed.set_result(None)
                    return
        self._free += 1
