"""Ends of uploads that the database does not take harm no other."""

from collections.abc import Sequence

from beat_actors.assets.commits import End, Ended, State
from beat_actors.assets.committer import NOT_COMMITTED, Committer
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
