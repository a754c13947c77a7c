"""What the relay promises, with a sink in memory that does what each test says."""

import asyncio
from collections.abc import Mapping, Sequence

import psycopg
import pytest

from beat_actors.database import Composed
from beat_actors.events.positions import Wanted
from beat_actors.events.sink import Event, Refusal, SinkUnavailable, Trouble
from beat_actors.events.window import Window
from tests.integration.events.world import (
    Recorder,
    Running,
    enroll,
    first_occurrences,
    race,
    relaying,
    sink_row,
    until,
    write,
)

PARKED = Composed(
    "tests/parked",
    "SELECT seq, subject, trouble, behind, tries FROM event_parked ORDER BY seq",
    tuple,
)
UNREACHABLE = SinkUnavailable(Trouble.UNREACHABLE, "no connection")


async def parked(url: str) -> list[tuple[int, str, str, bool, int]]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute(PARKED.text)).fetchall()


@pytest.mark.parametrize("in_order", [False, True])
async def test_events_arrive_in_order_and_the_place_follows(database, in_order: bool) -> None:
    sink = Recorder(in_order=in_order)
    await write(database, "a", range(1, 4))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 3)
        await write(database, "b", range(1, 3))
        await running.news()
        await until(lambda: len(sink.taken) == 5)
    assert (sink.of("a"), sink.of("b")) == ([1, 2, 3], [1, 2])
    row = await sink_row(database)
    assert (row.seq, row.sent, row.trouble, row.holder) == (5, 5, None, None)
    assert sink.opened == [0]


async def test_a_new_sink_begins_at_the_end_or_at_the_beginning(database) -> None:
    await write(database, "a", range(1, 4))
    sink = Recorder()
    async with relaying(database, Recorder(), name="first") as running:
        await running.news()
    await enroll(database, "late", whole=False)
    async with relaying(database, sink, name="late") as running:
        await running.news()
        await write(database, "b", range(1, 2))
        await running.news()
        await until(lambda: sink.taken)
    assert [event.subject for event in sink.taken] == ["b"]


async def test_a_sink_gets_the_types_and_accounts_that_it_wants_and_its_place_passes_the_others(database) -> None:
    sink = Recorder()
    wanted = Wanted(types=["beat.alert.*", "beat.batch.ended"])
    await write(database, "a", range(1, 3))
    await write(database, "b", range(1, 2), type_="beat.batch.ended")
    await write(database, "c", range(1, 2), type_="beat.alert.opened")
    await write(database, "d", range(1, 2), type_="beat.batch.endedx")
    async with relaying(database, sink, wanted=wanted) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 2)
        await until(lambda: _seq(database, 5))
    assert [event.subject for event in sink.taken] == ["b", "c"]


async def _seq(database, seq: int, running: Running | None = None) -> bool:
    if running is not None:
        await running.news()
    return (await sink_row(database)).seq == seq


@pytest.mark.parametrize("in_order", [False, True])
async def test_s5_8_a_sink_that_is_down_loses_nothing_and_is_tried_again_by_itself(database, in_order: bool) -> None:
    sink = Recorder(in_order=in_order, down=UNREACHABLE)
    await write(database, "a", range(1, 30))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _trouble(database, "unreachable"))
        sink.down = None
        await until(lambda: len(sink.taken) == 29)
        await until(lambda: _trouble(database, None))
        sink.down = SinkUnavailable(Trouble.NO_CONFIRM, "no confirm")
        await write(database, "a", range(30, 40))
        await running.news()
        await until(lambda: _trouble(database, "no_confirm"))
        sink.down = None
        await until(lambda: len(sink.taken) >= 39)
    assert first_occurrences(sink.taken) == {"a": list(range(1, 40))}


async def _trouble(database, trouble: str | None) -> bool:
    return (await sink_row(database)).trouble == trouble


