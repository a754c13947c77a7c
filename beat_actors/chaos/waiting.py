"""Waiting for what a rehearsal needs, and the error when it does not come."""

import asyncio
import time
from collections.abc import Callable

from beat_actors.errors import BeatError


class ChaosError(BeatError):
    """The rehearsal itself could not be held: it says nothing of the engine."""

    code = "chaos"


async def until(condition: Callable[[], bool], *, within: float, what: str, every: float = 0.1) -> None:
    """Poll until it holds, in a thread. Raises `ChaosError` with `what` where it does not in time."""
    deadline = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise ChaosError(f"{what} within {within:g} s")
        await asyncio.sleep(every)
