"""A real worker over a queue of the test's own, and hands that reach into Redis as a stranger's would."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dramatiq
import pytest
import redis

from actors.broker import BeatBroker, build_broker
from actors.encoder import QUARANTINE, Refused
from actors.mailbox import INGEST, Ids
from beat_actors.database import Database
from beat_actors.quarantine import set_aside_message
from beat_actors.settings import Settings

DEADLINE = 20.0


def until(condition: Callable[[], bool], said: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


@dataclass
class Post:
    """The queue `ingest` of a broker, what lies in it, and what its actor was given."""

    settings: Settings
    broker: BeatBroker
    arrived: list[list[int]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    """Closed, it holds every worker thread in the actor."""

    @property
    def client(self) -> redis.Redis:
        return self.broker.client

    def key(self, suffix: str = "") -> str:
        return f"{self.settings.redis_namespace}:{INGEST}{suffix}"

    def sealed(self, *args: Any, **fields: Any) -> bytes:
        """A message as the mailbox would put it there."""
        given = {"queue_name": INGEST, "actor_name": INGEST, "args": args, "kwargs": {}, "options": {}}
        return self.broker.encoder.encode(dramatiq.Message(**given | fields).asdict())  # type: ignore[arg-type]

    def put(self, redis_id: str | bytes, data: bytes) -> None:
        """Straight into Redis, as anybody can who reaches it."""
        self.client.hset(self.key(".msgs"), redis_id, data)  # type: ignore[arg-type]
        self.client.rpush(self.key(), redis_id)

    def send(self, *ids: int) -> dramatiq.Message[Any]:
        message: dramatiq.Message[Any] = dramatiq.Message(INGEST, INGEST, (list(ids),), {}, {})
        self.broker.send([message])
        return message

    def dead(self) -> list[str]:
        return [name.decode() for name in self.client.zrange(self.key(".XQ"), 0, -1)]

    def held(self) -> set[bytes]:
        keys = self.client.keys(f"{self.settings.redis_namespace}:__acks__.*")
        return {redis_id for key in keys for redis_id in self.client.smembers(key)}

    def is_empty(self) -> bool:
        return not self.client.exists(self.key(), self.key(".msgs")) and not self.held()

    @contextmanager
    def working(self, *, threads: int = 2) -> Iterator[dramatiq.Worker]:
        worker = dramatiq.Worker(self.broker, worker_threads=threads, worker_timeout=50)
        worker.start()
        try:
            yield worker
        finally:
            self.gate.set()
            worker.stop(timeout=5000)

    def work(self) -> None:
        """Run a worker until nothing is left."""
        with self.working():
            until(self.is_empty, "something is left in the queue")


def post_over(settings: Settings) -> Post:
    post = Post(settings, build_broker(settings))
    post.gate.set()

    @dramatiq.actor(broker=post.broker, queue_name=INGEST, actor_name=INGEST)
    def ingest(fetch_ids: Ids) -> None:
        post.gate.wait(DEADLINE)
        post.arrived.append(fetch_ids)

    @dramatiq.actor(broker=post.broker, queue_name=INGEST, actor_name=QUARANTINE)
    async def quarantine(queue_name: str, refused: Refused) -> None:
        database = Database(settings, name="test")
        try:
            await set_aside_message(
                database, queue_name, refused.why, {"bytes": refused.bytes, "sample": refused.sample}
            )
        finally:
            await database.close()

    return post


@pytest.fixture
def post(settings: Settings) -> Post:
    return post_over(settings)