async def test_a_sink_stands_since_its_first_trouble_whatever_the_trouble_is_now(database) -> None:
    """A server that hangs does not confirm, and then cannot be reached: for an alert both are one."""
    sink = Recorder(down=SinkUnavailable(Trouble.NO_CONFIRM, "no confirm"))
    await write(database, "a", range(1, 2))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _trouble(database, "no_confirm"))
        first = (await sink_row(database)).since
        sink.down = UNREACHABLE
        await until(lambda: _trouble(database, "unreachable"))
        assert first is not None
        assert (await sink_row(database)).since == first
        sink.down = None
        await until(lambda: _trouble(database, None))
    assert (await sink_row(database)).since is None


@pytest.mark.slow
async def test_an_event_that_is_refused_alone_is_set_aside_and_holds_up_its_subject_alone(
    database, database_url
) -> None:
    broken = {"on": True}

    def refuses(event: Event) -> Refusal | None:
        return Refusal(Trouble.UNROUTABLE, "no queue is bound") if broken["on"] and event.subject == "a" else None

    sink = Recorder(refuses=refuses)
    await write(database, "a", range(1, 4))
    await write(database, "b", range(1, 4))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 3)
        await until(lambda: _seq(database, 6))
        assert [row[1:4] for row in await parked(database_url)] == [
            ("a", "unroutable", False),
            ("a", "invalid", True),
            ("a", "invalid", True),
        ]
        await write(database, "a", range(4, 5))
        await running.news()
        await until(lambda: _seq(database, 7))
        assert len(await parked(database_url)) == 4
        broken["on"] = False
        await until(lambda: len(sink.taken) == 7)
        await until(lambda: _none_parked(database_url))
        await write(database, "a", range(5, 6))
        await running.news()
        await until(lambda: len(sink.taken) == 8)
    assert first_occurrences(sink.taken) == {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3]}
    row = await sink_row(database)
    assert (row.parked, row.returned >= 3) == (4, True)


async def _none_parked(url: str) -> bool:
    return not await parked(url)


def test_an_event_is_behind_one_that_is_set_aside_and_not_stored_yet() -> None:
    """The table does not say so of what was read meanwhile."""
    window = Window(0, in_order=False, waits=True)
    first, later, other = (
        Event(seq, str(seq), "beat.batch.ended", subject, seq, None, "2026-11-29T12:00:00Z", "{}")
        for seq, subject in ((1, "a"), (2, "a"), (3, "b"))
    )
    window.read([(first, False)], 1)
    (entry,) = window.take(10)
    window.refused(entry, Refusal(Trouble.INVALID, "too large"), 0.0)
    window.read([(later, False), (other, False)], 3)
    assert [entry.event for entry in window.take(10)] == [other]
    assert [(one.entry.event, one.behind) for one in window.parking()] == [(first, False), (later, True)]


@pytest.mark.slow
async def test_what_is_set_aside_behind_an_event_that_is_just_taken_is_tried(database, database_url) -> None:
    """The later ones are read while the first ones of their subjects are parked, and stored as parked when those are gone."""
    subjects = [f"subject {number}" for number in range(20)]
    broken = {"on": True}

    class Late(Recorder):
        async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
            if not broken["on"] and {event.version for event in events} == {1} and events[0].subject in subjects:
                await write(database, "another", range(1, 2))
                await until(lambda: _seq(database, len(subjects) + 1, running))  # the place was written just now
                for subject in subjects:
                    await write(database, subject, range(2, 3))
                await running.news()
                await asyncio.sleep(0.1)
            return await super().publish(events)

    sink = Late(refuses=lambda event: Refusal(Trouble.INVALID, "too large") if broken["on"] else None)
    for subject in subjects:
        await write(database, subject, range(1, 2))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _seq(database, len(subjects)))
        broken["on"] = False
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
            await admin.execute("UPDATE event_parked SET next_at = clock_timestamp()")
        await until(lambda: len(sink.taken) == 2 * len(subjects) + 1)
        await until(lambda: _none_parked(database_url))
    assert all(sink.of(subject) == [1, 2] for subject in subjects)


