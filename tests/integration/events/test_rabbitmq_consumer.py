"""The consumer that docs/events.md shows, as a process that is killed again and again, with a broker that is killed once: each event has one effect."""

import asyncio
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from beat_actors.events.sink import Event, SinkUnavailable
from beat_actors.events.sinks.amqp import AmqpSink
from tests.integration.events.consumers import Consumer
from tests.rabbitmq import RabbitMQ

EXAMPLE = Path(__file__).parents[3] / "docs/examples/rabbitmq_consumer.py"
DEAD = "example.requests.dead"
REFUSED_BY_4_3 = {"x-queue-mode", "x-queue-version", "x-ha-policy", "x-max-in-memory-length", "x-max-in-memory-bytes"}
ENOUGH = 120.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def consumer(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Consumer]:
    one = Consumer(EXAMPLE, rabbitmq.url(), tmp_path / "events.sqlite")
    yield one
    one.kill()


def events(count: int) -> list[Event]:
    return [
        Event(
            seq,
            str(uuid.uuid4()),
            "beat.scrape_request.complete",
            f"request/{seq % 50}",
            1,
            None,
            "2026-11-29T12:00:00Z",
            json.dumps({"status": "complete"}),
        )
        for seq in range(1, count + 1)
    ]


async def publish(one: AmqpSink, sent: list[Event]) -> None:
    """Until each is confirmed, as the relay does: what is unknown is sent again."""
    while True:
        try:
            if not await one.publish(sent):
                return
        except SinkUnavailable:
            while True:
                try:
                    await one.open()
                    break
                except SinkUnavailable:
                    await asyncio.sleep(0.3)
        await asyncio.sleep(0.3)  # No queue yet.


async def test_each_event_has_one_effect_whatever_is_killed(rabbitmq: RabbitMQ, consumer: Consumer) -> None:
    one = AmqpSink(rabbitmq.place())
    consumer.start()
    sent = events(3000)
    await publish(one, sent[:100])
    await asyncio.sleep(5)  # RabbitMQ 3.10 may leave a quorum queue that is newer than this without a leader.

    async def keep_publishing() -> None:
        for start in range(100, 3000, 100):
            await publish(one, sent[start : start + 100])
            if start % 500 == 0:
                await publish(one, sent[start - 300 : start])  # As after a lost connection, or a replay.
            await asyncio.sleep(0.3)

    publishing = asyncio.create_task(keep_publishing())
    random.seed(1)
    done_at = []
    for number in range(6):
        await asyncio.sleep(random.uniform(1.0, 2.5))
        done_at.append(len(consumer.applied()))
        if number != 1:
            consumer.kill()
        if number in (1, 3):
            await asyncio.to_thread(rabbitmq.kill)
            await asyncio.to_thread(rabbitmq.start)
        if number != 1:
            consumer.start()
    assert 0 < done_at[0] < done_at[2] < len(sent), "it was killed at work"
    await publishing
    await one.close()
    async with asyncio.timeout(ENOUGH):
        while len(consumer.applied()) < len(sent):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    assert consumer.applied() == {event.id for event in sent}
    assert consumer.rows("SELECT event FROM effect GROUP BY event HAVING count(*) > 1") == []
    latest = {event.subject: f"{event.seq:020d}" for event in sent}
    assert dict(consumer.rows("SELECT subject, sequence FROM request")) == latest
    assert await dead_letters(rabbitmq, 0) == []


async def test_what_cannot_be_applied_becomes_a_dead_letter(rabbitmq: RabbitMQ, consumer: Consumer) -> None:
    """At once what is no event; after 20 attempts what the program cannot apply. What comes after both goes on."""
    consumer.start()
    one = AmqpSink(rabbitmq.place())
    before, hopeless, after = events(3)
    await publish(one, [before])
    connection = await aio_pika.connect(rabbitmq.url())
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("beat.dx")
        await exchange.publish(aio_pika.Message(b"no event", message_id="strange"), "beat.scrape_request.complete")
    hopeless = hopeless._replace(data='{"no": "status"}')
    await publish(one, [hopeless, after])
    await one.close()
    letters = await dead_letters(rabbitmq, 2)
    assert sorted(letters) == sorted(["strange", hopeless.id])
    async with asyncio.timeout(ENOUGH):
        while not {before.id, after.id} <= consumer.applied():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    assert hopeless.id not in consumer.applied()


async def test_everything_declared_is_durable_and_known_to_rabbitmq_4(rabbitmq: RabbitMQ, consumer: Consumer) -> None:
    consumer.start()
    one = AmqpSink(rabbitmq.place())
    await publish(one, events(1))
    await one.close()
    queues = json.loads(
        rabbitmq.ctl("list_queues", "name", "durable", "auto_delete", "exclusive", "arguments", "--formatter", "json")
    )
    exchanges = json.loads(
        rabbitmq.ctl("list_exchanges", "name", "type", "durable", "auto_delete", "--formatter", "json")
    )
    mine = [queue for queue in queues if queue["name"].startswith("example.")]
    assert {queue["name"] for queue in mine} == {"example.requests", DEAD}
    for queue in mine:
        assert (queue["durable"], queue["auto_delete"], bool(queue["exclusive"])) == (True, False, False)
        assert not REFUSED_BY_4_3 & {name for name, *_ in queue["arguments"]}
    found = {one["name"]: (one["type"], one["durable"], one["auto_delete"]) for one in exchanges}
    assert found["beat.dx"] == ("topic", True, False)
    assert found[DEAD] == ("fanout", True, False)


async def dead_letters(rabbitmq: RabbitMQ, count: int) -> list[str]:
    """The ids of this many dead letters; of those that are there, for 0."""
    connection = await aio_pika.connect(rabbitmq.url())
    async with connection, asyncio.timeout(ENOUGH):
        queue = await (await connection.channel()).get_queue(DEAD)
        found: list[str] = []
        while len(found) < count or count == 0:
            message = await queue.get(fail=False)
            if message is not None:
                await message.ack()
                found.append(message.message_id or "")
            elif count == 0:
                break
            else:
                await asyncio.sleep(0.2)
        return found
