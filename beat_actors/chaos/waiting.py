"""Wait for what a run needs, and the error where it does not come."""

import asyncio
import time
from collections.abc import Callable

from beat_actors.errors import BeatError


class ChaosError(BeatError):
    """The run itself failed, which tells nothing of the engine."""

    code = "chaos"


async def until(condition: Callable[[], bool], *, within: float, what: str, every: float = 0.1) -> None:
    """Poll the condition in a thread until it holds. Raises `ChaosError` with `what` where it does not hold within `within` seconds."""
    deadline = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise ChaosError(f"{what} within {within:g} s")
        await asyncio.sleep(every)