@pytest.mark.parametrize(("order", "arrive"), [("follow", [2, 3]), ("wait", [])])
async def test_a_poison_event_is_parked_with_its_reason_and_later_ones_wait_or_follow(
    database, database_url, order: str, arrive: list[int]
) -> None:
    sink = Recorder(
        refuses=lambda event: (
            Refusal(Trouble.INVALID, "too large") if (event.subject, event.version) == ("a", 1) else None
        )
    )
    await write(database, "a", range(1, 4))
    await write(database, "b", range(1, 2))
    async with relaying(database, sink, wanted=Wanted(waits=order == "wait")) as running:
        await running.news()
        await until(lambda: _seq(database, 4))
        await until(lambda: len(sink.of("a")) == len(arrive))
    assert (sink.of("a"), sink.of("b")) == (arrive, [1])
    assert (await parked(database_url))[0][1:4] == ("a", "invalid", False)


async def test_s5_7_an_exception_for_one_event_is_found_by_halving_and_harms_no_other(database, database_url) -> None:
    sink = Recorder(
        raises=lambda event: RuntimeError("cannot be built") if event.subject == "subject 77" else None, in_order=False
    )
    for number in range(200):
        await write(database, f"subject {number}", range(1, 2))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _seq(database, 200))
    assert {event.subject for event in sink.taken} == {f"subject {number}" for number in range(200) if number != 77}
    ((_, subject, trouble, _, _),) = await parked(database_url)
    assert (subject, trouble) == ("subject 77", "invalid")


@pytest.mark.slow
async def test_a_sink_that_refuses_everything_stands_and_sets_nothing_aside(database, database_url) -> None:
    full = {"on": True}
    sink = Recorder(refuses=lambda _event: Refusal(Trouble.NACKED, "the queue is full") if full["on"] else None)
    for number in range(40):
        await write(database, f"subject {number}", range(1, 2))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _trouble(database, "nacked"))
        await asyncio.sleep(1.0)
        assert set(sink.batches[1:]) == {1}, "it is probed with one event"
        assert await parked(database_url) == []
        full["on"] = False
        await until(lambda: len(sink.taken) == 40)
        await until(lambda: _trouble(database, None))


async def test_while_a_sink_holds_its_confirms_nothing_is_sent_twice_and_the_place_stays(database) -> None:
    sink = Recorder(holds=asyncio.Event())
    await write(database, "a", range(1, 4))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _trouble(database, "no_confirm"))
        assert ((await sink_row(database)).seq, sum(sink.batches)) == (0, 1)
        held, sink.holds = sink.holds, None
        assert held is not None
        held.set()
        await until(lambda: len(sink.taken) == 3)
    assert sink.of("a") == [1, 2, 3]


async def test_one_relay_works_at_a_time_and_another_takes_over(database, database_url) -> None:
    """The first is taken for dead while it is in the middle: what it still sends is a repetition, and it moves no place."""
    first, second = Recorder(holds=asyncio.Event()), Recorder()
    await write(database, "a", range(1, 4))
    async with relaying(database, first, holder="first") as one:
        await one.news()
        await until(lambda: sum(first.batches))
        async with relaying(database, second, holder="second") as two:
            await two.news()
            await asyncio.sleep(0.3)
            assert second.taken == []
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
                await admin.execute("UPDATE event_sink SET lease_until = clock_timestamp()")
            await until(lambda: len(second.taken) == 3)
            assert first.holds is not None
            first.holds.set()
            await until(lambda: _seq(database, 3))
            await asyncio.sleep(0.5)
            assert (await sink_row(database)).holder == "second"
    assert first_occurrences(second.taken + first.taken) == {"a": [1, 2, 3]}


