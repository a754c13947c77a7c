"""The budget of bytes: those that wait get theirs in order, those that grow never wait for one another in a ring."""

import asyncio
import random

import pytest

from beat_actors.assets.budget import Budget

TOTAL, LARGEST = 100, 60


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_first_is_served_first() -> None:
    budget = Budget(TOTAL)
    first = await budget.take(90)
    large, small = asyncio.create_task(budget.take(50)), asyncio.create_task(budget.take(5))
    await settled()
    assert not large.done()
    assert not small.done()
    first.give_back()
    assert ((await large).size, (await small).size) == (50, 5)
    assert budget.taken == 55


async def test_more_than_there_is_means_all() -> None:
    assert (await Budget(TOTAL).take(10 * TOTAL)).size == TOTAL


async def test_one_that_gives_up_waiting_holds_up_nobody() -> None:
    budget = Budget(TOTAL)
    first = await budget.take(90)
    large, small = asyncio.create_task(budget.take(50)), asyncio.create_task(budget.take(5))
    await settled()
    large.cancel()
    assert (await small).size == 5
    with pytest.raises(asyncio.CancelledError):
        await large
    first.give_back()
    first.give_back()
    assert budget.taken == 5


async def test_one_that_is_cancelled_as_it_is_served_gives_back() -> None:
    budget = Budget(TOTAL)
    first = await budget.take(TOTAL)
    waiting = asyncio.create_task(budget.take(50))
    await settled()
    first.give_back()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.taken == 0


async def test_one_may_grow_beyond_and_the_others_wait_for_it() -> None:
    budget = Budget(TOTAL)
    parts = [await budget.take(25) for _ in range(4)]
    await parts[0].grow(40)
    waiting = asyncio.create_task(parts[1].grow(40))
    await settled()
    assert not waiting.done()
    await parts[0].grow(LARGEST)
    parts[0].give_back()
    await waiting
    assert [part.size for part in parts] == [0, 40, 25, 25]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_all_come_to_an_end_and_all_is_given_back(seed: int) -> None:
    chance = random.Random(seed)
    budget = Budget(TOTAL)
    most = 0

    async def one() -> None:
        nonlocal most
        part = await budget.take(chance.randint(1, 20))
        try:
            while part.size < LARGEST and chance.random() < 0.8:
                await part.grow(min(part.size + chance.randint(1, 30), LARGEST))
                most = max(most, budget.taken)
                await asyncio.sleep(0)
            part.give_back(chance.randint(0, part.size))
            await asyncio.sleep(0)
        finally:
            part.give_back()

    tasks = [asyncio.create_task(one()) for _ in range(200)]
    for task in chance.sample(tasks, 40):
        for _ in range(chance.randint(0, 20)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert budget.taken == 0
    assert most <= TOTAL + LARGEST
