"""The queues in Redis, for operators: Dramatiq's own keys, read and changed without its processes.

Each look is one round trip, whatever lies in the queues: lengths, and a few messages at either end. What is changed is recorded in the
audit log first; what cannot be recorded is not done.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec
import redis

from actors import queue_scripts, scripts
from actors.broker import redis_client
from actors.encoder import MAX_BYTES, QUARANTINE, SignedEncoder
from actors.mailbox import QUEUES
from beat_actors import audit
from beat_actors.database import Database
from beat_actors.errors import BadInput, NotFound, RedisUnavailable, UnknownName
from beat_actors.logins import said
from beat_actors.redis_keys import unusable_keys, wake_up_channel
from beat_actors.settings import Settings
from beat_actors.text import check_text

T = TypeVar("T")
ENDS = 50
"""Messages that are looked at, at either end of a queue."""
MOST_LISTED = 500
LONG_AGO = 10.0**9
"""Seconds: as old as a heartbeat is shown at most."""
MOST_A_SECOND = 1000.0
PURGED = ("waiting", "delayed", "dead")


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process. `seen`: seconds since it last fetched messages. `holds`: how many messages it holds."""

    worker: str
    seen: float
    holds: int


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """A queue. `oldest`: seconds since the first waiting message was sent. `per_second`: acknowledged messages over the last minute.

    `actors`: the actors of the messages at both ends of the queue, 100 messages at most. `in_flight`: the number of messages of each worker.
    `dead_actors`: the actors of the newest dead letters, 50 at most. `requeueing`: dead letters that are requeued per second, or null.
    """

    queue: str
    waiting: int
    in_flight: dict[str, int]
    delayed: int
    dead: int
    oldest: float | None
    per_second: float
    actors: dict[str, int]
    dead_actors: dict[str, int]
    requeueing: float | None


