"""When the broker is to look again: at the time at which a lane has room."""

import asyncio
from collections.abc import Awaitable, Callable

WITHIN = 60.0
"""Seconds within which a turn is asked for by a timer. Later ones, and those whose process ends, are found by the sweep `due`, which looks
twice a second: that is late for a limit by the second."""


class Wakes:
    """Asks for a turn at the time at which a lane has room: one timer for each platform, the earliest, which holds no thread."""

    def __init__(self, wake: Callable[[str], Awaitable[object]]) -> None:
        self._wake = wake
        self._timers: dict[str, tuple[float, asyncio.Task[None]]] = {}

    def wake(self, platform: str, seconds: float) -> None:
        """In so many seconds, unless a turn is asked for before that, which then looks again."""
        at = asyncio.get_running_loop().time() + seconds
        earlier = self._timers.get(platform)
        if seconds > WITHIN or (earlier is not None and not earlier[1].done() and earlier[0] <= at):
            return
        if earlier is not None:
            earlier[1].cancel()
        self._timers[platform] = (at, asyncio.create_task(self._wait(platform, seconds)))

    async def _wait(self, platform: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._timers.pop(platform, None)
        await self._wake(platform)
