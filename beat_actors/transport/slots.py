"""Slots of a host: a semaphore that lets those pass first whose call somebody waits for."""

import asyncio
import contextlib
from collections import deque


class Slots:
    """`count` of them, for the tasks of one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    def one(self, *, urgent: bool) -> "_Slot":
        """Wait for a slot, in the order of coming among those that are urgent and those that are not, and have it while the block runs."""
        return _Slot(self, urgent)

    async def take(self, *, urgent: bool) -> None:
        """Wait for a slot, as `one` does. Call `give_back` once for it."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._others)

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
                self.give_back()  # it was this one's already
            raise

    def give_back(self) -> None:
        for queue in (self._urgent, self._others):
            while queue:
                passed = queue.popleft()
                if not passed.done():
                    passed.set_result(None)
                    return
        self._free += 1


class _Slot:
    """One slot, in an `async with` block."""

    __slots__ = ("_slots", "_urgent")

    def __init__(self, slots: Slots, urgent: bool) -> None:
        self._slots, self._urgent = slots, urgent

    async def __aenter__(self) -> None:
        await self._slots.take(urgent=self._urgent)

    async def __aexit__(self, *_error: object) -> None:
        self._slots.give_back()
