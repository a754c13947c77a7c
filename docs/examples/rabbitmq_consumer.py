"""A consumer of Beat's events on RabbitMQ 3.10 to 4.3 that applies each event once, whatever is killed and whenever.

    python rabbitmq_consumer.py amqp://USER:PASSWORD@HOST/VHOST events.sqlite

Beat delivers each event at least once. After a lost connection an event may come again, with the same id. So the effect of an event and its id are
written in one transaction, and only then is the message acknowledged. An event whose id is known has been applied, and is only acknowledged.

Run it under a supervisor, such as systemd, that starts it again. Several may run: one works, and the next takes over when it ends.

Replace `effect` by what your program does, in the same database. An effect elsewhere, such as a call of another service, needs that service to take
the event's id as an idempotency key.

Needs `aio-pika` (10.2 or newer).
"""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

EXCHANGE = "beat.dx"
QUEUE = "example.requests"
KEYS = ("beat.scrape_request.*",)
"""The routing key of an event is its type. `#` is all events."""
DEAD = "example.requests.dead"
"""The exchange and the queue of messages that this consumer could not apply."""

ARGUMENTS: Mapping[str, str | int | bool] = {
    # Replicated, and on disk before it is confirmed. RabbitMQ 4 has no other replicated queues.
    "x-queue-type": "quorum",
    # One consumer at a time gets messages, the next one takes over when it ends. Without this, several consumers share the queue and the order is lost.
    "x-single-active-consumer": True,
    # After 20 deliveries a message is dead. Without an exchange for dead letters RabbitMQ drops it then.
    "x-delivery-limit": 20,
    "x-dead-letter-exchange": DEAD,
    # A dead letter leaves this queue when the other queue has stored it. Without reject-publish RabbitMQ silently does less.
    "x-dead-letter-strategy": "at-least-once",
    # A full queue refuses. Beat then keeps the event, tries again, and opens an alert. Choose what your broker can hold.
    "x-overflow": "reject-publish",
    "x-max-length-bytes": 1 << 30,
}
PREFETCH = 100
"""Messages that may be on their way to this consumer. When it crashes, each of them counts as delivered once more."""

TABLES = """
-- Ids of events that may come again. An operator may replay events of any age, so none is deleted here.
CREATE TABLE IF NOT EXISTS applied (id TEXT PRIMARY KEY) WITHOUT ROWID;
-- The state of each request, by its latest event.
CREATE TABLE IF NOT EXISTS request (subject TEXT PRIMARY KEY, sequence TEXT NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
-- What this example does with an event: one row for each.
CREATE TABLE IF NOT EXISTS effect (number INTEGER PRIMARY KEY, event TEXT NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL);
"""


class Malformed(Exception):
    """The message is no event. It will never be one."""


@dataclass(frozen=True)
class Event:
    """`sequence`: 20 digits, so that it compares as text. Later events of one source have higher ones."""

    id: str
    type: str
    subject: str
    sequence: str
    data: Mapping[str, object]


def event_of(message: AbstractIncomingMessage) -> Event:
    """A CloudEvent in either mode. Raises `Malformed`."""
    try:
        if message.content_type == "application/cloudevents+json":
            found = json.loads(message.body)
            data = found["data"]
        else:
            found = {name.removeprefix("cloudEvents_"): value for name, value in message.headers.items()}
            # Data that are too large are not in the message: read them at `dataref` of Beat's API.
            data = json.loads(message.body) if message.body else {}
        return Event(*(str(found[name]) for name in ("id", "type", "subject", "sequence")), data)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Malformed(str(error)) from error


def effect(store: sqlite3.Connection, event: Event) -> None:
    """What this consumer is for. Raises if the event cannot be applied."""
    status = event.data["status"]
    store.execute("INSERT INTO effect (event, type, subject) VALUES (?, ?, ?)", (event.id, event.type, event.subject))
    # An event that was refused for a while may come after a later one of its subject. The state by the later one stays.
    store.execute(
        "INSERT INTO request VALUES (?, ?, ?) ON CONFLICT (subject) DO UPDATE SET sequence = excluded.sequence, status = excluded.status "
        "WHERE request.sequence < excluded.sequence",
        (event.subject, event.sequence, status),
    )


def apply(store: sqlite3.Connection, event: Event) -> None:
    """The effect of an event and its id, both or neither; nothing for an event that was applied before."""
    store.execute("BEGIN IMMEDIATE")
    try:
        if store.execute("INSERT OR IGNORE INTO applied VALUES (?)", (event.id,)).rowcount:
            effect(store, event)
        store.execute("COMMIT")
    except BaseException:
        store.execute("ROLLBACK")
        raise


async def handle(store: sqlite3.Connection, message: AbstractIncomingMessage) -> None:
    """Apply a message and answer for it. The answer is the last step: a crash before it brings the message again."""
    try:
        apply(store, event_of(message))
    except Malformed:
        # No later attempt helps: to the dead letters at once.
        await message.reject(requeue=False)
    except sqlite3.OperationalError:
        # This consumer cannot work at the moment, whatever the message: nack. RabbitMQ 4.3 does not count that as an attempt. Wait first.
        await asyncio.sleep(1.0)
        await message.nack(requeue=True)
    except Exception as error:  # noqa: BLE001 - whatever `effect` raises
        # This event cannot be applied now: reject, which every version counts. After 20 attempts it is a dead letter.
        print(f"not applied: {type(error).__name__}", file=sys.stderr)
        await asyncio.sleep(0.05)
        await message.reject(requeue=True)
    else:
        await message.ack()


async def declare(channel: AbstractChannel) -> AbstractQueue:
    """Everything durable: RabbitMQ 4.3 refuses anything else. Beat declares the same exchange when it connects."""
    dead = await channel.declare_exchange(DEAD, aio_pika.ExchangeType.FANOUT, durable=True)
    letters = await channel.declare_queue(DEAD, durable=True, arguments={"x-queue-type": "quorum"})
    await letters.bind(dead)
    exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue(QUEUE, durable=True, arguments=dict(ARGUMENTS))
    for key in KEYS:
        await queue.bind(exchange, key)
    return queue


async def consume(url: str, store: sqlite3.Connection) -> None:
    """Until the connection is lost. The messages are applied one after the other, in their order."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)  # For each consumer: `global` is refused by RabbitMQ 4.3.
        queue = await declare(channel)
        async with queue.iterator() as messages:
            async for message in messages:
                await handle(store, message)


async def main(url: str, path: str) -> None:
    store = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    store.execute("PRAGMA journal_mode = WAL")
    store.executescript(TABLES)
    while True:
        try:
            await consume(url, store)
        except (AMQPError, ChannelInvalidStateError, OSError) as error:
            print(f"connecting again: {type(error).__name__}", file=sys.stderr)
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
