"""The time of requests to a bucket."""

import asyncio
import gc
import weakref

import pytest

from beat_actors.errors import ObjectsUnavailable
from beat_actors.transport.bucket import _Within


class Body:
    """What a request carries."""


async def test_a_request_that_is_too_late_keeps_nothing_of_its_body() -> None:
    """Workers collect garbage seldom, so what hangs in a cycle stays for long."""
    kept: list[weakref.ref[Body]] = []

    async def send(late: bool) -> None:
        body = Body()
        kept.append(weakref.ref(body))
        async with _Within("b", 0.01 if late else 10.0):
            if not late:
                raise TimeoutError  # of the block itself
            await asyncio.sleep(10)
            assert body

    async def refused(late: bool) -> bool:
        # In a task of its own, as uploads are: a task keeps its last cancellation.
        with pytest.raises(ObjectsUnavailable, match="did not answer within"):
            await send(late)
        return True

    gc.disable()
    try:
        for late in (True, False):
            assert await asyncio.create_task(refused(late))
        assert [one() for one in kept] == [None, None]
    finally:
        gc.enable()
