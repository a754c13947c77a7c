"""The sink before a real RabbitMQ, which is killed, filled and put under alarm."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue, AbstractRobustConnection
from cloudevents.core.bindings import amqp
from cloudevents.core.formats.json import JSONFormat

from beat_actors.events.sink import Event, SinkUnavailable, Trouble
from beat_actors.events.sinks.amqp import AmqpSink
from tests.rabbitmq import MOST_MEMORY, RabbitMQ

TYPE = "beat.scrape_request.complete"
ENOUGH = 60.0
"""Seconds until a test gives up waiting for what has to happen."""
SETTLED = 5.0
"""Seconds that a new quorum queue gets before its node is killed: RabbitMQ 3.10 may leave a newer one without a leader."""

pytestmark = pytest.mark.timeout(300)


def event(seq: int, event_type: str = TYPE, size: int = 20) -> Event:
    data = json.dumps({"number": seq, "name": "Zoë", "text": "x" * size}, ensure_ascii=False)
    return Event(seq, str(uuid.uuid4()), event_type, f"request/{seq}", seq, "acme", "2026-11-29T12:00:00.5Z", data)


def events(count: int, first: int = 1) -> list[Event]:
    return [event(seq) for seq in range(first, first + count)]


class Bus:
    """An exchange of its own, what consumers have declared there, and a sink that publishes to it."""

    def __init__(self, node: RabbitMQ, channel: AbstractChannel) -> None:
        self.node, self.channel = node, channel
        self.name = f"test.{uuid.uuid4().hex[:8]}"
        self.sinks: list[AmqpSink] = []

    async def sink(self, *, structured: bool = False, secure: bool = False, **options: str) -> AmqpSink:
        place = self.node.secure_place if secure else self.node.place
        one = AmqpSink(replace(place(exchange=self.name, **options), structured=structured))
        await one.open()
        self.sinks.append(one)
        return one

    async def queue(self, key: str = "#", **arguments: str | int) -> AbstractQueue:
        """Durable, on several nodes if there are any, and bound; after the exchange was declared."""
        queue = await self.channel.declare_queue(
            f"{self.name}.{uuid.uuid4().hex[:4]}", durable=True, arguments={"x-queue-type": "quorum", **arguments}
        )
        await queue.bind(self.name, key)
        return queue


@pytest.fixture
async def bus(rabbitmq: RabbitMQ) -> AsyncIterator[Bus]:
    async with connected(rabbitmq) as connection:
        found = Bus(rabbitmq, await connection.channel())
        yield found
        for one in found.sinks:
            await one.close()


@asynccontextmanager
async def connected(node: RabbitMQ) -> AsyncIterator[AbstractRobustConnection]:
    connection = await aio_pika.connect(node.url())
    try:
        yield connection
    finally:
        await connection.close()


async def taken(queue: AbstractQueue, count: int) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """This many messages, in the order of the queue."""
    found = []
    async with asyncio.timeout(ENOUGH), queue.iterator() as messages:
        async for message in messages:
            await message.ack()
            found.append(message)
            if len(found) == count:
                break
    return found


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(ENOUGH):
        while not true():  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.05)


async def refused(doing: Awaitable[object]) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as raised:
        await doing
    return raised.value


async def test_events_are_stored_once_and_in_order(bus: Bus) -> None:
    one = await bus.sink()
    queue = await bus.queue()
    sent = events(3000)
    calls = [one.publish(sent[start : start + 250]) for start in range(0, len(sent), 250)]
    assert await asyncio.gather(*calls) == [{}] * 12
    assert one.trouble() is None
    assert [message.message_id for message in await taken(queue, len(sent))] == [each.id for each in sent]


async def test_events_go_over_tls(bus: Bus) -> None:
    one = await bus.sink(secure=True)
    queue = await bus.queue()
    sent = [event(seq, size=20_000) for seq in range(1, 201)]
    assert await asyncio.gather(one.publish(sent[:100]), one.publish(sent[100:])) == [{}] * 2
    assert [message.message_id for message in await taken(queue, len(sent))] == [each.id for each in sent]


async def test_the_sdk_reads_what_was_sent(bus: Bus) -> None:
    one, whole = await bus.sink(), await bus.sink(structured=True)
    queue = await bus.queue()
    sent = event(7)
    assert [await one.publish([sent]), await whole.publish([sent])] == [{}, {}]
    for message in await taken(queue, 2):
        assert (message.message_id, message.routing_key, message.delivery_mode) == (sent.id, TYPE, 2)
        assert message.timestamp is not None
        assert message.timestamp.isoformat() == "2026-11-29T12:00:00+00:00"
        headers = {name: value for name, value in message.headers.items() if name.startswith("cloudEvents_")}
        read = amqp.from_amqp(
            amqp.AMQPMessage({"content-type": message.content_type}, headers, message.body), JSONFormat()
        )
        assert (read.get_id(), read.get_type(), read.get_subject()) == (sent.id, TYPE, "request/7")
        assert read.get_extension("sequence") == "00000000000000000007"
        data = read.get_data()
        assert (data if isinstance(data, dict) else json.loads(data))["name"] == "Zoë"


async def test_an_event_without_a_queue_is_named_and_others_go_on(bus: Bus) -> None:
    one = await bus.sink()
    everything = await bus.queue()
    alerts = await bus.queue("beat.alert.*")
    assert await one.publish([event(1), event(2, "beat.alert.opened")]) == {}
    await everything.unbind(bus.name, "#")
    mixed = [event(3), event(4, "beat.alert.opened"), event(5), event(6, "beat.alert.resolved")]
    found = await one.publish(mixed)
    assert {place: refusal.trouble for place, refusal in found.items()} == {
        0: Trouble.UNROUTABLE,
        2: Trouble.UNROUTABLE,
    }
    assert TYPE in found[0].reason
    stored = [message.message_id for message in await taken(alerts, 3)]
    assert stored[1:] == [mixed[1].id, mixed[3].id]
    await everything.bind(bus.name, "#")
    assert await one.publish([mixed[0], mixed[2]]) == {}


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_full_queue_refuses_and_nothing_is_lost(bus: Bus, kind: str) -> None:
    one = await bus.sink()
    limits = {"x-queue-type": kind, "x-max-length": 50, "x-overflow": "reject-publish"}
    queue = await bus.queue(**limits)
    sent = events(400)
    refusals = {}
    for start in range(0, 400, 50):
        found = await one.publish(sent[start : start + 50])
        refusals |= {start + place: refusal for place, refusal in found.items()}
    assert {refusal.trouble for refusal in refusals.values()} == {Trouble.NACKED}
    stored = [each.id for place, each in enumerate(sent) if place not in refusals]
    assert stored
    assert [message.message_id for message in await taken(queue, len(stored))] == stored
    async with asyncio.timeout(ENOUGH):
        while await one.publish([sent[-1]]):  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.1)


async def test_an_alarm_blocks_and_its_end_resumes(bus: Bus) -> None:
    one = await bus.sink()
    queue = await bus.queue()
    assert await one.publish([event(1)]) == {}
    bus.node.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        # RabbitMQ says so to a connection that publishes.
        call = asyncio.create_task(one.publish([event(2)]))
        await until(one.trouble)
        trouble = one.trouble()
        assert trouble is not None
        assert (trouble.trouble, "memory" in trouble.reason) == (Trouble.BLOCKED, True)
        others = [asyncio.create_task(one.publish(events(100, first))) for first in (3, 103)]
        await asyncio.sleep(1)
        assert not any(other.done() for other in others)
        assert (await queue.declare()).message_count <= 2
    finally:
        bus.node.ctl("set_vm_memory_high_watermark", "absolute", MOST_MEMORY)
    assert await asyncio.gather(call, *others) == [{}] * 3
    assert one.trouble() is None
    numbers = [json.loads(message.body)["number"] for message in await taken(queue, 202)]
    assert numbers == list(range(1, 203))


async def test_a_refused_login_says_so_without_the_password(rabbitmq: RabbitMQ) -> None:
    for place in (
        rabbitmq.place(password="not-this-one"),
        rabbitmq.place(user="nobody", password="not-this-one"),
        rabbitmq.place(vhost="no-such-vhost"),
    ):
        gone = await refused(AmqpSink(place).open())
        assert gone.trouble is Trouble.AUTH
        assert "not-this-one" not in str(gone)
        assert rabbitmq.password not in str(gone)


async def test_what_a_login_may_not_do_is_named(bus: Bus) -> None:
    owner = await bus.sink()
    await bus.queue()
    user = f"reader-{uuid.uuid4().hex[:6]}"
    bus.node.ctl("add_user", user, "a-password")
    bus.node.ctl("set_permissions", user, "^$", "^$", ".*")
    reader = AmqpSink(bus.node.place(user=user, password="a-password", exchange=bus.name))
    await reader.open()
    gone = await refused(reader.publish(events(2)))
    assert gone.trouble is Trouble.AUTH
    assert bus.name in str(gone)
    await reader.close()
    missing = AmqpSink(bus.node.place(user=user, password="a-password", exchange="missing.dx"))
    assert (await refused(missing.open())).trouble is Trouble.AUTH
    assert await owner.publish(events(2)) == {}


async def test_an_exchange_that_was_deleted_is_declared_again(bus: Bus) -> None:
    one = await bus.sink()
    await bus.queue()
    await bus.channel.exchange_delete(bus.name)
    assert (await refused(one.publish(events(2)))).trouble is Trouble.UNROUTABLE
    await one.open()
    assert {refusal.trouble for refusal in (await one.publish(events(2))).values()} == {Trouble.UNROUTABLE}
    await bus.queue()
    assert await one.publish(events(2)) == {}


async def test_an_event_over_the_servers_limit_is_invalid(bus: Bus) -> None:
    usual = bus.node.ctl("eval", "element(2, application:get_env(rabbit, max_message_size)).").strip()
    bus.node.ctl("eval", "application:set_env(rabbit, max_message_size, 50000).")
    try:
        one = await bus.sink()
        await bus.queue()
        assert (await refused(one.publish([event(1, size=50_001)]))).trouble is Trouble.INVALID
        await one.open()
        assert await one.publish([event(2, size=49_000)]) == {}
    finally:
        bus.node.ctl("eval", f"application:set_env(rabbit, max_message_size, {usual}).")


class Publisher:
    """Sends what is not confirmed yet until all is: in calls of 100, four of them in flight. Opens the sink again whenever it is gone.

    `outages`: those after which an event was confirmed."""

    def __init__(self, one: AmqpSink, sent: Sequence[Event]) -> None:
        self.one, self.sent = one, sent
        self.confirmed = 0
        self.outages = 0
        self.troubles: Counter[Trouble] = Counter()

    async def run(self) -> None:
        gone = False
        while self.confirmed < len(self.sent):
            calls = [
                asyncio.create_task(self.one.publish(self.sent[start : start + 100]))
                for start in range(self.confirmed, min(self.confirmed + 400, len(self.sent)), 100)
            ]
            for found in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(found, SinkUnavailable):
                    self.troubles[found.trouble] += 1
                    gone = True
                    break
                assert found == {}
                self.confirmed = min(self.confirmed + 100, len(self.sent))
                if gone:
                    gone = False
                    self.outages += 1
            while gone:
                try:
                    await self.one.open()
                    break
                except SinkUnavailable as error:
                    self.troubles[error.trouble] += 1
                    await asyncio.sleep(0.2)


async def test_a_frozen_broker_is_unreachable_and_nothing_is_lost(bus: Bus) -> None:
    """It keeps the connection, and sends no heartbeat."""
    one = await bus.sink(heartbeat="2")
    queue = (await bus.queue()).name
    assert await one.publish([event(1)]) == {}
    sent = events(20, first=2)
    bus.node.freeze()
    try:
        assert (await refused(one.publish(sent))).trouble is Trouble.UNREACHABLE
    finally:
        bus.node.thaw()
    await one.open()
    assert await one.publish(sent) == {}
    async with connected(bus.node) as connection:
        found = await (await connection.channel()).declare_queue(queue, passive=True)
        messages = await taken(found, (await found.declare()).message_count)
    assert [json.loads(number) for number in dict.fromkeys(message.body for message in messages)] == [
        json.loads(each.data) for each in [event(1), *sent]
    ]


async def test_a_killed_broker_loses_nothing_and_keeps_the_order(bus: Bus) -> None:
    """Killed twice; the sink is opened again and again meanwhile. Nothing is declared anew by hand."""
    one = await bus.sink()
    queue = (await bus.queue()).name
    await asyncio.sleep(SETTLED)
    sent = events(8000)
    publisher = Publisher(one, sent)
    running = asyncio.create_task(publisher.run())
    for outage, stage in enumerate((2000, 5000), 1):
        await until(lambda stage=stage: publisher.confirmed >= stage)
        bus.node.kill()
        await asyncio.to_thread(bus.node.start)
        await until(lambda outage=outage: publisher.outages == outage)
    async with asyncio.timeout(ENOUGH):
        await running
    assert publisher.troubles.keys() == {Trouble.UNREACHABLE}
    async with connected(bus.node) as connection:
        channel = await connection.channel()
        found = await channel.declare_queue(queue, passive=True)
        messages = await taken(found, (await found.declare()).message_count)
    ids = [message.message_id for message in messages]
    assert list(dict.fromkeys(ids)) == [each.id for each in sent], "nothing lost, first occurrences in order"
    assert len(ids) - len(sent) <= 2 * 400, "no more than what was in flight is there twice"
