"""The bytes of stored pictures, for readers that get them from this process: read from the bucket once for all who want them at the same time.

A small object is read whole, compared with its SHA-256, and kept for a while. A large one, such as a video, is read part by part as its reader
takes it. Both are bounded, so that readers take a known part of this process's memory.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from beat_actors.errors import BeatError, ObjectMissing, ObjectsUnavailable
from beat_actors.logger import get_logger
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

WHOLE = 1 << 20
"""Bytes up to which an object is read whole."""
PART = 1 << 20
"""Bytes of one part of a larger object."""
MOST_KEPT = 32 << 20
"""Bytes of whole objects that are kept."""
READS = 32
"""Whole objects that are read at a time."""
STREAMS = 64
"""Large objects that are sent at a time."""
WITHIN = 5.0
"""Seconds that a reader waits for the bucket."""
COOLDOWN = 2.0
"""Seconds without a read after one that the bucket did not answer."""


class TooManyStreams(BeatError):
    """Too many large files at once"""

    code = "too_many_streams"


class ObjectDamaged(ObjectMissing):
    """The object has other bytes than its name says, so nobody gets them."""

    code = "object_damaged"


class Bodies:
    """One for each process and event loop."""

    def __init__(self, store: ObjectStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._reads: dict[bytes, asyncio.Task[bytes]] = {}
        self._places = asyncio.Semaphore(READS)
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._away_until = 0.0
        self._streams = 0

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """`None` where the settings name no bucket of assets."""
        store = ObjectStore.of_assets(settings)
        return None if store is None else cls(store)

    async def whole(self, content: bytes, key: str) -> bytes:
        """An object of at most `WHOLE` bytes. Raises `ObjectMissing`, `ObjectDamaged`, `ObjectsUnavailable`."""
        kept = self._kept.get(content)
        if kept is not None:
            self._kept.move_to_end(content)
            return kept
        if content not in self._reads:
            self._refuse_while_away()
            read = self._reads[content] = asyncio.create_task(self._read(content, key))
            read.add_done_callback(lambda done: self._end(content, done))
        return await self._in_time(asyncio.shield(self._reads[content]))

    def check_room(self) -> None:
        """Raises `TooManyStreams`."""
        if self._streams >= STREAMS:
            raise TooManyStreams(f"this process sends {STREAMS} large files at a time, and no more. Try again shortly.")

    async def part(self, key: str, first: int, length: int) -> bytes:
        """A part of a larger object. Raises as `whole` does."""
        self._refuse_while_away()
        try:
            return await self._in_time(self._store.read(key, (first, length)))
        except ObjectsUnavailable:
            self._away_until = self._clock() + COOLDOWN
            raise

    async def rest(self, head: bytes, key: str, first: int, length: int) -> AsyncIterator[bytes]:
        """A part of a larger object, of which `head` was read already. Raises as `whole` does."""
        self._streams += 1
        try:
            yield head
            first, end = first + len(head), first + length
            while first < end:
                piece = await self.part(key, first, min(PART, end - first))
                first += len(piece)
                yield piece
        finally:
            self._streams -= 1

    async def close(self) -> None:
        """Give up what is being read, and close the connections."""
        for read in list(self._reads.values()):
            read.cancel()
        await self._store.close()

    async def _read(self, content: bytes, key: str) -> bytes:
        async with self._places:
            self._refuse_while_away()  # the bucket may have failed while this read waited for its place
            try:
                found = await self._in_time(self._store.read(key))
            except ObjectsUnavailable:
                self._away_until = self._clock() + COOLDOWN
                raise
        if hashlib.sha256(found).digest() != content:
            log.error("object_is_another", key=key, bytes=len(found))
            raise ObjectDamaged(f"the object {key} of the bucket has other bytes than its name says")
        return found

    def _end(self, content: bytes, done: asyncio.Task[bytes]) -> None:
        del self._reads[content]
        if done.cancelled() or done.exception() is not None:
            return
        body = done.result()
        self._kept[content] = body
        self._kept_bytes += len(body)
        while self._kept_bytes > MOST_KEPT:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)

    def _refuse_while_away(self) -> None:
        if self._clock() < self._away_until:
            raise ObjectsUnavailable("the bucket did not answer a moment ago", reason="unreachable")

    async def _in_time(self, work: Awaitable[bytes]) -> bytes:
        try:
            async with asyncio.timeout(WITHIN):
                return await work
        except TimeoutError:
            raise ObjectsUnavailable(f"the bucket did not answer within {WITHIN:g} s", reason="unreachable") from None
