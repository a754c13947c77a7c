"""Events into a stream of Redis or Valkey (7.0 or later): `redis://…`, `rediss://…`.

Options: `stream` (default `beat:events`), `max_bytes` (default: a tenth of `maxmemory`, or 64 MB where there is none), and with `rediss` those of
redis-py that begin with `ssl_`. The id of an entry is `<seq>-0`, so the stream holds each event once however often it is sent. Its fields are the
attributes of the CloudEvent and `data`, or one field `event` if the place is structured. Replays go to the stream `<stream>:replay` under new ids. An event
that comes more than 50,000 places late, such as one that was parked, has to come as a replay.

**Trimming also deletes events that a slow consumer has not read.** Redis also carries the work queue, so each of the two streams is kept below `max_bytes`.
An event takes about 500 bytes, so 64 MB hold about 120,000 events. A consumer that is further behind misses events. It notices the gap in `sequence`, and
reads the missed events from the API. If a stream must lose nothing, use a separate Redis, and a `max_bytes` that fits the longest outage of a consumer.

The user needs `+multi +exec +eval +xadd +xinfo|stream +xrange +xtrim +xlen +exists +memory|usage +info +select` and the keys `~<stream> ~<stream>:replay`.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import urlencode

import redis
from redis.asyncio import Connection
from redis.asyncio.connection import parse_url
from redis.backoff import NoBackoff
from redis.retry import Retry

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Event, Place, Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.holding import Holding
from beat_actors.events.sinks.options import Options
from beat_actors.events.sinks.packing import Run, bulk, runs
from beat_actors.logins import said
from beat_actors.primary import async_primary

CONNECT_TIMEOUT, REPLY_TIMEOUT = 5.0, 10.0
AHEAD: Final = 50_000
"""Events that the stream may be ahead of what is sent. A relay never has more of them in flight, so more is no resend but another log."""
SHARE, WITHOUT_LIMIT, LEAST = 10, 64_000_000, 1_000_000
"""The default of `max_bytes`: `maxmemory` / SHARE, or `WITHOUT_LIMIT` bytes; the least that can be set."""
TRIMMED, SAMPLES = 10_000, 8
"""Entries that one trim removes at most (40 times what a run adds), and nodes of the stream that Redis measures for their size."""
MEMORY_SEEN_FOR = 60.0
"""Seconds after which `maxmemory` is read again."""
TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
CLOSED = "the connection to Redis is closed"
NOT_ALLOWED = ("WRONGPASS", "NOAUTH", "NOPERM", "ACL failure")
NO_ROOM = ("OOM", "MISCONF", "No space left")


class RedisStreams:
    """One connection. Calls of `publish` take it in turns, in the order in which they came."""

    in_order = True

    def __init__(self, place: Place) -> None:
        tls = TLS if place.url.lower().startswith("rediss:") else ()
        options = Options(place, ("stream", "max_bytes", *tls))
        if not options.parts.hostname:
            raise BadSettings("the URL names no host")
        self._place = place
        self._stream = options.text("stream", "beat:events")
        self._max_bytes = options.size("max_bytes", least=LEAST)
        self._make = _connections(options.url, {name: place.options[name] for name in tls if name in place.options})
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._generation = 0
        self._memory = Memory(self._max_bytes)
        self._stored = 0
        self._lost_until = 0
        self._ends_at: int | None = None  # the last seq of the stream that this connection has seen
        self._by_script = False
        self._holding = Holding()

    async def open(self, position: int = 0) -> None:
        await self.close()
        self._stored = position if position > self._lost_until else 0
        self._by_script = False
        async with self._turn:
            await self._connect()
            await self._look(Run())
            await self._trim(self._stream)

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        refused: dict[int, Refusal] = {}
        generation = self._generation
        async with self._turn:
            for run in runs(events, self._place, refused):
                if generation != self._generation:
                    raise SinkUnavailable(Trouble.UNREACHABLE, CLOSED)
                refusal, taken = None if run.replay else self._holding.refusal(run.first), 0
                if refusal is None:
                    refusal, taken = await self._append(run)
                if refusal is not None:
                    if not run.replay:
                        self._holding.hold(run.first, refusal)
                    for number in range(run.places[taken], len(events)):
                        refused.setdefault(number, refusal)
                    break
        return refused

    def trouble(self) -> Refusal | None:
        return None

    async def close(self) -> None:
        self._generation += 1
        await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _end(connection)

    async def _connect(self) -> None:
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (redis.RedisError, OSError) as error:
            await _end(connection)
            raise _unavailable(error, Trouble.UNREACHABLE) from None
        except BaseException:
            await _end(connection)
            raise
        self._connection, self._ends_at = connection, None

    async def _append(self, run: Run) -> tuple[Refusal | None, int]:
        """Why the events of the run from the n-th on were not stored, and n. Raises `SinkUnavailable`."""
        ends_at = self._ends_at
        if run.replay or self._by_script or ends_at is None or run.first <= ends_at or not run.is_ascending():
            return await self._look(run)
        if await self._is_answered(run.transaction(self._stream), run.reply()):
            self._stored = self._ends_at = run.last
            if self._memory.is_due(self._stream, run.size):
                await self._trim(self._stream)
            return None, 0
        await self._drop()
        await self._connect()
        refusal, taken = await self._look(run)
        self._by_script = refusal is None  # nothing is wrong, so this server takes no such transactions
        return refusal, taken

    async def _look(self, run: Run) -> tuple[Refusal | None, int]:
        """As `_append`, by the script, which says what is wrong."""
        stream = f"{self._stream}:replay" if run.replay else self._stream
        try:
            reply = await self._ask(run.script(stream, stored=0 if run.replay else self._stored, ahead=AHEAD))
        except redis.ResponseError as error:
            unavailable = _unavailable(error, Trouble.NACKED)
            if unavailable.trouble is not Trouble.FULL:
                raise unavailable from None
            await self._trim(stream)
            return Refusal(Trouble.FULL, str(unavailable)), 0
        verdict, number = cast("tuple[bytes, int]", reply)
        if verdict == b"lost":
            raise self._lost(number)
        if verdict != b"ok":
            return Refusal(Trouble.LOST, self._other_log(verdict, number, run)), number if verdict == b"conflict" else 0
        if not run.replay and number:
            self._stored = self._ends_at = number
        if self._memory.is_due(stream, run.size):
            await self._trim(stream)
        return None, 0

    def _lost(self, last: int) -> SinkUnavailable:
        """Told once: the next call goes on from where the stream is."""
        had, self._lost_until, self._stored = self._stored, self._stored, 0
        where = f"ends at {last}" if last else "is gone"
        return SinkUnavailable(
            Trouble.LOST,
            f"the stream {self._stream} {where}, but had got as far as {had}: it was deleted or evicted, or Redis lost its last writes in a crash",
            stored=last,
        )

    def _other_log(self, verdict: bytes, number: int, run: Run) -> str:
        found = f"goes as far as {number}" if verdict == b"ahead" else "has another event at this place"
        return (
            f"the stream {self._stream} {found} and is not of this log, which is at {run.first}: another installation writes to the stream, or the "
            "database was restored from a backup. Delete the stream, or choose another one with the option stream"
        )

    async def _trim(self, stream: str) -> None:
        """Remove the oldest entries, at most `TRIMMED` of them, where the stream is above its limit. Redis can do so even without memory."""
        try:
            if self._memory.is_old():
                self._memory.of_server(await self._command("INFO", "memory"))
            size = await self._command("MEMORY", "USAGE", stream, "SAMPLES", str(SAMPLES))
            length = await self._command("XLEN", stream)
            keep = self._memory.measured(stream, cast("int | None", size) or 0, cast("int", length))
            if keep is not None:
                await self._command("XTRIM", stream, "MAXLEN", "~", str(keep), "LIMIT", str(TRIMMED))
        except redis.ResponseError as error:
            raise _unavailable(error, Trouble.NACKED) from None

    async def _command(self, *words: str) -> object:
        return await self._ask([b"*%d\r\n" % len(words), *(bulk(word.encode()) for word in words)])

    async def _ask(self, command: Sequence[bytes]) -> object:
        """The reply to one command. Raises `redis.ResponseError` for one that the server refused, and `SinkUnavailable` for a connection that broke."""
        async with self._answering(command) as connection:
            return await connection.read_response()

    async def _is_answered(self, command: Sequence[bytes], reply: bytes) -> bool:
        """Whether the server answers exactly this. If it does not, the rest of its answer is unread, and the connection of no more use."""
        async with self._answering(command) as connection:
            got = 0
            while got < len(reply):
                # redis-py would parse a thousand replies one by one. It reads ahead of none, so the stream begins with this one.
                part = await connection._reader.read(len(reply) - got) if connection._reader else b""
                if not part:
                    raise redis.ConnectionError("connection closed by the server")
                if not reply.startswith(part, got):
                    return False
                got += len(part)
        return True

    @contextlib.asynccontextmanager
    async def _answering(self, command: Sequence[bytes]) -> AsyncIterator[Connection]:
        """Send a command; its reply has to be read within the block. A connection with an unread reply is closed."""
        connection = self._connection
        if connection is None:
            raise SinkUnavailable(Trouble.UNREACHABLE, CLOSED)
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                await connection.send_packed_command(command, check_health=False)
                yield connection
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            await self.close()
            raise _unavailable(error, Trouble.NO_CONFIRM) from None
        except redis.ResponseError:
            raise
        except BaseException:
            await self.close()
            raise


class Memory:
    """How much of Redis the streams may take, and when they have to be measured again. `limit`: bytes of each stream."""

    def __init__(self, limit: int | None) -> None:
        self._wanted = limit
        self._limit = limit or WITHOUT_LIMIT
        self._read_at = float("-inf")
        self._due: dict[str, int] = {}

    def is_old(self) -> bool:
        return time.monotonic() - self._read_at > MEMORY_SEEN_FOR

    def of_server(self, info: object) -> None:
        """Take what `INFO memory` says of `maxmemory`."""
        found = re.search(rb"^maxmemory:(\d+)", cast("bytes", info), re.MULTILINE)
        most = int(found[1]) if found else 0
        self._limit = self._wanted or (max(most // SHARE, LEAST) if most else WITHOUT_LIMIT)
        self._read_at = time.monotonic()

    def is_due(self, stream: str, added: int) -> bool:
        """Whether a stream to which so many bytes were added has to be measured."""
        self._due[stream] = self._due.get(stream, 0) - added
        return self._due[stream] <= 0

    def measured(self, stream: str, size: int, length: int) -> int | None:
        """How many entries to keep; None if all of them fit."""
        self._due[stream] = max((self._limit - size) // 2, self._limit // 64)
        return int(length * self._limit / size) if size > self._limit else None


def _connections(url: str, tls: Mapping[str, str]) -> Callable[[], Connection]:
    """Raises `BadSettings` for a URL that redis-py does not take."""
    try:
        arguments: dict[str, Any] = dict(parse_url(f"{url}?{urlencode(tls)}"))
    except ValueError:
        raise BadSettings("the URL is none of Redis") from None
    arguments.pop("connection_class", None)
    make = async_primary(url)
    once = Retry(NoBackoff(), 0)

    def connection() -> Connection:
        return make(**arguments, protocol=2, retry=once, socket_timeout=None, socket_connect_timeout=CONNECT_TIMEOUT)

    return connection


async def _end(connection: Connection) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1):
            await connection.disconnect(nowait=True)


def _unavailable(error: Exception, late: Trouble) -> SinkUnavailable:
    """`late`: what it means that no reply came in time, or that the server refused a command for a reason without a name here."""
    text = said(error)
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError) or any(
        word in text for word in NOT_ALLOWED
    ):
        return SinkUnavailable(Trouble.AUTH, f"Redis refused the login, or what it may do: {text}")
    if isinstance(error, redis.OutOfMemoryError) or any(word in text for word in NO_ROOM):
        return SinkUnavailable(Trouble.FULL, f"Redis has no room: {text}")
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return SinkUnavailable(late, f"Redis did not answer in time: {text}")
    if isinstance(error, redis.ConnectionError | OSError):
        return SinkUnavailable(Trouble.UNREACHABLE, f"Redis is not reachable: {text}")
    if "WRONGTYPE" in text:
        return SinkUnavailable(Trouble.LOST, f"a key of the name of the stream is no stream: {text}")
    return SinkUnavailable(late, f"Redis refused a command: {text}")
