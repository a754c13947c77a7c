"""Valkey, or the server that BEAT_TEST_REDIS names."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import msgspec
import redis

from beat_actors.events.sink import Place
from beat_actors.events.sinks.conformance import Arrived, Stand
from beat_actors.events.sinks.registry import make_sink
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import ValkeyServer
from tests.conformance.stands.processes import Process


@dataclass(frozen=True)
class RedisStand:
    """`place`: a stream of its own."""

    server: ValkeyServer
    process: Process
    place: Place
    once: bool = True
    make = staticmethod(make_sink)

    @property
    def secrets(self) -> Sequence[str]:
        return (self.server.password, quote(self.server.password), "not-the-password")

    @property
    def stream(self) -> str:
        return self.place.options["stream"]

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.server.url, socket_timeout=10)

    async def arrived(self) -> Sequence[Arrived]:
        with self.client() as client:
            streams = [client.xrange(self.stream), client.xrange(f"{self.stream}:replay")]
        return [read(fields) for entries in streams for _, fields in entries]

    def stop(self) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start()

    def fill(self) -> bool:
        with self.client() as client:
            return bool(client.config_set("maxmemory", 1))

    def drain(self) -> None:
        with self.client() as client:
            client.config_set("maxmemory", 0)

    def wrong_login(self) -> Place:
        return replace(self.place, url=self.place.url.replace(self.server.password, "not-the-password"))


def read(fields: dict[bytes, bytes]) -> Arrived:
    """An entry of either form."""
    if b"event" in fields:
        whole = msgspec.json.decode(fields[b"event"])
        data = msgspec.json.encode(whole["data"]).decode()
        return Arrived.of(whole, data)
    named = {name.decode(): value.decode() for name, value in fields.items()}
    return Arrived.of(named, named["data"])


@contextmanager
def stands(_folder: Path) -> Iterator[Callable[[], Stand]]:
    with temporary_home() as home:
        server = ValkeyServer.at(home, binary=os.environ.get("BEAT_TEST_REDIS"))
        service = server.service()
        assert service.ready
        process = Process(service.argv, service.ready, log=home.path / "valkey.log", cwd=service.cwd)
        process.start()

        def stand() -> Stand:
            process.start()
            return RedisStand(server, process, Place("test", server.url, options={"stream": f"test:{uuid.uuid4()}"}))

        try:
            yield stand
        finally:
            process.kill()
