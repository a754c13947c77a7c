"""What the log of events and the relay cost: `make events`.

For each sink: a plain loop publishes events that are made in memory with the sink's own client, and the relay publishes as many from the log; the ratio
of their rates, and the CPU of each event. Then the time from commit to confirm at a steady rate, and what an idle publisher uses. RabbitMQ is measured
where BEAT_TEST_RABBITMQ names its `rabbitmq-server`; its queue is a quorum queue, with confirms and mandatory.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import aio_pika
import psutil
import psycopg
import redis
import uvloop

from beat_actors import heap
from beat_actors.database import Database, migrate
from beat_actors.event_sinks import EventSink
from beat_actors.events.positions import ENROLL, Wanted
from beat_actors.events.publisher import Publisher
from beat_actors.events.relay import Relay
from beat_actors.events.sink import Event, Place, Refusal, Sink
from beat_actors.events.sinks.registry import make_sink
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.settings import Settings
from bench.visits import spent
from tests import rabbitmq
from tests.events import sequence_all

EXCHANGE = "bench.events"
BATCH, IN_FLIGHT = 1000, 4
TYPE = "beat.scrape_request.complete"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
# As requests write them: some in a statement, each of its own subject.
WRITE = """
INSERT INTO event (event_id, type, subject, version, account_id, data)
SELECT gen_random_uuid(), %s, 'scrape_request/' || n, 1, 'account' || n %% 500, jsonb_build_object('id', n, 'filled', repeat('x', 400))
FROM generate_series(%s::bigint, %s::bigint) n
"""
# The requests that these events are of, from which their traces are derived.
REQUESTS = """
INSERT INTO scrape_request_log (id, platform, flow, params) OVERRIDING SYSTEM VALUE SELECT n, 'instagram', 'bench', '{}' FROM generate_series(%s::bigint, %s::bigint) n
"""
STATEMENT = 20
IDLE_SECONDS = 15.0
SETTLES = 1.5
"""Seconds of a steady rate that are not measured."""


class Loop(NamedTuple):
    """`cpu`: seconds of this process; `postgres`: seconds of PostgreSQL."""

    events: int
    seconds: float
    cpu: float
    postgres: float = 0.0

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def __str__(self) -> str:
        database = f", PostgreSQL {self.postgres / self.events * 1e6:.1f} us" if self.postgres else ""
        return f"{self.rate:,.0f} events/s, client {self.cpu / self.events * 1e6:.1f} us CPU an event{database}"


@dataclass
class Timed:
    """A sink that notes when each event was confirmed. It measures nothing but that."""

    sink: Sink
    confirmed: list[tuple[str, float]] = field(default_factory=list)

    @property
    def in_order(self) -> bool:
        return self.sink.in_order

    async def open(self, position: int = 0) -> None:
        await self.sink.open(position)

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        refused = await self.sink.publish(events)
        now = time.time()
        self.confirmed += [(event.time, now) for place, event in enumerate(events) if place not in refused]
        return refused

    def trouble(self) -> Refusal | None:
        return self.sink.trouble()

    async def close(self) -> None:
        await self.sink.close()


def made(count: int) -> list[Event]:
    data = json.dumps({"id": 1, "filled": "x" * 400})
    return [
        Event(
            seq,
            str(uuid.uuid4()),
            TYPE,
            f"scrape_request/{seq}",
            1,
            "acme",
            "2026-11-29T12:00:00.123456Z",
            data,
            trace=TRACE,
        )
        for seq in range(1, count + 1)
    ]


async def plain_loop(place: Place, count: int) -> Loop:
    """Publish so many events with the sink's client alone. Raises `SinkUnavailable` when the server goes away."""
    sink, events = make_sink(place), made(count)
    await sink.open()
    batches = iter([events[start : start + BATCH] for start in range(0, count, BATCH)])

    async def publish() -> None:
        for batch in batches:
            refused = await sink.publish(batch)
            assert not refused, next(iter(refused.values()))

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(publish() for _ in range(1 if sink.in_order else IN_FLIGHT)))
    found = Loop(count, time.perf_counter() - began, time.process_time() - cpu)
    await sink.close()
    return found


async def enrolled(database: Database, name: str) -> None:
    """A sink that begins with what is written from now on."""
    async with database.statements() as alone:
        await alone.run(ENROLL, {"name": name, "scheme": "bench", "whole": False, "wanted": "{}"})


@asynccontextmanager
async def relaying(database: Database, name: str, sink: Sink | Timed, log: list[int]) -> AsyncIterator[Relay]:
    stopped = asyncio.Event()
    relay = Relay(database, name, sink, Wanted(), "bench", lambda: log[0])
    task = asyncio.create_task(relay.run(stopped))
    try:
        yield relay
    finally:
        stopped.set()
        relay.news.set()
        await task


async def relayed(database: Database, place: Place, name: str, last: int, server: psutil.Process, count: int) -> Loop:
    """Relay what was written and has its places already."""
    log = [last - count]
    async with relaying(database, name, make_sink(place), log) as relay:
        await asyncio.sleep(2.0)
        began, cpu, postgres = time.perf_counter(), time.process_time(), spent(server)
        log[0] = last
        relay.news.set()
        # A look at the row itself would cost this process as much as a page of events.
        while relay._saved < last:  # noqa: ASYNC110 - the relay tells nobody
            await asyncio.sleep(0.02)
        return Loop(count, time.perf_counter() - began, time.process_time() - cpu, spent(server) - postgres)


def write(connection: psycopg.Connection, first: int, count: int) -> None:
    for start in range(first, first + count, STATEMENT):
        connection.execute(WRITE, (TYPE, start, min(start + STATEMENT, first + count) - 1))