@pytest.mark.slow
async def test_a_replay_sends_the_same_ids_marked_beside_what_is_new(database, database_url) -> None:
    sink = Recorder()
    await write(database, "a", range(1, 6))
    await write(database, "b", range(1, 3), type_="beat.batch.ended")
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 7)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
            await admin.execute(
                "INSERT INTO event_replay (sink, from_seq, to_seq, types, subject, rate, position, reason) "
                "VALUES ('bus', 2, 7, '{beat.scrape_request.*}', NULL, 1000, 1, 'test')"
            )
        await until(lambda: len(sink.taken) == 11)
        await until(lambda: _replayed(database_url))
    again = [event for event in sink.taken if event.replay]
    assert [(event.subject, event.version) for event in again] == [("a", 2), ("a", 3), ("a", 4), ("a", 5)]
    assert {event.id for event in again} <= {event.id for event in sink.taken if not event.replay}


async def _replayed(url: str) -> bool:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (await connection.execute("SELECT sent FROM event_replay WHERE ended_at IS NOT NULL")).fetchall()
    return rows == [(4,)]


@pytest.mark.parametrize("each", [60, pytest.param(4500, marks=pytest.mark.exhaustive)])
@pytest.mark.timeout(900)
async def test_two_relays_that_are_killed_lose_nothing_and_keep_the_order(database, database_url, each: int) -> None:
    """12 writers that race, two relays, each of which is cut off once, a sink that refuses a part."""
    refused: set[str] = set()

    def refuses(event: Event) -> Refusal | None:
        if event.seq % 97 == 0 and event.id not in refused:
            refused.add(event.id)
            return Refusal(Trouble.NACKED, "full for a moment")
        return None

    taken: list[Event] = []
    sinks = [Recorder(refuses=refuses, taken=taken) for _ in range(2)]

    async def news() -> None:
        while True:
            for running in (one, two):
                await running.news()
            await asyncio.sleep(0.01)

    async with (
        relaying(database, sinks[0], holder="first") as one,
        relaying(database, sinks[1], holder="second") as two,
    ):
        telling = asyncio.create_task(news())
        writing = asyncio.create_task(race(database_url, writers=12, each=each, subjects=20, seed=each))
        for running in (one, two):
            await asyncio.sleep(0.5)
            running.task.cancel()
            await asyncio.wait([running.task])
            running.task = asyncio.create_task(running.relay.run(asyncio.Event()))
        await writing
        last = await one.news()
        await until(lambda: _seq(database, last), 600)
        telling.cancel()
        await until(lambda: _none_parked(database_url), 60)
        for running in (one, two):
            running.task.cancel()
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        counted = dict(
            await (await connection.execute("SELECT 'subject/' || id, n FROM counted WHERE n > 0")).fetchall()
        )
    assert first_occurrences(taken) == {subject: list(range(1, n + 1)) for subject, n in counted.items()}


async def test_a_server_that_lost_what_it_had_confirmed_gets_it_again(database) -> None:
    """It says how far it still has everything; the same events come again with the same ids."""
    sink = Recorder(in_order=True)
    await write(database, "a", range(1, 21))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 20)
        await until(lambda: _seq(database, 20))
        lost = [event.id for event in sink.taken[12:]]
        del sink.taken[12:]
        sink.down = SinkUnavailable(Trouble.LOST, "it lost its last writes", stored=12)
        await write(database, "a", range(21, 23))
        await running.news()
        await until(lambda: _trouble(database, "lost"))
        sink.down = None
        await until(lambda: len(sink.taken) == 22)
        await until(lambda: _seq(database, 22))
    assert sink.of("a") == list(range(1, 23))
    assert [event.id for event in sink.taken[12:20]] == lost


async def test_the_sink_is_told_what_it_has_stored_and_not_what_it_did_not_want(database) -> None:
    sink, wanted = Recorder(), Wanted(types=["beat.alert.*"])
    await write(database, "a", range(1, 3), type_="beat.alert.opened")
    await write(database, "b", range(1, 6))
    async with relaying(database, sink, wanted=wanted) as running:
        await running.news()
        await until(lambda: _seq(database, 7))
    async with relaying(database, sink, wanted=wanted):
        await until(lambda: len(sink.opened) == 2)
    assert sink.opened == [0, 2]


