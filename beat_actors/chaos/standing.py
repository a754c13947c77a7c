"""When the harness itself stood still: what its clients measured then says nothing of the engine."""

import asyncio
import contextlib
import faulthandler
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from beat_actors.chaos.load import Answered

EVERY = 0.2
LONG = 2.0
"""Seconds by which a look is late, from which on the event loop stood still. A busy machine is late by less."""
TOLD_AFTER = 5.0
"""Seconds after which the calls of all threads are written to standard error, once, so that the reason can be seen."""


@dataclass(slots=True)
class Standstills:
    """Spans of time, in epoch seconds."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(end - begin for begin, end in self.spans)

    def met(self, answer: Answered) -> bool:
        """Whether the harness stood still while a client waited for this answer."""
        return any(answer.at < end and begin < answer.at + answer.seconds for begin, end in self.spans)


@contextlib.asynccontextmanager
async def noticed() -> AsyncIterator[Standstills]:
    """Notice the standstills of this event loop for the time of the block."""
    found = Standstills()
    looking = asyncio.create_task(_look(found))
    try:
        yield found
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        faulthandler.cancel_dump_traceback_later()


async def _look(found: Standstills) -> None:
    assert sys.__stderr__ is not None
    while True:
        faulthandler.dump_traceback_later(
            TOLD_AFTER, file=sys.__stderr__
        )  # what stands in for `sys.stderr` may be no file
        began = time.time()
        await asyncio.sleep(EVERY)
        now = time.time()
        if now - began - EVERY >= LONG:
            found.spans.append((began, now))
