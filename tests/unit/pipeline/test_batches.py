"""Batches: the first item at once, the others together, and never more at a time than agreed."""

import asyncio
from collections.abc import Sequence
from typing import Any

from beat_actors.pipeline.batches import Batches

FOREVER = 3600.0


class Gate:
    """Notes what it is given to do, and does it when it is let."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.running = self.most = 0
        self.enough, self.got_all = 0, asyncio.Event()
        self.may = asyncio.Event()
        if is_open:
            self.may.set()

    async def __call__(self, items: Sequence[int]) -> None:
        self.batches.append(list(items))
        if sum(map(len, self.batches)) == self.enough:
            self.got_all.set()
        self.running += 1
        self.most = max(self.most, self.running)
        await self.may.wait()
        self.running -= 1


def batches(do: Any, *, every: float = FOREVER, enough: int = 100, most: int = 100, at_once: int = 1) -> Batches[int]:
    return Batches(do, every=every, enough=enough, most=most, at_once=at_once)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_does_not_wait_and_those_that_follow_come_together() -> None:
    gate = Gate()
    of = batches(gate)
    for item in range(4):
        of.add(item)
        await turns()
    assert gate.batches == [[0]]
    await of.done()
    assert gate.batches == [[0], [1, 2, 3]]


async def test_enough_items_do_not_wait() -> None:
    gate = Gate()
    of = batches(gate, enough=3)
    for item in range(7):
        of.add(item)
        await turns()
    assert gate.batches == [[0], [1, 2, 3], [4, 5, 6]]


async def test_what_waits_is_done_when_its_time_has_come() -> None:
    gate = Gate()
    of = batches(gate, every=0.001)
    gate.enough = 3
    for item in range(3):
        of.add(item)
    await asyncio.wait_for(gate.got_all.wait(), 60)
    assert sorted(item for batch in gate.batches for item in batch) == [0, 1, 2]


async def test_while_as_many_run_as_may_the_next_batch_grows_up_to_its_bound() -> None:
    gate = Gate(is_open=False)
    of = batches(gate, enough=1, most=4, at_once=2)
    for item in range(9):
        of.add(item)
        await turns()
    assert gate.batches == [[0], [1]]
    gate.may.set()
    await of.done()
    assert gate.batches == [[0], [1], [2, 3, 4, 5], [6, 7, 8]]
    assert gate.most == 2


async def test_a_batch_that_fails_is_reported_and_the_next_goes_on() -> None:
    done: list[int] = []

    async def do(items: Sequence[int]) -> None:
        if 0 in items:
            raise RuntimeError("out of luck")
        done.extend(items)

    of = batches(do)
    of.add(0)
    of.add(1)
    await of.done()
    assert done == [1]


async def test_done_waits_for_what_a_batch_adds() -> None:
    seen: list[int] = []

    async def do(items: Sequence[int]) -> None:
        seen.extend(items)
        await asyncio.sleep(0)
        if max(items) < 3:
            of.add(max(items) + 1)

    of = batches(do)
    of.add(0)
    await of.done()
    assert seen == [0, 1, 2, 3]
