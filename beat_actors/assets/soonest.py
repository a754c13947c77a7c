"""A call at the earliest of several moments: when a batch that is gathered has to go."""

import asyncio
from collections.abc import Callable


class Soonest:
    """For the tasks of one event loop. `then` is called once, at the earliest moment that was asked for since it was called or cancelled last."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then
        self._timer: asyncio.TimerHandle | None = None
        self.at = 0.0
        """Of the loop's clock, while one is asked for."""

    def within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is None or at < self.at:
            self.cancel()
            self._timer, self.at = loop.call_at(at, self._call), at

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _call(self) -> None:
        self._timer = None
        self._then()
