"""Ringing the broker without keeping the caller: what was accepted is committed, and Redis may take its time or be away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


class Bell:
    """One for each process. `ring` never raises. At most one ring for a platform is under way; those that come meanwhile become one more after it."""

    def __init__(self, ring: Callable[[str], Awaitable[Any]]) -> None:
        self._ring = ring
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def ring(self, platforms: Iterable[str]) -> None:
        for platform in platforms:
            if platform in self._tasks:
                self._again.add(platform)
            else:
                self._tasks[platform] = asyncio.create_task(self._work(platform))

    async def close(self) -> None:
        """Ends when what was begun is done."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _work(self, platform: str) -> None:
        try:
            while True:
                self._again.discard(platform)
                await self._ring(platform)
                if platform not in self._again:
                    return
        finally:
            del self._tasks[platform]
