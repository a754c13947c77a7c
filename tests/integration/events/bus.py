"""A publisher in this process over a bus of messages, events in bulk, and consumers that read all of a queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import psycopg
from pamqp.commands import Queue

from beat_actors.database import Database
from beat_actors.event_sinks import EventSink
from beat_actors.events.publisher import Publisher
from beat_actors.events.sink import Event
from beat_actors.settings import Settings
from tests.amqp_stub import Message
from tests.integration.events.world import until
from tests.observing import rows
from tests.rabbitmq import RabbitMQ

TYPE = "beat.scrape_request.processing"
WRITE = """
INSERT INTO event (event_id, type, subject, version, data)
SELECT gen_random_uuid(), %(type)s, %(name)s || '/' || s, v, '{}'
FROM generate_series(%(first)s::integer, %(last)s::integer) v, generate_series(1, %(subjects)s::integer) s ORDER BY v, s
"""
ENOUGH = 120.0
"""Seconds until a test gives up waiting for what has to happen."""
SETTLED = 5.0
"""Seconds that a new quorum queue gets before its node is killed: RabbitMQ 3.10 may leave a newer one without a leader."""


async def write_many(database: Database, subjects: int, versions: range, *, name: str = "s", type_: str = TYPE) -> None:
    """Events of so many subjects, of each these versions, in one transaction."""
    values = {"type": type_, "name": name, "first": versions.start, "last": versions.stop - 1, "subjects": subjects}
    async with database.transaction() as transaction:
        await transaction.run(WRITE, values)


def all_of(subjects: int, versions: int, *, name: str = "s") -> dict[str, list[int]]:
    """What a consumer has to see of them."""
    return {f"{name}/{subject}": list(range(1, versions + 1)) for subject in range(1, subjects + 1)}


@asynccontextmanager
async def publishing(settings: Settings, **urls: str) -> AsyncIterator[Publisher]:
    """A publisher to the sinks of these names and URLs, each from the beginning of the log."""
    sinks = {name: EventSink.model_validate({"url": url, "begin": "start"}) for name, url in urls.items()}
    database, stopped = Database(settings.model_copy(update={"event_sinks": sinks}), name="publisher"), asyncio.Event()
    publisher = Publisher(database)
    task = asyncio.create_task(publisher.run(stopped))
    try:
        await until(lambda: _enrolled(database, len(sinks)), ENOUGH)
        yield publisher
    finally:
        stopped.set()
        for relay in publisher._relays:
            relay.news.set()
        await asyncio.wait([task], timeout=20)
        task.cancel()
        await database.close()


async def _enrolled(database: Database, count: int) -> bool:
    return await rows(database, "SELECT count(*) FROM event_sink WHERE holder IS NOT NULL") == [(count,)]


def url_of(place_url: str, exchange: str) -> str:
    return f"{place_url}?exchange={exchange}"


def of_message(message: Message) -> Event:
    """The event in a message that the stub was sent."""
    properties = message.header.properties
    return event_of(properties.message_id, properties.headers, message.body)


def event_of(message_id: str | None, headers: dict[str, object] | None, body: bytes) -> Event:
    """The event in a message, read by its CloudEvents headers."""
    of = {name.removeprefix("cloudEvents_"): _text(value) for name, value in (headers or {}).items()}
    version = of.get("subjectversion")
    return Event(
        int(of["sequence"]),
        message_id or "",
        of["type"],
        of["subject"],
        int(version) if version else None,
        of.get("accountid"),
        of["time"],
        body.decode(),
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class Queues:
    """An exchange of its own on a node, and the queues that consumers have bound to it. Each call has a connection of its own: the node is killed."""

    def __init__(self, node: RabbitMQ) -> None:
        self.node, self.exchange = node, f"test.{uuid4().hex[:8]}"
        self.url = url_of(node.url(), self.exchange)

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
        connection = await aio_pika.connect(self.node.url())
        async with connection:
            yield await connection.channel()

    async def declare(self, key: str = "#", **arguments: str | int) -> str:
        """A durable quorum queue that gets the events of these keys; its name."""
        name = f"{self.exchange}.{uuid4().hex[:4]}"
        async with self.channel() as channel:
            await channel.declare_exchange(self.exchange, "topic", durable=True)
            queue = await channel.declare_queue(
                name, durable=True, arguments={"x-queue-type": "quorum", "x-overflow": "reject-publish", **arguments}
            )
            await queue.bind(self.exchange, key)
        return name

    async def bind(self, name: str, key: str = "#") -> None:
        async with self.channel() as channel:
            await (await channel.get_queue(name)).bind(self.exchange, key)

    async def unbind(self, name: str, key: str = "#") -> None:
        async with self.channel() as channel:
            await (await channel.get_queue(name)).unbind(self.exchange, key)

    async def depth(self, name: str) -> int:
        """Messages that are in the queue."""
        async with self.channel() as channel:
            found = await channel.declare_queue(name, passive=True)
            assert isinstance(found.declaration_result, Queue.DeclareOk)
            return found.declaration_result.message_count or 0

    async def read(self, name: str, count: int) -> list[Event]:
        """What is in the queue and comes to it, in its order, until so many different events were there, and a moment longer for repetitions."""
        found: list[Event] = []
        ids: set[str] = set()

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            found.append(event_of(message.message_id, dict(message.headers), message.body))
            ids.add(found[-1].id)

        async with self.channel() as channel:
            queue = await channel.get_queue(name)
            tag = await queue.consume(take, no_ack=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENOUGH):
                    while len(ids) < count:  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            await queue.cancel(tag)
        return found


def same_ids(events: Sequence[Event]) -> bool:
    """Whether all that is there twice has one id: each version of a subject has one, and each id is of one."""
    pairs = {(event.subject, event.version, event.id) for event in events}
    return len(pairs) == len({event.id for event in events}) == len({pair[:2] for pair in pairs})


async def kept(database_url: str) -> int:
    """Events that the table has."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        ((count,),) = await (await connection.execute("SELECT count(*) FROM event")).fetchall()
    return int(count)
