"""Events into a stream of NATS JetStream (2.10 or later): `nats://user:password@host:4222`.

The subject of a message is the event's type, behind `prefix` if that is set. Options: `stream` (default `beat`), `prefix`, and for a stream that this
sink declares because there is none: `max_bytes` (default 1 GB), `max_age_days` (7), `discard` (`new`: a full stream refuses events and none is lost;
`old`: it deletes the oldest, whether or not somebody has read them), `duplicate_seconds` (120) and `replicas` (1). A stream that exists keeps its settings.

Attributes are headers: `ce-` and their name, with values in percent-encoding as in HTTP, and `content-type`. `Nats-Msg-Id` is the event's id, so what is
sent twice within `duplicate_seconds` is stored once; after that there are two messages with one id. Replays have no `Nats-Msg-Id`.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast
from urllib.parse import quote

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from beat_actors.errors import BadSettings
from beat_actors.events.envelope import DATA, STRUCTURED, attributes, body, structured
from beat_actors.events.sink import Event, Place, Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.options import Options
from beat_actors.logins import said

CONNECT_TIMEOUT, CONFIRM_TIMEOUT = 5.0, 10.0
IN_FLIGHT = 2_000
"""Messages that are sent and not confirmed, over all calls."""
MAX_BYTES, LEAST = 1_000_000_000, 1_000_000
PLAIN = "!#$&'()*+,/:;<=>?@[]^`{|}~\\"
"""What stands in the value of a header as it is, beside letters, digits and `_.-`."""
NAME = r"[A-Za-z0-9_-]{1,64}"
FULL = (
    "maximum bytes exceeded",
    "maximum messages exceeded",
    "resource limits exceeded",
    "insufficient",
    "no space left",
)
NOT_ALLOWED = ("authorization", "authentication", "permissions violation", "user authentication")


class ServerError(msgspec.Struct):
    code: int = 0
    description: str = ""


class Answer(msgspec.Struct):
    """What JetStream says of one message."""

    error: ServerError | None = None


class JetStream:
    """Messages are confirmed one by one, in any order."""

    in_order = False

    def __init__(self, place: Place) -> None:
        known = ("stream", "prefix", "max_bytes", "max_age_days", "discard", "duplicate_seconds", "replicas")
        options = Options(place, known)
        if not options.parts.hostname:
            raise BadSettings("the URL names no host")
        self._place = place
        self._url = options.url
        self._prefix = options.text("prefix", "", pattern=rf"({NAME}(\.{NAME})*)?")
        self._config = api.StreamConfig(
            name=options.text("stream", "beat", pattern=NAME),
            subjects=[f"{self._prefix or 'beat'}.>"],
            retention=api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy(options.text("discard", "new", pattern="new|old")),
            max_bytes=options.size("max_bytes", least=LEAST) or MAX_BYTES,
            max_age=options.number("max_age_days", 7, least=1, most=3_650) * 86_400,
            duplicate_window=options.number("duplicate_seconds", 120, least=1, most=86_400),
            num_replicas=options.number("replicas", 1, least=1, most=5),
        )
        self._client: Client | None = None
        self._inbox = ""
        self._flying: dict[str, asyncio.Future[Refusal | None]] = {}
        self._sent = 0
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._refused = ""
        self._lost_until = 0

    async def open(self, position: int = 0) -> None:
        await self.close()
        self._client, self._refused = Client(), ""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._client.connect(
                    self._url,
                    allow_reconnect=False,
                    error_cb=self._noticed,
                    disconnected_cb=self._disconnected,
                )
                self._inbox = self._client.new_inbox()
                await self._client.subscribe(f"{self._inbox}.*", cb=self._confirmed)
                is_new = await self._declare(self._client.jetstream())
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await self.close()
            raise self._unavailable(error, Trouble.UNREACHABLE) from None
        except BaseException:
            await self.close()
            raise
        if is_new and position > self._lost_until:
            self._lost_until = position
            raise SinkUnavailable(
                Trouble.LOST,
                f"the stream {self._config.name} is gone, but had got as far as {position}: it was deleted",
                stored=0,
            )

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        client = self._client
        if client is None:
            raise SinkUnavailable(Trouble.UNREACHABLE, "the connection to NATS is closed")
        refused: dict[int, Refusal] = {}
        sent: dict[int, asyncio.Future[Refusal | None]] = {}
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT):
                for number, event in enumerate(events):
                    try:
                        sent[number] = await self._send(client, *self._message(event))
                    except (ValueError, nats.errors.BadSubjectError, nats.errors.MaxPayloadError) as error:
                        refused[number] = Refusal(Trouble.INVALID, said(error))
                answers = await asyncio.gather(*sent.values())
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise self._unavailable(error, Trouble.NO_CONFIRM) from None
        finally:
            for confirmed in sent.values():
                if not confirmed.cancel() and not confirmed.cancelled():
                    confirmed.exception()  # seen
        return refused | {number: answer for number, answer in zip(sent, answers, strict=True) if answer is not None}

    def trouble(self) -> Refusal | None:
        return None

    async def close(self) -> None:
        client, self._client = self._client, None
        await self._disconnected()
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await client.close()

    async def _declare(self, context: JetStreamContext) -> bool:
        """Declare the stream if there is none. Whether there was none."""
        try:
            await context.stream_info(cast("str", self._config.name))
        except js_errors.NotFoundError:
            await context.add_stream(self._config)
            return True
        return False

    def _message(self, event: Event) -> tuple[str, bytes, dict[str, str]]:
        """Subject, payload and headers. Raises `ValueError` for an event that can be no CloudEvent."""
        headers = {} if event.replay else {"Nats-Msg-Id": event.id}
        subject = f"{self._prefix}.{event.type}" if self._prefix else event.type
        if not all(subject.split(".")):
            raise ValueError("the type of the event has an empty part, so it is no subject of NATS")
        if self._place.structured:
            return subject, structured(event, self._place), {"content-type": STRUCTURED, **headers}
        named = dict(attributes(event, self._place))
        headers["content-type"] = named.pop("datacontenttype", DATA)
        for name, value in named.items():
            headers[f"ce-{name}"] = quote(value, safe=PLAIN)
        return subject, body(event), headers

    async def _send(
        self, client: Client, subject: str, payload: bytes, headers: dict[str, str]
    ) -> "asyncio.Future[Refusal | None]":
        """What becomes of the message. nats-py's own `publish_async` never ends for some errors, a full stream among them."""
        await self._room.acquire()
        self._sent += 1
        key = str(self._sent)
        confirmed: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        confirmed.add_done_callback(partial(self._landed, key))
        self._flying[key] = confirmed
        try:
            await client.publish(subject, payload, reply=f"{self._inbox}.{key}", headers=headers)
        except BaseException:
            confirmed.cancel()
            raise
        return confirmed

    def _landed(self, key: str, _confirmed: object) -> None:
        self._flying.pop(key, None)
        self._room.release()

    async def _confirmed(self, message: Msg) -> None:
        confirmed = self._flying.get(message.subject.rpartition(".")[2])
        if confirmed is None or confirmed.done():
            return
        try:
            confirmed.set_result(self._refusal(message))
        except msgspec.MsgspecError:
            confirmed.set_result(Refusal(Trouble.NACKED, "NATS answered with something else than a confirmation"))

    def _refusal(self, message: Msg) -> Refusal | None:
        if not message.data and (message.headers or {}).get("Status") == "503":
            return Refusal(Trouble.UNROUTABLE, "no stream takes the subject of this event")
        answer = msgspec.json.decode(message.data, type=Answer)
        return None if answer.error is None else self._failed(answer.error.code, answer.error.description)

    def _failed(self, code: int, text: str) -> Refusal:
        if any(word in text.lower() for word in FULL):
            return Refusal(Trouble.FULL, f"the stream {self._config.name} is full: {text}")
        if code == 503:
            return Refusal(Trouble.BLOCKED, f"JetStream takes no messages for the time being: {text}")
        return Refusal(Trouble.NACKED, f"the stream {self._config.name} refused the event: {text}")

    def _unavailable(self, error: BaseException, late: Trouble) -> SinkUnavailable:
        """`late`: what it means that no answer came in time."""
        text = said(error)
        if any(word in f"{text} {self._refused}".lower() for word in NOT_ALLOWED):
            return SinkUnavailable(Trouble.AUTH, f"NATS refused the login, or what it may do: {self._refused or text}")
        if isinstance(error, nats.errors.NoRespondersError | js_errors.ServiceUnavailableError):
            return SinkUnavailable(Trouble.UNROUTABLE, "the server has no JetStream for this login, or it is not ready")
        if isinstance(error, js_errors.APIError):
            refusal = self._failed(error.code or 0, error.description or text)
            return SinkUnavailable(refusal.trouble, refusal.reason)
        if isinstance(error, TimeoutError):
            return SinkUnavailable(late, "NATS did not answer in time")
        return SinkUnavailable(Trouble.UNREACHABLE, f"NATS is not reachable: {text}")

    async def _noticed(self, error: Exception) -> None:
        self._refused = said(error)

    async def _disconnected(self) -> None:
        """What is in flight gets no confirmation any more."""
        for confirmed in list(self._flying.values()):
            if not confirmed.done():
                confirmed.set_exception(nats.errors.ConnectionClosedError())