@pytest.mark.slow
async def test_types_that_no_queue_is_bound_for_hold_up_no_other(database, database_url) -> None:
    """Whole batches of one type are refused. Others go on, and what was refused arrives once a queue is bound."""
    bound = {"on": False}

    def refuses(event: Event) -> Refusal | None:
        return (
            Refusal(Trouble.UNROUTABLE, "no queue") if event.type == "beat.alert.opened" and not bound["on"] else None
        )

    sink = Recorder(refuses=refuses)
    for number in range(30):
        await write(database, f"alert {number}", range(1, 3), type_="beat.alert.opened")
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _trouble(database, "unroutable"))
        for number in range(30):
            await write(database, f"request {number}", range(1, 3))
        await running.news()
        await until(lambda: len(sink.taken) == 60)
        await until(lambda: _seq(database, 120))
        assert len(await parked(database_url)) == 60
        bound["on"] = True
        await until(lambda: len(sink.taken) == 120)
        await until(lambda: _none_parked(database_url))
    assert set(map(tuple, first_occurrences(sink.taken).values())) == {(1, 2)}


@pytest.mark.slow
async def test_a_replay_goes_on_behind_what_was_refused_for_a_while(database, database_url) -> None:
    full = {"on": False}
    sink = Recorder(
        refuses=lambda event: (
            Refusal(Trouble.NACKED, "full") if full["on"] and event.replay and event.version == 3 else None
        )
    )
    await write(database, "a", range(1, 6))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: len(sink.taken) == 5)
        full["on"] = True
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
            await admin.execute(
                "INSERT INTO event_replay (sink, from_seq, to_seq, types, rate, position, reason) VALUES ('bus', 1, 5, '{*}', 1000, 0, 'test')"
            )
        await until(lambda: len(sink.taken) >= 7)
        full["on"] = False
        await until(lambda: [event.version for event in sink.taken[5:]][-1] == 5)
    assert [event.version for event in sink.taken[5:]] == [1, 2, 3, 4, 5]


@pytest.mark.slow
async def test_a_poison_event_among_those_that_are_tried_again_spoils_no_other(database, database_url) -> None:
    bound = {"on": False}

    def refuses(event: Event) -> Refusal | None:
        return Refusal(Trouble.UNROUTABLE, "no queue") if event.subject.startswith("a") and not bound["on"] else None

    sink = Recorder(
        refuses=refuses, raises=lambda event: RuntimeError("bad") if bound["on"] and event.subject == "a3" else None
    )
    for number in range(5):
        await write(database, f"a{number}", range(1, 2))
    await write(database, "b", range(1, 2))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _seq(database, 6))
        bound["on"] = True
        await until(lambda: len({event.id for event in sink.taken}) == 5)
        await until(lambda: _parked_as(database_url, [("a3", "invalid")]))


async def _parked_as(url: str, wanted: list[tuple[str, str]]) -> bool:
    return [(row[1], row[2]) for row in await parked(url)] == wanted


async def test_a_sink_that_keeps_the_order_gets_nothing_behind_a_poison_event_that_waits(database) -> None:
    sink = Recorder(
        in_order=True,
        refuses=lambda event: Refusal(Trouble.INVALID, "bad") if (event.subject, event.version) == ("a", 1) else None,
    )
    await write(database, "a", range(1, 2))
    async with relaying(database, sink) as running:
        await running.news()
        await until(lambda: _seq(database, 1))
        await write(database, "a", range(2, 4))
        await write(database, "b", range(1, 2))
        await running.news()
        await until(lambda: _seq(database, 4))
    assert (sink.of("a"), sink.of("b")) == ([], [1])
