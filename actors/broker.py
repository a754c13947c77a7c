"""Dramatiq's Redis broker as Beat runs it: bounded client, signed messages, no delay queues, and consumers that are woken instead
of polling, and that nothing which lies in a queue can stop.

Redis carries hints; losing all of it costs a second. So the client never waits long, and never repeats a command whose reply
was lost: the scheduler sends again from the rows.
"""

import inspect
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_type_hints

import dramatiq
import msgspec
import redis
from dramatiq import Middleware
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AsyncIO, TimeLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors import scripts
from actors.encoder import MAX_BYTES, QUARANTINE, SignedEncoder
from beat_actors.logger import get_logger
from beat_actors.logins import said
from beat_actors.primary import WrongServer, primary
from beat_actors.redis_keys import unusable_keys, wake_up_channel
from beat_actors.settings import Settings

log = get_logger(__name__)

Message = dramatiq.Message[Any]

HEARTBEAT_TIMEOUT = 15_000
TIME_LIMIT = 600_000
# An idle consumer looks for itself this often: a heartbeat for Dramatiq, and the safety net for a lost wake-up.
IDLE_POLL = 1.0
LISTEN_FOR = 5.0
"""Seconds for which the subscription waits for a message before it looks whether it is to be made anew."""


class WakeUps:
    """Wakes the consumers of this process when any process sends a message for their queue: one subscription, and one event for each queue."""

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client = client
        self.channel = channel
        self._events: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._renew = threading.Event()
        self._refused: set[str] = set()
        self._thread: threading.Thread | None = None

    def event(self, queue_name: str) -> threading.Event:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._listen, name="wake-ups", daemon=True)
                thread.start()
                self._thread = thread  # which is one that lives
            return self._events.setdefault(queue_name, threading.Event())

    @contextmanager
    def following(self, queue_name: str) -> Iterator[None]:
        """Put this around each write to the queue. After a fail-over the subscription may still be on the old server, which refuses writes.
        So the first write that succeeds after a refusal makes this process subscribe anew, within `LISTEN_FOR` seconds.

        The refusal itself does not: the host name may still lead to the old server then.
        """
        try:
            yield
        except WrongServer:
            self._refused.add(queue_name)
            raise
        if queue_name in self._refused:
            self._refused.discard(queue_name)
            self._renew.set()

    def wake(self, queue_name: str | None) -> None:
        """Let this process's consumer of the queue look now, or all of them. Safe to call from any thread."""
        for name, event in list(self._events.items()):
            if queue_name is None or name == queue_name:
                event.set()

    def is_well(self) -> bool:
        """Whether it listens, or was never asked to."""
        return self._thread is None or self._thread.is_alive()

    def _listen(self) -> None:
        while True:
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    self._renew.clear()  # before subscribing, so that what is found meanwhile is not forgotten
                    subscription.subscribe(self.channel)
                    self.wake(None)  # for what was sent while nothing listened
                    while not self._renew.is_set():
                        message = subscription.get_message(timeout=LISTEN_FOR)
                        if message is not None:
                            self.wake(message["data"].decode("ascii", "replace"))
            except redis.RedisError as error:
                log.warning("wake_ups_lost", error=type(error).__name__)
                time.sleep(IDLE_POLL)


