"""Dramatiq's Redis broker as Beat runs it: bounded client, no delay queues, and consumers that are woken instead of polling.

Redis carries hints; losing all of it costs a second. So the client never waits long, and never repeats a command whose reply
was lost: the scheduler sends again from the rows.
"""

import threading
import time
from collections.abc import Iterable
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import current_millis
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AsyncIO, TimeLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

from beat_actors.settings import Settings

log = structlog.get_logger(__name__)

HEARTBEAT_TIMEOUT = 15_000
TIME_LIMIT = 600_000
# An idle consumer looks for itself this often: a heartbeat for Dramatiq, and the safety net for a lost wake-up.
IDLE_POLL = 1.0


class Bell:
    """Wakes this process's consumers when a message for their queue is sent anywhere: one subscription, one event a queue."""

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client = client
        self.channel = channel
        self._events: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def event(self, queue_name: str) -> threading.Event:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="bell", daemon=True)
                self._thread.start()
            return self._events.setdefault(queue_name, threading.Event())

    def ring(self, queue_name: str) -> None:
        self._client.publish(self.channel, queue_name)

    def _listen(self) -> None:
        while True:
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(self.channel)
                    self._wake(None)  # whatever was sent while nobody listened
                    while True:
                        message = subscription.get_message(timeout=30.0)
                        if message is not None:
                            self._wake(message["data"].decode())
            except redis.RedisError as error:
                log.warning("bell_lost", error=type(error).__name__)
                time.sleep(IDLE_POLL)

    def _wake(self, queue_name: str | None) -> None:
        for name, event in list(self._events.items()):
            if queue_name is None or name == queue_name:
                event.set()


class WokenConsumer(_RedisConsumer):
    """Waits for the bell where Dramatiq's consumer sleeps, and treats a timeout as the lost connection that it is."""

    def __init__(self, broker: "BeatBroker", queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self._woken = broker.bell.event(queue_name)

    def __next__(self) -> Any:
        try:
            self._woken.clear()  # before looking, so that what comes after the look is not slept through
            if not self.message_cache and self.outstanding_message_count < self.prefetch:
                self.message_cache = self.broker.do_fetch(
                    self.queue_name, self.prefetch - self.outstanding_message_count
                )
            if not self.message_cache:
                self._woken.wait(IDLE_POLL)
                return None
            return super().__next__()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None

    def ack(self, message: Any) -> None:
        try:
            super().ack(message)
        except redis.TimeoutError as error:
            raise ConnectionClosed(error) from None
        finally:
            self._woken.set()  # there is room for one more message

    def nack(self, message: Any) -> None:
        try:
            super().nack(message)
        except redis.TimeoutError as error:
            raise ConnectionClosed(error) from None
        finally:
            self._woken.set()


class BeatBroker(RedisBroker):
    """`enqueue` rings the bell. Retries and delays are rows in PostgreSQL, so no delay queues are declared or consumed."""

    def __init__(self, client: redis.Redis, *, listener: redis.Redis, namespace: str) -> None:
        middleware = [TimeLimit(time_limit=TIME_LIMIT), AsyncIO()]
        super().__init__(client=client, middleware=middleware, namespace=namespace, heartbeat_timeout=HEARTBEAT_TIMEOUT)
        self.bell = Bell(listener, f"{namespace}:bell")

    @property
    def consumer_class(self) -> type[WokenConsumer]:
        return WokenConsumer

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def return_messages_of_the_dead(self, queue_names: Iterable[str]) -> None:
        """Give back what workers held whose heartbeat has stopped. Raises `OSError` where Redis does not answer."""
        try:
            for queue_name in queue_names:
                # Dramatiq's own script, told to do its maintenance and nothing else.
                self.scripts["dispatch"](
                    keys=[self.namespace],
                    args=["janitor", current_millis(), queue_name, self.broker_id, self.heartbeat_timeout,
                          self.dead_message_ttl, 1, self._max_unpack_size()],
                )  # fmt: skip
        except redis.RedisError as error:
            raise ConnectionError(f"Redis does not answer: {error}") from None

    def enqueue(self, message: "dramatiq.Message[Any]", *, delay: int | None = None) -> "dramatiq.Message[Any]":
        if delay is not None:
            raise ValueError("delays are rows (`not_before`), not messages")
        sent = super().enqueue(message)
        self.bell.ring(message.queue_name)
        return sent


def redis_client(settings: Settings, *, socket_timeout: float | None = 2.0) -> redis.Redis:
    """A client that fails in about a second and never sends a command twice."""
    return redis.Redis.from_url(
        str(settings.redis_url),
        socket_timeout=socket_timeout,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=15,
    )


def build_broker(settings: Settings) -> BeatBroker:
    return BeatBroker(
        redis_client(settings), listener=redis_client(settings, socket_timeout=40.0), namespace=settings.redis_namespace
    )
