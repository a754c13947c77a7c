"""How late the event loop of a process is: whatever blocks it delays everything that the process does."""

import asyncio
import contextlib

EVERY = 1.0
"""Seconds between two looks."""


class LoopLag:
    """From `start` to `close`."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._look())

    def taken(self) -> float | None:
        """The longest delay since this was last asked, in seconds; None if nobody looks."""
        longest, self._longest = self._longest, 0.0
        return longest if self._task is not None else None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            self._longest = max(self._longest, loop.time() - due)
