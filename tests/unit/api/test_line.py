"""Which calls are at work, and in which order those in line follow."""

import asyncio

import pytest

from api.deadline import CALL, Deadline, at_work, ended, uncounted
from api.line import Busy, Line, Place


async def waiting(line: Line, *who: str) -> list["asyncio.Task[Place]"]:
    """A call of each of these, in line."""
    tasks = [asyncio.create_task(line.place(one)) for one in who]
    await asyncio.sleep(0)
    return tasks


async def served(tasks: "list[asyncio.Task[Place]]") -> list[int]:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return [number for number, task in enumerate(tasks) if task.done()]


async def test_a_place_is_taken_at_once_while_there_are_some() -> None:
    line = Line(2, waits=60)
    first, _ = await line.place("a"), await line.place("a")
    (third,) = await waiting(line, "a")
    assert not third.done()
    first.leave()
    first.leave()
    assert await served([third]) == [0]
    (fourth,) = await waiting(line, "a")
    assert await served([fourth]) == [], "a place that was left twice is one place"
    fourth.cancel()


async def test_the_keys_take_turns() -> None:
    line = Line(1, waits=60)
    place = await line.place("many")
    tasks = await waiting(line, "many", "many", "many", "one", "other")
    order = list[int]()
    for _ in tasks:
        place.leave()
        (now,) = set(await served(tasks)) - set(order)
        order.append(now)
        place = tasks[now].result()
    assert order == [0, 3, 4, 1, 2]


async def test_who_waits_too_long_is_refused_and_takes_no_turn() -> None:
    line = Line(1, waits=0.01)
    place = await line.place("a")
    with pytest.raises(Busy) as refused:
        await line.place("b")
    assert 1 <= refused.value.seconds <= 3
    place.leave()
    await line.place("c")


async def test_who_is_cut_off_in_line_loses_no_place() -> None:
    line = Line(1, waits=60)
    place = await line.place("a")
    gone, next_ = await waiting(line, "b", "c")
    gone.cancel()
    await asyncio.sleep(0)
    place.leave()
    assert await served([next_]) == [0]
    # The turn comes and the call is cut off in the same moment.
    (late,) = await waiting(line, "d")
    next_.result().leave()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await asyncio.wait_for(line.place("e"), 5)


async def test_a_call_that_waits_for_its_caller_is_not_at_work() -> None:
    line = Line(1, waits=60)
    deadline = Deadline(line=line, who="a")
    CALL.set(deadline)
    await at_work()
    await at_work()
    with uncounted():
        other = await line.place("b")
    (third,) = await waiting(line, "c")
    other.leave()
    assert await served([third]) == [], "the first call is back at work"
    ended()
    ended()
    assert await served([third]) == [0]