class WokenConsumer(_RedisConsumer):
    """Waits for a wake-up where Dramatiq's consumer sleeps, and treats a timeout as the lost connection that it is.

    What it holds is counted by the ids that messages lie under in Redis: those are unique, whatever the messages say.
    """

    def __init__(self, broker: "BeatBroker", queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self._woken = broker.wake_ups.event(queue_name)
        self._looked = 0.0

    def __next__(self) -> Any:
        if not self.message_cache:
            self._woken.clear()  # before looking, so that what comes after the look, and room that comes, is not slept through
        paused = self.broker.is_paused(self.queue_name)
        if paused:
            self.close()
        if not self.message_cache:
            room = 0 if paused else max(self.prefetch - len(self.queued_message_ids), 0)
            # One that holds as much as it may looks too, for the heartbeat, or what it holds would be taken for a dead worker's.
            if room or time.monotonic() - self._looked >= IDLE_POLL:
                with _closing(), self.broker.wake_ups.following(self.queue_name):
                    self.message_cache = self.broker.fetch(self.queue_name, room)
                self._looked = time.monotonic()
            if not self.message_cache:
                self._woken.wait(IDLE_POLL)
                return None
        redis_id, size, data = self.message_cache.pop(0)
        self.queued_message_ids.add(redis_id)
        return dramatiq.MessageProxy(self.broker.read(self.queue_name, redis_id, size, data))

    def ack(self, message: Any) -> None:
        try:
            with _closing():
                self.broker.acknowledge(self.queue_name, message.options["redis_message_id"])
        finally:
            self._let_go(message)

    def nack(self, message: Any) -> None:
        try:
            with _closing():
                self.broker.reject(self.queue_name, message.options["redis_message_id"])
        finally:
            self._let_go(message)

    def requeue(self, messages: Iterable[Any]) -> None:
        with _closing():
            self.broker.give_back(self.queue_name, [message.options["redis_message_id"] for message in messages])

    def close(self) -> None:
        """Give back what was fetched and not begun."""
        fetched, self.message_cache = self.message_cache, []
        if fetched:
            with _closing():
                self.broker.give_back(self.queue_name, [redis_id for redis_id, _, _ in fetched])

    def _let_go(self, message: Any) -> None:
        self.queued_message_ids.discard(message.options["redis_message_id"])
        self._woken.set()  # there is room for one more message


class BeatBroker(RedisBroker):
    """`enqueue` wakes the consumers of the queue. Retries and delays are rows in PostgreSQL, so no delay queues are declared or consumed."""

    def __init__(self, client: redis.Redis, *, listener: redis.Redis, namespace: str, encoder: SignedEncoder) -> None:
        middleware = [TimeLimit(time_limit=TIME_LIMIT), AsyncIO(), KeepUnrecorded()]
        super().__init__(
            client=client,
            middleware=middleware,
            namespace=namespace,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            maintenance_chance=0,  # `return_messages_of_the_dead` does it, without a command that workers may not use
        )
        # Operators read this name, and Dramatiq makes a pattern of it.
        host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
        self.broker_id = f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.wake_ups = WakeUps(listener, wake_up_channel(namespace))
        self.encoder = encoder
        self._send, self._ring, self._fetch, self._ack, self._nack, self._requeue, self._return = (
            client.register_script(text)
            for text in (
                scripts.SEND,
                scripts.SEND_ONCE,
                scripts.FETCH,
                scripts.ACK,
                scripts.NACK,
                scripts.REQUEUE,
                scripts.RETURN,
            )
        )
        self._takes: dict[str, tuple[str, Any]] = {}
        self.is_paused: Callable[[str], bool] = lambda _queue: False
        """Whether this process takes nothing from a queue for now, and leaves what lies there to others."""

    @property
    def consumer_class(self) -> type[WokenConsumer]:
        return WokenConsumer

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: "dramatiq.Actor[Any, Any]") -> None:
        """An actor's annotations are what its messages are held against."""
        super().declare_actor(actor)
        if actor.actor_name == QUARANTINE:
            return
        hints = get_type_hints(actor.fn, include_extras=True)
        types = tuple(hints[name] for name in inspect.signature(actor.fn).parameters)
        self._takes[actor.actor_name] = (actor.queue_name, tuple.__class_getitem__(types))
        self.encoder.words |= {actor.actor_name, actor.queue_name}

    def return_messages_of_the_dead(self, queue_names: Iterable[str]) -> None:
        """Give back what workers held whose heartbeat has stopped. Raises `OSError` where Redis does not answer."""
        try:
            found = self._return(
                keys=[self.namespace], args=[self.heartbeat_timeout, self.dead_message_ttl, *queue_names]
            )
        except redis.RedisError as error:
            raise ConnectionError(f"Redis does not answer: {said(error)}") from None
        unusable_keys().found(found)

    def enqueue(self, message: Message, *, delay: int | None = None) -> Message:
        if delay is not None:
            raise ValueError("delays are rows (`not_before`), not messages")
        self.send([message])
        return message

    def send(self, messages: Sequence[Message]) -> None:
        """Sign messages for one queue, put them into it, and publish the wake-up, in one round trip.

        Raises `redis.RedisError` where Redis did not take them, and `ValueError` for what no worker would take.
        """
        queue_name = messages[0].queue_name
        args: list[bytes | str] = [self.wake_ups.channel, queue_name]
        for message in messages:
            args += (message.message_id, self.encoder.encode(message.asdict()))
        unusable_keys().found(self._send(keys=self._keys(queue_name, "", ".msgs"), args=args))

    def send_once(self, flag: str, message: Message, *, stands_for: int) -> None:
        """Send a message unless `flag` says that one was sent within `stands_for` ms, and set the flag. Raises as `send` does."""
        queue_name, encoded = message.queue_name, self.encoder.encode(message.asdict())
        keys = [flag, *self._keys(queue_name, "", ".msgs")]
        args: list[bytes | str | int] = [stands_for, self.wake_ups.channel, queue_name, message.message_id, encoded]
        unusable_keys().found(self._ring(keys=keys, args=args))

    def fetch(self, queue_name: str, count: int) -> list[tuple[bytes, int, bytes | None]]:
        """Up to `count` messages, now held by this process: the id that each lies under, its size, its bytes if not too large."""
        keys = [*self._keys(queue_name, "", ".msgs"), self._held(queue_name), f"{self.namespace}:__heartbeats__"]
        found: list[tuple[bytes, int, bytes | None]]
        found, unusable = self._fetch(keys=keys, args=[self.broker_id, count, MAX_BYTES])
        unusable_keys().found(unusable)
        return found

    def acknowledge(self, queue_name: str, redis_id: bytes) -> None:
        keys = [*self._keys(queue_name, ".msgs"), self._held(queue_name)]
        done = f"{self.namespace}:__done__.{queue_name}."
        unusable_keys().found(self._ack(keys=keys, args=[redis_id, done, scripts.BUCKET]))

    def reject(self, queue_name: str, redis_id: bytes) -> None:
        """Make a message that this process holds a dead letter."""
        (messages,) = self._keys(queue_name, ".msgs")
        keys = [messages, self._held(queue_name), *self._keys(queue_name, ".XQ", ".XQ.msgs")]
        unusable_keys().found(self._nack(keys=keys, args=[redis_id]))

    def give_back(self, queue_name: str, redis_ids: list[bytes]) -> None:
        """Put what this process holds and has not begun back into its queue."""
        if redis_ids:
            keys = [*self._keys(queue_name, "", ".msgs"), self._held(queue_name)]
            unusable_keys().found(self._requeue(keys=keys, args=redis_ids))

    def read(self, queue_name: str, redis_id: bytes, size: int, data: bytes | None) -> Message:
        """What was fetched from a queue as a message to an actor: to `quarantine` where it cannot be used. Never raises."""
        if data is None:
            fields = self.encoder.refused("it, or its id, is larger than a message may be", None, size=size)
        else:
            fields = self.encoder.decode(data)
            if fields["actor_name"] != QUARANTINE:
                try:
                    fields["args"] = self._arguments(queue_name, fields)
                except _Misaddressed as error:
                    fields = self.encoder.refused(str(error), data)
        if fields["actor_name"] == QUARANTINE:
            fields["args"] = (queue_name, *fields["args"])
        # Dramatiq acknowledges by these two, so they are where it lies, and not what it says.
        fields["queue_name"], fields["options"] = queue_name, {"redis_message_id": redis_id}
        return dramatiq.Message(**fields)

    def _arguments(self, queue_name: str, fields: dict[str, Any]) -> tuple[Any, ...]:
        known = self._takes.get(fields["actor_name"])
        if known is None:
            raise _Misaddressed(f"there is no actor {fields['actor_name']!r} here")
        if queue_name != known[0] or queue_name != fields["queue_name"]:
            raise _Misaddressed(
                f"it is for queue {fields['queue_name']!r} and actor {fields['actor_name']!r} of queue {known[0]!r}"
            )
        try:
            arguments: tuple[Any, ...] = msgspec.convert(fields["args"], known[1])
        except msgspec.ValidationError as error:
            raise _Misaddressed(f"its arguments are not those of actor {fields['actor_name']!r}: {error}") from None
        return arguments

    def _keys(self, queue_name: str, *suffixes: str) -> list[str]:
        return [f"{self.namespace}:{queue_name}{suffix}" for suffix in suffixes]

    def _held(self, queue_name: str) -> str:
        return f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"


class KeepUnrecorded(Middleware):
    """A message that could not be recorded as unusable stays in Redis as a dead letter, where people can see it."""

    def after_process_message(
        self, _broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        del result
        if exception is not None and message.actor_name == QUARANTINE:
            message.fail()


class _Misaddressed(Exception):
    """The sentence that says how."""


@contextmanager
def _closing() -> Iterator[None]:
    """A Redis that is away, late, full or takes no writes is Dramatiq's `ConnectionClosed`, after which it tries again."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.OutOfMemoryError) as error:
        raise ConnectionClosed(error) from None


def redis_client(settings: Settings, *, socket_timeout: float | None = 2.0) -> redis.Redis:
    """A client that fails in about a second and never sends a command twice."""
    url = str(settings.redis_url)
    return redis.Redis.from_url(
        url,
        socket_timeout=socket_timeout,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=15,
        connection_class=primary(url),
    )


def build_broker(settings: Settings) -> BeatBroker:
    return BeatBroker(
        redis_client(settings),
        listener=redis_client(settings, socket_timeout=40.0),
        namespace=settings.redis_namespace,
        encoder=SignedEncoder(settings.key_ring("message_keys")),
    )