class Requeueing(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that are being requeued: those that died until `died_until`, of `actor` or of all actors. `dead`: all dead letters of the queue."""

    queue: str
    actor: str | None
    rate: float
    dead: int
    died_until: datetime


class QueueOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All queues at one moment of Redis' clock."""

    at: datetime
    workers: list[WorkerView]
    queues: list[QueueView]


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """A message. `state`: waiting, in flight (`worker` has it), delayed or dead (since `died_at`).

    `unusable`: why no worker would accept it. `sample`: the beginning of an unusable message, with dots in place of words that may be secrets.
    """

    id: str
    queue: str
    state: str
    bytes: int
    worker: str | None = None
    died_at: datetime | None = None
    actor: str | None = None
    args: list[Any] | None = None
    sent_at: datetime | None = None
    unusable: str | None = None
    sample: str | None = None


class _Plan(msgspec.Struct):
    rate: float


class Queues:
    """One for each process; safe to use from any thread. Every method raises `RedisUnavailable` where Redis does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._client = redis_client(settings)
        self._namespace = settings.redis_namespace
        self._encoder = SignedEncoder(settings.key_ring("message_keys"))
        self._look, self._list, self._act, self._purge, self._plan = (
            self._client.register_script(text)
            for text in (
                queue_scripts.LOOK,
                queue_scripts.LIST,
                queue_scripts.ACT,
                queue_scripts.PURGE,
                queue_scripts.PLAN,
            )
        )

    async def look(self) -> QueueOverview:
        """Every queue: depth, messages in flight for each worker, dead letters, the age of the oldest, how fast it drains."""
        return await self._ask(self._looked)

    async def messages(self, queue: str, limit: int = 50) -> list[MessageView]:
        """Up to `limit` that workers hold, that wait the longest, and that died last. Raises `BadInput` for no such queue."""
        _known(queue)
        if not 1 <= limit <= MOST_LISTED:
            raise BadInput(f"a limit is a whole number from 1 to {MOST_LISTED}", field="limit")
        rows = await self._ask(lambda: self._list(keys=[self._namespace], args=[queue, limit, MAX_BYTES]))
        return [self._view(queue, *row) for row in rows]

    async def message(self, message_id: str) -> MessageView:
        """One message and what is in it. Raises `NotFound`."""
        return await self._acted("show", message_id)

    async def requeue(self, database: Database, message_id: str, *, actor: str, reason: str) -> MessageView:
        """Let it be worked on (again): a dead or delayed one, or one that a worker holds. As it was before. Raises `NotFound`."""
        return await self._changed(database, "requeue", message_id, actor, reason)

    async def drop(self, database: Database, message_id: str, *, actor: str, reason: str) -> MessageView:
        """Take it away. Messages are hints, so its work is found again in the rows. As it was. Raises `NotFound`."""
        return await self._changed(database, "drop", message_id, actor, reason)

    async def purge(self, database: Database, queue: str, state: str, *, actor: str, reason: str) -> int:
        """Take away all that wait, are delayed, or are dead; how many. What workers hold stays theirs. Raises `BadInput`."""
        _known(queue)
        if state not in PURGED:
            raise BadInput(f"the state to purge must be one of {', '.join(PURGED)}", field="state")
        async with database.transaction() as transaction:
            detail = {"state": state, "reason": reason}
            await audit.record(transaction, actor=actor, action="queue.purge", target=f"queue/{queue}", detail=detail)
        return int(await self._ask(lambda: self._purge(keys=[self._namespace], args=[queue, state])))

    async def requeue_dead(
        self, database: Database, queue: str, *, actor: str, reason: str, of: str | None = None, rate: float = 10.0
    ) -> Requeueing:
        """Let dead letters be worked on again, `rate` a second, the oldest first: those of one actor, or all. Raises `BadInput`.

        The leading scheduler does it. What dies meanwhile stays dead. Another plan for the queue takes this one's place.
        """
        _known(queue)
        if not 0 < rate <= MOST_A_SECOND:
            raise BadInput(f"rate is more than 0 and at most {MOST_A_SECOND:g} a second", field="rate")
        check_text(of or "", "actor", longest=100, one_line=True)
        async with database.transaction() as transaction:
            detail = {"of": of, "rate": rate, "reason": reason}
            await audit.record(transaction, actor=actor, action="queue.requeue", target=f"queue/{queue}", detail=detail)
        dead, now, unusable = await self._ask(lambda: self._plan(keys=[self._namespace], args=[queue, of or "", rate]))
        unusable_keys().found(unusable)
        return Requeueing(queue=queue, actor=of, rate=rate, dead=dead, died_until=_moment(now))

    def close(self) -> None:
        self._client.close()

    async def _changed(self, database: Database, verb: str, message_id: str, actor: str, reason: str) -> MessageView:
        found = await self.message(message_id)
        async with database.transaction() as transaction:
            detail = {
                "queue": found.queue,
                "state": found.state,
                "actor": found.actor,
                "args": found.args,
                "reason": reason,
            }
            await audit.record(
                transaction, actor=actor, action=f"message.{verb}", target=f"message/{found.id}", detail=detail
            )
        return await self._acted(verb, message_id)

    async def _acted(self, verb: str, message_id: str) -> MessageView:
        args: list[bytes | str | int] = [
            verb,
            unquote_to_bytes(message_id),
            MAX_BYTES,
            wake_up_channel(self._namespace),
            *QUEUES,
        ]
        row, unusable = await self._ask(lambda: self._act(keys=[self._namespace], args=args))
        unusable_keys().found(unusable)
        if not row:
            raise NotFound(f"no queue has a message {message_id[:60]!r}; it may be done already")
        return self._view(row[0].decode(), *row[1:])

    def _looked(self) -> QueueOverview:
        bucket = scripts.BUCKET
        now, workers, unusable, *queues = self._look(keys=[self._namespace], args=[ENDS, MAX_BYTES, bucket, *QUEUES])
        unusable_keys().found(unusable)
        names = [_text(name) for name in workers[::2]]
        views = [self._queue(name, now, names, *row) for name, row in zip(QUEUES, queues, strict=True)]
        seen = [min(max((now - float(beat)) / 1000, 0.0), LONG_AGO) for beat in workers[1::2]]
        return QueueOverview(
            at=_moment(now),
            workers=[
                WorkerView(worker=name, seen=round(ago, 1), holds=sum(view.in_flight.get(name, 0) for view in views))
                for name, ago in zip(names, seen, strict=True)
            ],
            queues=views,
        )

    def _queue(
        self,
        name: str,
        now: int,
        workers: list[str],
        _length: int,
        messages: int,
        delayed: int,
        dead: int,
        held: list[int],
        done: int,
        ends: list[Any],
        last_dead: list[Any],
        again: bytes | None,
    ) -> QueueView:
        seen = [self._view(name, row[0], b"waiting", b"", row[1], row[2]) for row in ends]
        sent = next((view.sent_at for view in seen if view.sent_at), None)
        return QueueView(
            queue=name,
            # Ids without a message were dropped, and messages without an id are held.
            waiting=max(messages - sum(held), 0),
            in_flight={worker: count for worker, count in zip(workers, held, strict=True) if count},
            delayed=delayed,
            dead=dead,
            oldest=round(max(now / 1000 - sent.timestamp(), 0.0), 1) if sent else None,
            per_second=round(int(done) / 60, 2),
            actors=dict(Counter(view.actor or "unusable" for view in seen)),
            dead_actors=dict(
                Counter(self._view(name, row[0], b"dead", b"", row[1], row[2]).actor or "unusable" for row in last_dead)
            ),
            requeueing=_rate(again),
        )

    def _view(
        self, queue: str, redis_id: bytes, state: bytes, where: bytes, size: int, data: bytes | None
    ) -> MessageView:
        known = state.decode()
        common: dict[str, Any] = {
            "id": _text(redis_id),
            "queue": queue,
            "state": known,
            "bytes": size,
            "worker": _text(where) if known == "in flight" else None,
            "died_at": _moment(float(where)) if known == "dead" and where else None,
        }
        if data is None:
            return MessageView(**common, unusable="it is larger than a message may be")
        fields = self._encoder.decode(data)
        if fields["actor_name"] == QUARANTINE:
            (refused,) = fields["args"]
            return MessageView(**common, unusable=refused.why, sample=refused.sample)
        sent = _moment(fields["message_timestamp"])
        return MessageView(**common, actor=fields["actor_name"], args=fields["args"], sent_at=sent)

    async def _ask(self, question: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(question)
        except redis.RedisError as error:
            raise RedisUnavailable(f"Redis does not answer: {said(error)}") from None


def _known(queue: str) -> None:
    if queue not in QUEUES:
        raise UnknownName(f"there is no queue {queue!r}; there is: {', '.join(QUEUES)}", field="queue")


def _rate(plan: bytes | None) -> float | None:
    """Dead letters a second; `None` too for a plan that is none, which the scheduler deletes."""
    try:
        return msgspec.json.decode(plan, type=_Plan).rate if plan else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _moment(ms: float) -> datetime:
    """A moment that a message names may be any number."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _text(name: bytes) -> str:
    """An id as text that stands in a URL; whatever its bytes, the text leads back to them."""
    return quote(name, safe=" :")