async def steady(database: Database, place: Place, name: str, url: str, rate: int, seconds: float) -> str:
    """From commit to confirm while a writer commits 20 events at a time."""
    timed = Timed(make_sink(place))
    publisher, stopped = Publisher(database), asyncio.Event()
    relay = Relay(database, name, timed, Wanted(), "bench", publisher.last)
    publisher._relays.append(relay)
    await enrolled(database, name)
    running_ = [asyncio.create_task(relay.run(stopped)), asyncio.create_task(publisher._sequence(stopped))]
    await asyncio.sleep(2.0)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - began) < seconds:
            while sent < now * rate:
                await connection.execute(WRITE, (TYPE, sent, sent + STATEMENT - 1))
                sent += STATEMENT
            await asyncio.sleep(0.005)
    await asyncio.sleep(2.0)
    stopped.set()
    await asyncio.gather(*running_)
    # An idle log is looked at each `IDLE` seconds, so the first events wait for that.
    times = [(datetime.fromisoformat(when).timestamp(), at) for when, at in timed.confirmed]
    settled_at = min((when for when, _ in times), default=0.0) + SETTLES
    took = sorted(at - when for when, at in times if when >= settled_at)
    assert len(times) == sent, f"{len(times)} of {sent} were confirmed"
    at = [took[int(len(took) * share)] * 1000 for share in (0.5, 0.99)]
    return f"{sent / seconds:,.0f} events/s, from commit to confirm p50 {at[0]:.0f} ms, p99 {at[1]:.0f} ms"


async def idle(database: Database) -> str:
    stopped = asyncio.Event()
    task = asyncio.create_task(Publisher(database).run(stopped))
    await asyncio.sleep(5.0)
    cpu = time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    used = (time.process_time() - cpu) / IDLE_SECONDS
    stopped.set()
    await task
    return f"{used:.2%} of a core"


@contextmanager
def rabbit(home: Home) -> Iterator[Place | None]:
    binary = os.environ.get("BEAT_TEST_RABBITMQ")
    if not binary:
        yield None
        return
    with rabbitmq.running(home, Path(binary)) as server:
        yield asyncio.run(queue_on(server))


async def queue_on(server: rabbitmq.RabbitMQ) -> Place:
    place = Place("bench", server.url(), options={"exchange": EXCHANGE})
    sink = make_sink(place)
    await sink.open()
    await sink.close()
    async with await aio_pika.connect(server.url()) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("bench", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(EXCHANGE, "#")
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=int, default=1000)
    options = parser.parse_args()
    uvloop.install()
    heap.collect_less()
    with temporary_home() as home, rabbit(home) as queue:
        postgres, valkey = PostgresServer.at(home), ValkeyServer.at(home)
        with running(home, postgres, valkey):
            migrate.upgrade(postgres.owner_url, postgres.process_url)
            settings = Settings(
                database_url=postgres.process_url,  # type: ignore[arg-type]
                redis_url=valkey.url,  # type: ignore[arg-type]
                event_sinks={"stream": EventSink(url="redis:")},  # type: ignore[arg-type]
            )
            _measure(options, settings, postgres, valkey, queue)


def _measure(
    options: argparse.Namespace, settings: Settings, postgres: PostgresServer, valkey: ValkeyServer, queue: Place | None
) -> None:
    with psycopg.connect(postgres.owner_url, autocommit=True) as connection:
        server = psutil.Process(connection.info.backend_pid).parent()
        assert server is not None, "a server on this machine"
        places = {"redis": Place("bench", valkey.url, options={"max_bytes": "2000000000"})}
        if queue is not None:
            places["rabbitmq"] = queue
        first, written, given = 1, list[float](), list[float]()
        for name, place in places.items():
            ratios = []
            for number in range(options.rounds):
                uvloop.run(_alone(settings, enrolled, f"{name}{number}"))
                connection.execute(REQUESTS, (first, first + options.events - 1))
                before = settled(server)
                write(connection, first, options.events)
                between = settled(server)
                last = uvloop.run(_alone(settings, sequence_all))
                written.append((between - before) / options.events * 1e6)
                given.append((settled(server) - between) / options.events * 1e6)
                first += options.events
                flushed(valkey)
                plain = uvloop.run(plain_loop(place, options.events))
                flushed(valkey)
                relay = uvloop.run(_alone(settings, relayed, place, f"{name}{number}", last, server, options.events))
                print(f"{name}: plain loop {plain}", flush=True)
                print(f"{name}: relay      {relay}", flush=True)
                ratios.append(relay.rate / plain.rate)
            print(f"ratio relay/plain-loop {statistics.median(ratios):.2f} ({name})", flush=True)
            flushed(valkey)
            print(
                f"{name}: {uvloop.run(_alone(settings, steady, place, f'steady-{name}', postgres.owner_url, options.rate, 20.0))}",
                flush=True,
            )
        print(
            f"PostgreSQL: {statistics.median(written):.1f} us CPU to write an event (in statements of {STATEMENT}), "
            f"{statistics.median(given):.1f} us to give it a place",
            flush=True,
        )
        print(f"an idle publisher uses {uvloop.run(_alone(settings, idle))}", flush=True)


def settled(server: psutil.Process) -> float:
    """What a server has spent, once backends that have ended are counted."""
    time.sleep(0.5)
    return spent(server)


async def _alone(settings: Settings, work: Any, *values: Any) -> Any:
    database = Database(settings, name="bench")
    try:
        return await work(database, *values)
    finally:
        await database.close()


def flushed(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()


if __name__ == "__main__":
    main()
