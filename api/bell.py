"""Wake the broker without delay for the caller. The request is committed, so Redis may be slow or away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


class Bell:
    """One for each process. `ring` never raises. One wake-up of a platform is on its way at a time; all that come meanwhile become one more after it."""

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
        """Wait for the wake-ups that are on their way."""
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
