"""A budget of bytes that is waited for: in memory for pictures, on disk for videos."""

import asyncio
import contextlib
from collections import deque


class Budget:
    """`total` bytes, for the tasks of one event loop. Those that ask first are served first.

    The sizes of some bodies are not known before they were read. So a part may grow. If all waited for room to grow, none would give
    back what it has; therefore one part at a time may grow although there is no room. All parts together take at most `total` bytes, and as
    much more as one body may have.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._beyond: Part | None = None
        self._growing: deque[tuple[Part, int, asyncio.Future[None]]] = deque()
        self._new: deque[tuple[Part, int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """Bytes of all parts."""
        return self._total - self._free

    async def take(self, count: int) -> "Part":
        """A part of `count` bytes, or of all that there are; waits until it is free."""
        part = Part(self)
        count = min(count, self._total)
        if self._free >= count and not self._new and not self._growing:
            self._give(part, count)
        else:
            await self._wait(self._new, part, count)
        return part

    def _grows_at_once(self, part: "Part", more: int) -> bool:
        if not (self._beyond in (None, part) or (self._free >= more and not self._growing)):
            return False
        if self._free < more:
            self._beyond = part
        self._give(part, more)
        return True

    async def _wait(self, queue: deque[tuple["Part", int, asyncio.Future[None]]], part: "Part", count: int) -> None:
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (part, count, given)
        queue.append(entry)
        try:
            await given
        except asyncio.CancelledError:
            if given.cancelled():
                with contextlib.suppress(ValueError):
                    queue.remove(entry)
                self._serve()  # those behind it may need less
            else:
                part.give_back(part.size - count)
            raise

    def _give(self, part: "Part", count: int) -> None:
        self._free -= count
        part.size += count

    def _returned(self, part: "Part", count: int) -> None:
        self._free += count
        part.size -= count
        if self._beyond is part and (not part.size or self._free >= 0):
            self._beyond = None
        self._serve()

    def _serve(self) -> None:
        while self._growing:
            part, more, given = self._growing[0]
            if not given.cancelled():
                if self._free < more and self._beyond is not None:
                    return
                if self._free < more:
                    self._beyond = part
                self._give(part, more)
                given.set_result(None)
            self._growing.popleft()
        while self._new:
            part, count, given = self._new[0]
            if not given.cancelled():
                if self._free < count:
                    return
                self._give(part, count)
                given.set_result(None)
            self._new.popleft()


class Part:
    """What one download has of a budget; `size` in bytes."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def grows_at_once(self, to: int) -> bool:
        """Have `to` bytes if they are free. It never shrinks by this."""
        return to <= self.size or self._budget._grows_at_once(self, to - self.size)

    async def grow(self, to: int) -> None:
        """Wait until it has `to` bytes."""
        if not self.grows_at_once(to):
            await self._budget._wait(self._budget._growing, self, to - self.size)

    def give_back(self, keep: int = 0) -> None:
        """Keep so many bytes and give back the others; more often than once changes nothing."""
        if keep < self.size:
            self._budget._returned(self, self.size - keep)
