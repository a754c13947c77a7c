"""A pause that may end early."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def pause(*until: Awaitable[Any], within: float) -> None:
    """Wait until the first of these is done, `within` seconds at most. What is not done is cancelled."""
    tasks = [asyncio.ensure_future(one) for one in until]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
