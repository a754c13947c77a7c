"""Ends of uploads that the database does not take harm no other."""

import asyncio
from collections.abc import Sequence

from beat_actors.assets.commits import End, Ended, State
from beat_actors.assets.committer import MOST, NOT_COMMITTED, Committer
from beat_actors.errors import StorageBrokenOff
from tests.unit.assets.test_upload import claimed


async def test_an_end_that_cannot_be_committed_fails_its_asset_alone() -> None:
    written: list[End] = []
    done: list[End] = []

    async def write(ends: Sequence[End]) -> list[Ended]:
        if any(end.failure == "bad" for end in ends):
            raise ValueError("the database does not take it")
        written.extend(ends)
        return []

    committer = Committer(write, done.extend)
    for number, failure in enumerate(["good", "bad", "good"]):
        committer.add(End(claimed(number), State.WAITING, failure=failure))
    await committer.drain()
    found = {end.asset.public_id.int: (end.state, end.failure) for end in written}
    assert found == {0: (State.WAITING, "good"), 1: (State.FAILED, NOT_COMMITTED), 2: (State.WAITING, "good")}
    assert len(done) == 3


async def test_what_the_database_does_not_take_of_a_failure_is_left_out() -> None:
    written: list[End] = []

    async def write(ends: Sequence[End]) -> list[Ended]:
        written.extend(ends)
        return []

    committer = Committer(write, lambda _ends: None)
    committer.add(End(claimed(), State.FAILED, failure="undecodable: a\0b\ud800\x1bc"))
    await committer.drain()
    assert [end.failure for end in written] == ["undecodable: a b c"]


async def test_an_end_that_cannot_be_committed_among_many_is_found_by_halves() -> None:
    writes: list[int] = []
    written: list[End] = []

    async def write(ends: Sequence[End]) -> list[Ended]:
        writes.append(len(ends))
        if any(end.failure == "bad" for end in ends):
            raise ValueError("the database does not take it")
        written.extend(ends)
        return []

    committer = Committer(write, lambda _ends: None)
    for number in range(MOST):
        committer.add(End(claimed(number), State.WAITING, failure="bad" if number == 77 else "good"))
    await committer.drain()
    assert len(written) == MOST
    assert [end.asset.public_id.int for end in written if end.state is State.FAILED] == [77]
    assert len(writes) < 20


async def test_ends_that_take_the_database_too_long_together_are_committed_in_smaller_parts() -> None:
    written: list[End] = []

    async def write(ends: Sequence[End]) -> list[Ended]:
        if len(ends) > 30:
            raise StorageBrokenOff("its time limit")
        written.extend(ends)
        return []

    committer = Committer(write, lambda _ends: None)
    for number in range(MOST):
        committer.add(End(claimed(number), State.COMPLETE))
    await committer.drain()
    assert sorted(end.asset.public_id.int for end in written) == list(range(MOST))


async def test_an_end_waits_for_no_others_where_none_can_come() -> None:
    writes: list[int] = []

    async def write(ends: Sequence[End]) -> list[Ended]:
        writes.append(len(ends))
        return []

    committer = Committer(write, lambda _ends: None, most=lambda: 1)
    committer.add(End(claimed(), State.COMPLETE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writes == [1]


async def test_an_end_for_which_a_reader_waits_shortens_the_wait_of_those_before_it() -> None:
    committer = Committer(nothing_written, lambda _ends: None)
    loop = asyncio.get_running_loop()
    committer.add(End(claimed(1), State.COMPLETE))
    late = committer._due.at
    committer.add(End(claimed(2)._replace(wanted=True), State.COMPLETE))
    assert loop.time() < committer._due.at < late
    committer.add(End(claimed(3), State.COMPLETE))
    assert committer._due.at < late
    await committer.drain()


async def nothing_written(ends: Sequence[End]) -> list[Ended]:
    return []
