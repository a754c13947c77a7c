"""Puts contents into the bucket: each once, however many assets have it, and none while the bucket does not answer."""

import asyncio
import hashlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol

from beat_actors.assets.commits import How
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.soonest import Soonest
from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.logger import get_logger
from beat_actors.transport.objects import SLOW, Head

log = get_logger(__name__)

CACHE_CONTROL = "public, max-age=31536000, immutable"
IN_A_ROW = 3
"""Failures in a row from which on the bucket is taken to be down."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds until one upload probes a bucket that is down."""
VERIFIED = 8 << 20
"""Bytes up to which an object is read, where the bucket has it and the database does not know it. Of a larger one the size is compared."""
REMEMBERED, FOR = 10_000, 60.0
"""Contents that are remembered to be in the bucket, and for how many seconds. Those that delete objects wait longer."""
ASKED, WITHIN = 200, 0.05
"""Contents that the database is asked about at once, and seconds in which they are collected."""
SOON = 0.005
"""The same for a content that a reader waits for."""
ASKS = 2
"""Questions, and with them connections to the database, at once."""
DAMAGED = "damaged"
OF_ONE = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "EntityTooLarge",
        DAMAGED,
    }
)
"""Refusals of one object that say nothing of the bucket."""


class Store(Protocol):
    """What is used of `transport.objects.ObjectStore`."""

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
        sha256: bytes | None = None,
    ) -> bool: ...

    async def put_file(
        self, key: str, file: BinaryIO, size: int, *, content_type: str | None = None, cache_control: str | None = None
    ) -> bool: ...

    async def head(self, key: str) -> Head: ...

    async def read(self, key: str) -> bytes: ...

    async def delete(self, keys: Sequence[str]) -> None: ...

    async def puts_per_second(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be stored: in `data`, or in a `file`. `digest`: its SHA-256."""

    digest: bytes
    media_type: str
    size: int
    width: int
    height: int
    data: bytes = b""
    file: BinaryIO | None = None


class BucketDown(Exception):
    """The bucket does not answer. Nothing is sent for `pause` seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__("the bucket is down")
        self.pause = pause


class Placed(NamedTuple):
    """A content that is in the bucket. `puts`: requests of this upload."""

    how: How
    puts: int


class Breaker:
    """Of the bucket. While it is open, one upload at a time probes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = 0.0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= IN_A_ROW

    @property
    def pause(self) -> float:
        """Seconds until a probe may be sent; 0 where anything may."""
        return max(self._probe_at - self._clock(), 0.0) if self.is_open else 0.0

    def succeeded(self) -> None:
        self._failures, self._pause = 0, 0.0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= IN_A_ROW and self._clock() >= self._probe_at:
            self._pause = min(self._pause * 2, LONGEST_PAUSE) if self._pause else FIRST_PAUSE
            self._probe_at = self._clock() + self._pause * random.uniform(0.8, 1.2)


class Storing:
    """For the tasks of one event loop. `known`: asks the database which contents are in the bucket. `most`: contents that it is asked about
    at once, whatever else comes. `trouble`: gets what the bucket said once it is
    taken to be down, and None when it takes objects again."""

    def __init__(
        self,
        store: Store,
        known: Callable[[Sequence[bytes]], Awaitable[set[bytes]]],
        breaker: Breaker | None = None,
        trouble: Callable[[str | None], None] = lambda _said: None,
        most: Callable[[], int] = lambda: ASKED,
    ) -> None:
        self.breaker = breaker or Breaker()
        self._most = most
        self._due = Soonest(self._ask)
        self._trouble = trouble
        self.waiting = 0
        """Uploads that have their picture, and wait for the bucket."""
        self._store = store
        self._known = known
        self._under_way: dict[bytes, asyncio.Future[How]] = {}
        self._there: OrderedDict[bytes, tuple[How, float]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bool]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._asks = asyncio.Semaphore(ASKS)

    async def place(self, what: Content, *, soon: bool = False) -> Placed:
        """Have it in the bucket. `soon`: a reader waits for it. Raises `BucketDown`, `ObjectsUnavailable`, and `StorageUnavailable` where the database does not answer."""
        content = what.digest
        if (how := self._remembered(content)) is not None:
            return Placed(how, 0)
        if (other := self._under_way.get(content)) is not None:
            return Placed(await asyncio.shield(other), 0)
        mine = self._under_way[content] = asyncio.get_running_loop().create_future()
        self.waiting += 1
        try:
            placed = await self._place(what, soon)
        except BaseException as error:
            mine.set_exception(error if isinstance(error, Exception) else BucketDown(FIRST_PAUSE))
            mine.exception()  # nobody may wait for it
            raise
        else:
            mine.set_result(placed.how)
            self._remember(content, placed.how)
            return placed
        finally:
            self.waiting -= 1
            del self._under_way[content]

    async def _place(self, what: Content, soon: bool) -> Placed:
        if await self._is_known(what.digest, soon):
            return Placed(How.KNOWN, 0)
        if pause := self.breaker.pause:
            raise BucketDown(pause)
        try:
            placed = await self._stored(what)
        except ObjectsUnavailable as error:
            if error.reason in SLOW or error.reason in OF_ONE:
                raise
            self.breaker.failed()
            if self.breaker.is_open:
                self._trouble(str(error))
            raise BucketDown(max(self.breaker.pause, FIRST_PAUSE)) from error
        self.breaker.succeeded()
        self._trouble(None)
        return placed

    async def _stored(self, what: Content) -> Placed:
        """Put it. Where the bucket says that it has the key, look at the object: it may have been deleted meanwhile, or be damaged. A damaged object
        is good for nobody, so it is replaced."""
        key = key_of(what.digest)
        for puts in (1, 2):
            if await self._put(key, what):
                return Placed(How.MADE, puts)
            try:
                if await self._is_whole(key, what):
                    return Placed(How.THERE, puts)
            except ObjectMissing:
                continue
            log.error("object_damaged", key=key, expected=what.size, automatic="it is stored anew")
            try:
                await self._store.delete([key])
            except ObjectsUnavailable as error:
                said = f"the object {key} is damaged and cannot be deleted ({error.reason})"
                raise ObjectsUnavailable(f"{said}: allow this process s3:DeleteObject", reason=DAMAGED) from error
        raise ObjectsUnavailable(f"the object {key} changes while it is stored", reason=DAMAGED)

    async def _is_whole(self, key: str, what: Content) -> bool:
        """Raises `ObjectMissing`."""
        if (await self._store.head(key)).size != what.size:
            return False
        if what.size > VERIFIED:
            return True
        body = await self._store.read(key)
        return (await asyncio.to_thread(hashlib.sha256, body)).digest() == what.digest

    async def _put(self, key: str, what: Content) -> bool:
        headers = {"content_type": what.media_type, "cache_control": CACHE_CONTROL}
        if what.file is not None:
            what.file.seek(0)
            return await self._store.put_file(key, what.file, what.size, **headers)
        return await self._store.put(key, what.data, sha256=what.digest, **headers)

    async def _is_known(self, content: bytes, soon: bool) -> bool:
        """Ask together with others that ask at the same time."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked[content] = answer
        if len(self._asked) >= self._most():
            self._ask()
        else:
            self._due.within(SOON if soon else WITHIN)
        return await answer

    def _ask(self) -> None:
        self._due.cancel()
        asked, self._asked = self._asked, {}
        if asked:
            task = asyncio.create_task(self._answer(asked))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _answer(self, asked: dict[bytes, asyncio.Future[bool]]) -> None:
        try:
            async with self._asks:
                known = await self._known(list(asked))
        except Exception as error:  # noqa: BLE001 - each of those that asked raises it
            for answer in asked.values():
                if not answer.done():
                    answer.set_exception(error)
        else:
            for content, answer in asked.items():
                if not answer.done():
                    answer.set_result(content in known)

    def _remembered(self, content: bytes) -> How | None:
        found = self._there.get(content)
        return found[0] if found is not None and time.monotonic() - found[1] < FOR else None

    def _remember(self, content: bytes, how: How) -> None:
        if how is How.THERE:
            return  # the next one finds its row
        self._there[content] = (how, time.monotonic())
        self._there.move_to_end(content)
        if len(self._there) > REMEMBERED:
            self._there.popitem(last=False)
