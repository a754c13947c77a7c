"""A turn is asked for when a lane has room, once for those that have room later."""

import asyncio

from actors.wakes import WITHIN, Wakes


async def test_a_turn_is_asked_for_at_the_earliest_time_and_not_again_for_later_ones() -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()
    wakes = Wakes(asked.put)
    for seconds in (300.0, 30.0, 0.01, 20.0):
        wakes.wake("instagram", seconds)
    assert await asked.get() == "instagram"
    wakes.wake("instagram", 0.01)  # the turn that was asked for looks again
    assert await asked.get() == "instagram"
    await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


async def test_platforms_wait_by_themselves_and_long_waits_are_the_sweeps() -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()
    wakes = Wakes(asked.put)
    wakes.wake("instagram", WITHIN + 1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    wakes.wake("instagram", 0.01)
    wakes.wake("youtube", 0.02)
    assert [await asked.get(), await asked.get()] == ["instagram", "youtube"]
