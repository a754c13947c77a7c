"""Wake the broker after a request is committed. The caller does not wait for it, since Redis may be slow or away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


class Wakeups:
    """One for each process. `send` never raises. A platform has one wake-up on its way at a time. Those that are asked for meanwhile become
    one more, which is sent after it."""

    def __init__(self, wake: Callable[[str], Awaitable[Any]]) -> None:
        self._wake = wake
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def send(self, platforms: Iterable[str]) -> None:
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
                await self._wake(platform)
                if platform not in self._again:
                    return
        finally:
            del self._tasks[platform]
