"""What comes one by one, done in batches: soon, and never one at a time where much comes."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from beat_actors.logger import get_logger

log = get_logger(__name__)

T = TypeVar("T")


class Batches(Generic[T]):
    """Calls `do` with what was added: at once where nothing was done within the last `every` seconds, else when they have passed or
    `enough` items are there. At most `at_once` batches of at most `most` items run; what comes meanwhile makes the next ones larger.

    `do` handles its own errors: one that it raises is logged, and its items are not done again.
    """

    def __init__(
        self, do: Callable[[Sequence[T]], Awaitable[None]], *, every: float, enough: int, most: int, at_once: int
    ) -> None:
        self._do = do
        self._every, self._enough, self._most, self._at_once = every, enough, most, at_once
        self._items: deque[T] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._began = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T) -> None:
        """To be done within `every` seconds, or when there is room."""
        self.add_all([item])

    def add_all(self, items: Sequence[T]) -> None:
        """These, in one batch where it takes so many."""
        self._items.extend(items)
        self._look()

    async def done(self) -> None:
        """Do what is left without waiting for more, until nothing is left."""
        while self._items or self._running:
            self._start()
            await asyncio.wait(self._running)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._began + self._every
        if not self._items:
            return
        if len(self._items) >= self._enough or loop.time() >= due:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_at(due, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._items and len(self._running) < self._at_once:
            batch = [self._items.popleft() for _ in range(min(self._most, len(self._items)))]
            self._began = asyncio.get_running_loop().time()
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def _run(self, batch: Sequence[T]) -> None:
        try:
            await self._do(batch)
        except Exception:
            log.exception("batch_failed", items=len(batch))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._items:
            self._look()
