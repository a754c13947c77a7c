"""The RabbitMQ that BEAT_TEST_RABBITMQ names; without one, a small server that stores what is published (`tests/amqp_stub.py`)."""

import asyncio
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import aio_pika

from beat_actors.events.sink import Place
from beat_actors.events.sinks.conformance import Arrived, Stand
from beat_actors.events.sinks.registry import make_sink
from beat_actors.local.home import temporary_home
from tests.amqp_stub import PASSWORD, Message, Session, Stub, serving
from tests.rabbitmq import MOST_MEMORY, RabbitMQ, running

WRONG = "not-the-password"


def read(headers: Mapping[str, object], content_type: str | None, body: bytes) -> Arrived:
    """A message in either mode."""
    if content_type == "application/cloudevents+json":
        found = json.loads(body)
        data = json.dumps(found["data"])
    else:
        found = {name.removeprefix("cloudEvents_"): value for name, value in headers.items()}
        data = body.decode()
    return Arrived.of(found, data)


class StubServer:
    """The small server in a thread of its own. What it confirmed outlives its crashes. `full`: it refuses to store."""

    def __init__(self) -> None:
        self.stored: list[Message] = []
        self.full = False
        self.stub = Stub(on_publish=self._take)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is not None:
            return
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.result(30)

    def stop(self) -> None:
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        self._thread = None

    async def _serve(self, ready: "Future[None]") -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.stub):
            ready.set_result(None)
            await self._stopping.wait()
        self.stub.sessions.clear()

    def _take(self, session: Session, message: Message) -> None:
        if self.full:
            session.nack(message.tag)
        else:
            self.stored.append(message)
            session.ack(message.tag)


@dataclass(frozen=True)
class StubStand:
    """`place`: an exchange of its own."""

    server: StubServer
    place: Place
    secrets: Sequence[str] = (PASSWORD, quote(PASSWORD, safe=""), WRONG)
    once: bool = False
    make = staticmethod(make_sink)

    async def arrived(self) -> Sequence[Arrived]:
        exchange = self.place.options["exchange"]
        return [
            read(message.header.properties.headers or {}, message.header.properties.content_type, message.body)
            for message in self.server.stored
            if message.method.exchange == exchange
        ]

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()

    def fill(self) -> bool:
        self.server.full = True
        return True

    def drain(self) -> None:
        self.server.full = False

    def wrong_login(self) -> Place:
        return replace(self.place, url=self.place.url.replace(quote(PASSWORD, safe=""), WRONG))


@dataclass(frozen=True)
class RabbitStand:
    """`place`: an exchange with one durable queue, whose name is the same."""

    node: RabbitMQ
    place: Place
    found: list[Arrived] = field(default_factory=list)
    once: bool = False
    make = staticmethod(make_sink)

    @property
    def secrets(self) -> Sequence[str]:
        return (self.node.password, WRONG)

    @property
    def name(self) -> str:
        return self.place.options["exchange"]

    def declare(self) -> None:
        """A classic queue: one of RabbitMQ 3.10's quorum queues may have no leader after a kill that soon follows its declaration."""

        async def declared() -> None:
            async with await aio_pika.connect(self.node.url()) as connection:
                channel = await connection.channel()
                exchange = await channel.declare_exchange(self.name, "topic", durable=True)
                await (await channel.declare_queue(self.name, durable=True)).bind(exchange, "#")

        in_a_thread(declared)

    async def arrived(self) -> Sequence[Arrived]:
        async with await aio_pika.connect(self.node.url()) as connection:
            queue = await (await connection.channel()).get_queue(self.name)
            while (message := await queue.get(fail=False)) is not None:
                await message.ack()
                self.found.append(read(message.headers, message.content_type, message.body))
        return self.found

    def stop(self) -> None:
        self.node.kill()

    def start(self) -> None:
        self.node.start()

    def fill(self) -> bool:
        self.node.ctl("set_vm_memory_high_watermark", "0.00001")
        return True

    def drain(self) -> None:
        self.node.ctl("set_vm_memory_high_watermark", "absolute", MOST_MEMORY)

    def wrong_login(self) -> Place:
        return replace(self.place, url=self.node.url(password=WRONG))


def in_a_thread(work: Callable[[], "asyncio.Future[None]"]) -> None:
    """Run a coroutine function beside the loop of a test."""
    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join(60)


@contextmanager
def stands(_folder: Path) -> Iterator[Callable[[], Stand]]:
    if binary := os.environ.get("BEAT_TEST_RABBITMQ"):
        with temporary_home() as home, running(home, Path(binary)) as node:

            def real() -> Stand:
                node.start()
                stand = RabbitStand(node, node.place(exchange=f"test.{uuid.uuid4().hex}"))
                stand.declare()
                return stand

            yield real
        return
    server = StubServer()

    def small() -> Stand:
        server.start()
        place = server.stub.place()
        return StubStand(server, replace(place, options={"exchange": f"test.{uuid.uuid4().hex}"}))

    try:
        yield small
    finally:
        server.stop()
