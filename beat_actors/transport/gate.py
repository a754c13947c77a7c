"""Turns: tasks that store objects wait here for theirs, as the `Pace` of their bucket says."""

import asyncio
from collections import deque
from collections.abc import Callable

from beat_actors.transport.pace import Pace


class Gate:
    """Lets the tasks of one event loop through at a `Pace`, in the order of their coming."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.pace = Pace(clock())
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self) -> int:
        """Wait for a turn; the generation of the request that may be sent."""
        if self._waiting or self.pace.take(self._clock()):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._let_through()
            await turn
        return self.pace.generation

    def accepted(self, generation: int) -> None:
        self.pace.accepted(self._clock(), generation)

    def refused(self, generation: int) -> None:
        self.pace.refused(self._clock(), generation)

    def _let_through(self) -> None:
        """Those whose turn it is, and a timer for the next. The timer looks again soon: the rate may rise meanwhile."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self._waiting[0].done():  # it was cancelled
                self._waiting.popleft()
                continue
            wait = self.pace.take(self._clock())
            if wait:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait, self._let_through)
                return
            self._waiting.popleft().set_result(None)
