"""Replays from the call of an operator to the sink."""

import pytest

from beat_actors.database import Database
from beat_actors.events import replays
from beat_actors.events.replays import NewReplay, ReplayView
from tests.integration.events.world import Recorder, relaying, until, write


async def asked(database: Database, **wanted: object) -> ReplayView:
    async with database.transaction() as transaction:
        new = NewReplay(sink="bus", **wanted)  # type: ignore[arg-type]
        return await replays.replay(transaction, new, actor="test", reason="test")


async def listed(database: Database) -> ReplayView:
    async with database.statements() as alone:
        (found,) = await replays.replays(alone)
    return found


@pytest.mark.slow
async def test_s5_10_a_replay_sends_the_events_of_a_subject_with_their_ids(database: Database) -> None:
    sink = Recorder()
    await write(database, "a", range(1, 4))
    await write(database, "b", range(1, 4))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 6)
        await asked(database, from_seq=2, subject="a")
        await until(lambda: len(sink.taken) == 8)

        async def ended() -> bool:
            return (await listed(database)).ended_at is not None

        await until(ended)
    again = sink.taken[6:]
    assert [(event.subject, event.version, event.replay) for event in again] == [("a", 2, True), ("a", 3, True)]
    assert {event.id for event in again} <= {event.id for event in sink.taken[:6]}
    view = await listed(database)
    assert (view.sent, view.error, view.eta_seconds) == (2, None, None)


@pytest.mark.slow
async def test_a_replay_that_is_cancelled_stops(database: Database) -> None:
    sink = Recorder()
    await write(database, "a", range(1, 31))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 30)
        made = await asked(database, from_seq=1, rate=1)
        await until(lambda: len(sink.taken) > 30)
        async with database.transaction() as transaction:
            await replays.cancel(transaction, made.id, actor="test", reason="enough")
        # The relay finds out when it writes down what it has sent next; then it is free for another replay.
        await asked(database, from_seq=30)
        await until(lambda: sink.taken[-1].version == 30 and sink.taken[-1].replay)
    assert len([event for event in sink.taken if event.replay]) < 10
