"""The mailbox: actors' and queues' names, and how to send. All that the API, the scheduler and the CLI import of this package.

A message is a hint with ids in it. Sending never raises and never waits long: what is not sent now, the scheduler sends later.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Annotated, Any

from dramatiq import Message
from msgspec import Meta
from redis import RedisError

from actors import queue_scripts, scripts
from actors.broker import BeatBroker, build_broker
from actors.encoder import MAX_BYTES
from beat_actors.broker.own_flows import OWN_FLOWS
from beat_actors.logger import get_logger
from beat_actors.logins import said
from beat_actors.redis_keys import unusable_keys, wake_up_channel
from beat_actors.settings import Settings

log = get_logger(__name__)

MOST_LOOKED_AT = 1000
"""Dead letters that one step of their requeueing looks at, so that it holds Redis up for a few milliseconds."""
CREDENTIAL_BROKER = "credential_broker"
RETRIEVE = "retrieve"
INGEST = "ingest"
PROCESS = "process"
CREDENTIALS = "credentials"
SUSPECTS = "suspects"
EXPRESS = "express"
"""The way of urgent leases. Every process that takes `retrieve` takes it too."""
ASSETS = "assets"
"""Uploads of assets. Processes take this queue only if they are told to: they alone have the key of the bucket."""
QUEUES = (CREDENTIAL_BROKER, EXPRESS, RETRIEVE, INGEST, PROCESS, CREDENTIALS, SUSPECTS, ASSETS)
BY_DEFAULT = tuple(queue for queue in QUEUES if queue != ASSETS)
UPLOAD_ASSETS = "upload_assets"
ASSET_VARIANTS = "asset_variants"
# Dramatiq's priorities, for messages that a process has fetched and not begun. Turns are short, and all others' work comes from them.
FIRST, SOON, LATER = 0, 1, 2
# What the actors take; a message with anything else is quarantined before it reaches one.
Ids = Annotated[list[Annotated[int, Meta(ge=1, le=2**63 - 1)]], Meta(min_length=1, max_length=500)]
Hints = Annotated[list[Annotated[int, Meta(ge=1, le=2**63 - 1)]], Meta(max_length=500)]
ContentHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Width = Annotated[int, Meta(ge=1, le=4096)]
MediaType = Annotated[str, Meta(pattern="^image/[a-z]{3,8}$")]
PlatformName = Annotated[str, Meta(min_length=1, max_length=100)]
# One wake-up that no turn has answered yet is enough. A flag says when it was sent, and is ignored after this time, since the message may be lost.
ASKED_FOR_MS = 2000
VARIANT_ASKED_FOR_MS = 30_000
"""The same for a variant of a picture, over all processes of the API."""


class Mailbox:
    """One for each process; safe to use from any thread."""

    def __init__(self, settings: Settings, broker: BeatBroker | None = None) -> None:
        self._broker = broker or build_broker(settings)
        self._namespace = settings.redis_namespace
        self._batch = settings.stage_batch
        self._uploads = settings.asset_bucket is not None
        self._requeue = self._broker.client.register_script(queue_scripts.STEP)
        self._heads = self._broker.client.register_script(scripts.HEADS)

    async def wake(self, platform: str) -> bool:
        """Ask for a turn of the platform's broker, unless one has been asked for and has not begun. Under the name of one of Beat's own flows, wake
        those that do its work."""
        if any(own.platform == platform for own in OWN_FLOWS):
            return not self._uploads or await asyncio.to_thread(self._wake_uploads, platform)
        return await asyncio.to_thread(self._ask, platform, "dispatch")

    async def want_variant(self, content: bytes, width: int, media_type: str) -> bool:
        """Ask for a smaller picture of a stored one, unless it was asked for a moment ago. False where Redis did not take the message."""
        return await asyncio.to_thread(self._want_variant, content.hex(), width, media_type)

    async def settle(self, platforms: Collection[str]) -> None:
        """Say that outcomes came back on these platforms."""
        for platform in sorted(platforms):
            await asyncio.to_thread(self._ask, platform, "settle")

    async def send(self, stage: str, ids: Sequence[int]) -> bool:
        """Hand fetches to a stage, or credentials to their upkeep, `BEAT_STAGE_BATCH` to a message. False where Redis did not take them."""
        if not ids:
            return True
        return await asyncio.to_thread(self._send, stage, list(ids))

    def turn_begins(self, platform: str) -> None:
        """The turn begins: from now on a wake-up means another turn."""
        self._broker.client.delete(self._asked(platform))

    async def return_messages_of_the_dead(self) -> None:
        """Put what dead workers held back into the queues. Dramatiq does not do it here.

        Raises `OSError` where Redis does not answer.
        """
        await asyncio.to_thread(self._broker.return_messages_of_the_dead, QUEUES)

    async def ping(self) -> bool:
        """Whether Redis answers and takes writes."""
        try:
            return bool(await asyncio.to_thread(self._broker.client.set, f"{self._namespace}:ping", 1, px=1000))
        except (RedisError, OSError):
            return False

    def server_info(self) -> dict[str, Any]:
        """What the Redis server says of itself. Raises `OSError` where it does not answer."""
        try:
            return dict(self._broker.client.info())
        except RedisError as error:
            raise ConnectionError(f"Redis does not answer: {said(error)}") from None

    def listeners(self) -> int:
        """Worker processes that wait for wake-ups. Raises `OSError` where Redis does not answer."""
        try:
            ((_, count),) = self._broker.client.pubsub_numsub(self._broker.wake_ups.channel)
        except RedisError as error:
            raise ConnectionError(f"Redis does not answer: {said(error)}") from None
        return int(count)

    async def requeue_the_dead(self) -> int:
        """As many dead letters as somebody has asked for, at the pace that was asked for; how many. Raises `OSError` where Redis does not answer."""
        try:
            return await asyncio.to_thread(self._step)
        except RedisError as error:
            raise ConnectionError(f"Redis does not answer: {said(error)}") from None

    async def oldest(self) -> dict[str, float]:
        """Seconds since the message at the head of each queue was sent, for queues in which one waits. Raises `OSError` where Redis does
        not answer."""
        try:
            return await asyncio.to_thread(self._oldest)
        except RedisError as error:
            raise ConnectionError(f"Redis does not answer: {error}") from None

    def close(self) -> None:
        self._broker.client.close()

    def _oldest(self) -> dict[str, float]:
        now, heads = self._heads(keys=[self._namespace], args=[MAX_BYTES, *QUEUES])
        read = {
            queue: self._broker.encoder.decode(head)
            for queue, head in zip(QUEUES, heads, strict=True)
            if head is not None
        }
        return {queue: (now - fields["message_timestamp"]) / 1000 for queue, fields in read.items()}

    def _step(self) -> int:
        arguments: list[str | int] = [wake_up_channel(self._namespace), MOST_LOOKED_AT, MAX_BYTES, *QUEUES]
        requeued, unusable = self._requeue(keys=[self._namespace], args=arguments)
        unusable_keys().found(unusable)
        return int(requeued)

    def _ask(self, platform: str, actor: str) -> bool:
        try:
            message = _message(CREDENTIAL_BROKER, actor, platform)
            self._broker.send_once(self._asked(platform), message, stands_for=ASKED_FOR_MS)
        except (RedisError, OSError) as error:
            log.warning("not_sent", actor=actor, platform=platform, error=type(error).__name__)
            return False
        return True

    def _wake_uploads(self, platform: str) -> bool:
        try:
            message = _message(ASSETS, UPLOAD_ASSETS, [])
            self._broker.send_once(self._asked(platform), message, stands_for=ASKED_FOR_MS)
        except (RedisError, OSError) as error:
            log.warning("not_sent", actor=UPLOAD_ASSETS, error=type(error).__name__)
            return False
        return True

    def _want_variant(self, content: str, width: int, media_type: str) -> bool:
        try:
            message = _message(ASSETS, ASSET_VARIANTS, content, width, media_type)
            flag = f"{self._namespace}:variant:{content}:{width}:{media_type}"
            self._broker.send_once(flag, message, stands_for=VARIANT_ASKED_FOR_MS)
        except (RedisError, OSError) as error:
            log.warning("not_sent", actor=ASSET_VARIANTS, error=type(error).__name__)
            return False
        return True

    def _send(self, stage: str, ids: list[int]) -> bool:
        try:
            starts = range(0, len(ids), self._batch)
            self._broker.send([_message(stage, stage, ids[start : start + self._batch]) for start in starts])
        except (RedisError, OSError) as error:
            log.warning("not_sent", actor=stage, ids=len(ids), error=type(error).__name__)
            return False
        return True

    def _asked(self, platform: str) -> str:
        return f"{self._namespace}:rung:{platform}"


def _message(queue: str, actor: str, *arguments: object) -> Message[Any]:
    return Message(queue_name=queue, actor_name=actor, args=arguments, kwargs={}, options={})
