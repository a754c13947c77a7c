"""A limit to how long a caller is kept while the database does not answer, whatever it is that it does instead."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from beat_actors.errors import StorageTooSlow

T = TypeVar("T")

PATIENCE = 1.7
"""Seconds. With what else a call takes, the caller is answered within two."""


async def in_time(work: Coroutine[Any, Any, T]) -> T:
    """What the work comes to. Raises `StorageTooSlow` where it is not done in time.

    The work is cancelled then and not waited for: a driver whose server is frozen takes seconds to give up. Whether it had an
    effect is not known.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    finally:
        if not task.done():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
    if not done:
        raise StorageTooSlow(f"the database did not do it within {PATIENCE:g} s")
    return task.result()
