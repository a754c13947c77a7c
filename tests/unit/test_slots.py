"""Slots: never more than there are, urgent ones first, and none is lost whoever gives up waiting."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

import pytest

from beat_actors.transport.slots import Slots


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_urgent_ones_go_first_and_each_kind_in_the_order_of_coming() -> None:
    slots, passed = Slots(1), list[str]()

    async def take(name: str) -> None:
        async with slots.one(urgent=name.startswith("urgent")):
            passed.append(name)

    async with slots.one(urgent=False):
        tasks = [asyncio.create_task(take(name)) for name in ("a", "b", "urgent c", "urgent d")]
        await settled()
        assert passed == []
    await asyncio.gather(*tasks)
    assert passed == ["urgent c", "urgent d", "a", "b"]


@pytest.mark.parametrize("when", ["it waits", "it has just been given one"])
async def test_one_that_gives_up_takes_no_slot_along(when: str) -> None:
    slots = Slots(1)
    holder = AsyncExitStack()
    await holder.enter_async_context(slots.one(urgent=False))
    waits = asyncio.create_task(AsyncExitStack().enter_async_context(slots.one(urgent=True)))
    await settled()
    if when == "it waits":
        waits.cancel()
        await settled()
        await holder.aclose()
    else:
        await holder.aclose()
        waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    async with asyncio.timeout(10), slots.one(urgent=False):
        pass


async def test_whatever_comes_and_goes_there_are_never_more_and_in_the_end_as_many() -> None:
    dice, slots, out = Random(7), Slots(3), 0

    async def take() -> None:
        nonlocal out
        async with slots.one(urgent=dice.random() < 0.3):
            out += 1
            try:
                assert out <= 3
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                out -= 1

    for _ in range(200):
        tasks = [asyncio.create_task(take()) for _ in range(dice.randrange(1, 9))]
        await asyncio.sleep(0)
        for task in tasks:
            if dice.random() < 0.3:
                await asyncio.sleep(0)
                task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one is None or isinstance(one, asyncio.CancelledError) for one in found)
        assert out == 0
    async with AsyncExitStack() as held, asyncio.timeout(10):
        for _ in range(3):
            await held.enter_async_context(slots.one(urgent=False))
