"""The publisher over a real RabbitMQ that is killed, blocked, full or without a binding: nothing is lost, and the order of each subject stays."""

import asyncio

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.events.relay import WINDOW
from beat_actors.settings import Settings
from tests.integration.events.bus import (
    ENOUGH,
    SETTLED,
    Queues,
    all_of,
    publishing,
    same_ids,
    write_many,
)
from tests.integration.events.world import first_occurrences, sink_row, until
from tests.rabbitmq import MOST_MEMORY, RabbitMQ

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def queues(rabbitmq: RabbitMQ) -> Queues:
    return Queues(rabbitmq)


async def standing(database: Database, trouble: str | None) -> bool:
    return (await sink_row(database)).trouble == trouble


async def sent(database: Database, more_than: int) -> bool:
    return (await sink_row(database)).sent > more_than


async def parked(url: str) -> list[tuple[str, bool]]:
    """(trouble, behind) of each event that is set aside."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute("SELECT trouble, behind FROM event_parked ORDER BY seq")).fetchall()


async def nothing_parked(url: str) -> bool:
    return not await parked(url)


@pytest.mark.parametrize(("subjects", "versions"), [(200, 30), pytest.param(1000, 102, marks=pytest.mark.exhaustive)])
async def test_s5_1_and_s5_8_and_s5_11_and_s5_12_a_bus_that_is_killed_twice_loses_nothing(
    rabbitmq: RabbitMQ, queues: Queues, settings: Settings, database: Database, subjects: int, versions: int
) -> None:
    """Events are written all the time. The publisher, which is never restarted, says that the bus is away, and publishes again when it is back."""
    queue = await queues.declare()
    await asyncio.sleep(SETTLED)
    async with publishing(settings, bus=queues.url):
        part = versions // 3
        await write_many(database, subjects, range(1, part + 1))
        for outage in (1, 2):
            begin = outage * part + 1
            await until(lambda: sent(database, 0), ENOUGH)
            await write_many(database, subjects, range(begin, begin + part // 2))
            await asyncio.sleep(0.05)  # some of them are on their way
            rabbitmq.kill()
            await until(lambda: standing(database, "unreachable"), ENOUGH)
            before = (await sink_row(database)).sent
            await write_many(database, subjects, range(begin + part // 2, begin + part))
            assert (await sink_row(database)).sent == before
            await asyncio.to_thread(rabbitmq.start)
            await until(lambda before=before: sent(database, before), ENOUGH)
            await until(lambda: standing(database, None), ENOUGH)
        events = await queues.read(queue, subjects * part * 3)
    assert first_occurrences(events) == all_of(subjects, part * 3), "none lost, and in order"
    assert same_ids(events)
    assert len(events) - subjects * part * 3 <= 2 * WINDOW, "repeated is only what was on its way"


async def test_s5_1_and_s5_2_while_the_bus_is_blocked_nothing_is_sent(
    rabbitmq: RabbitMQ, queues: Queues, settings: Settings, database: Database
) -> None:
    queue = await queues.declare()
    async with publishing(settings, bus=queues.url):
        await write_many(database, 100, range(1, 2))
        await until(lambda: sent(database, 99), ENOUGH)
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            # RabbitMQ says so to a connection that publishes.
            await write_many(database, 1, range(2, 3))
            await until(lambda: standing(database, "blocked"), ENOUGH)
            row = await sink_row(database)
            assert "memory" in (row.reason or "")
            await write_many(database, 100, range(3, 5))
            await asyncio.sleep(2)
            assert await queues.depth(queue) <= 101
            row = await sink_row(database)
            assert (row.trouble, row.seq <= 101, row.parked) == ("blocked", True, 0)
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", MOST_MEMORY)
        await until(lambda: standing(database, None), ENOUGH)
        events = await queues.read(queue, 301)
    assert len(events) == 301, "nothing was sent twice"
    expected = all_of(100, 4)
    for subject in range(2, 101):
        expected[f"s/{subject}"].remove(2)
    assert first_occurrences(events) == expected


async def test_s5_2_and_s5_8_events_without_a_queue_are_counted_and_wait_for_one(
    queues: Queues, settings: Settings, database: Database, database_url: str
) -> None:
    """Where no event has a queue, the sink stands; a few are set aside, with what follows in their subjects."""
    queue = await queues.declare()
    other = await queues.declare("beat.batch.*")
    async with publishing(settings, bus=queues.url):
        await write_many(database, 100, range(1, 2))
        await until(lambda: sent(database, 99), ENOUGH)
        await queues.unbind(queue)
        await write_many(database, 100, range(2, 4))
        await until(lambda: standing(database, "unroutable"), ENOUGH)
        row = await sink_row(database)
        assert (row.seq, row.sent, row.parked, row.returned >= 100) == (100, 100, 0, True)
        assert "beat.scrape_request.processing" in (row.reason or "")
        await queues.bind(queue)
        await until(lambda: standing(database, None), ENOUGH)
        await until(lambda: sent(database, 299), ENOUGH)
        await queues.unbind(queue)
        # Three subjects have no queue, while others have.
        await write_many(database, 3, range(4, 6))
        for version in range(1, 31):
            await write_many(database, 1, range(version, version + 1), name="batch", type_="beat.batch.ended")
            await asyncio.sleep(0.1)
        await until(lambda: _several_parked(database_url, 6), ENOUGH)
        assert set(await parked(database_url)) == {("unroutable", False), ("invalid", True)}
        await until(lambda: _passed(database, 336), ENOUGH)
        assert await standing(database, None)
        await queues.bind(queue)
        events = await queues.read(queue, 306)
        await until(lambda: nothing_parked(database_url), ENOUGH)
        assert (await sink_row(database)).parked == 6
    mine = [event for event in events if event.subject.startswith("s/")]
    expected = all_of(100, 3)
    for subject in range(1, 4):
        expected[f"s/{subject}"] += [4, 5]
    assert first_occurrences(mine) == expected
    assert same_ids(mine)
    batches = [event for event in await queues.read(other, 30) if event.subject == "batch/1"]
    assert first_occurrences(batches) == {"batch/1": list(range(1, 31))}


async def _several_parked(url: str, count: int) -> bool:
    return len(await parked(url)) == count


async def _passed(database: Database, seq: int) -> bool:
    return (await sink_row(database)).seq >= seq


async def test_s5_2_and_s5_8_what_a_full_queue_refuses_is_counted_and_arrives_when_it_is_read(
    queues: Queues, settings: Settings, database: Database, database_url: str
) -> None:
    queue = await queues.declare(**{"x-max-length": 200})
    async with publishing(settings, bus=queues.url):
        await write_many(database, 100, range(1, 5))
        await until(lambda: _refused(database), ENOUGH)
        await until(lambda: standing(database, "nacked"), ENOUGH)
        assert 200 <= await queues.depth(queue) < 400
        events = await queues.read(queue, 400)
        await until(lambda: nothing_parked(database_url), ENOUGH)
        await until(lambda: _passed(database, 400), ENOUGH)
        await until(lambda: standing(database, None), ENOUGH)
    assert first_occurrences(events) == all_of(100, 4)
    assert same_ids(events)


async def _refused(database: Database) -> bool:
    return (await sink_row(database)).nacked > 0
