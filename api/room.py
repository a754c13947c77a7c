"""Room in one process for what callers send: bodies on their way, and turns for the work on large bodies and long lists.

Work on a large body or a long list is done one piece at a time. The keys take turns, so that a key with many such pieces delays
its own; and a pause as long as the work follows each piece, so that half of the process's time is left to all other calls.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from api.problems import TooManyBodies

MIB = 1 << 20
MAX_BODIES = 64
"""The most bodies of one key that are read or wait to be decoded."""
MAX_BYTES_OF_KEY = 8 * MIB
"""The most bytes of these bodies together: those that were announced, or those that came where they are more."""
MAX_BYTES_OF_ALL = 64 * MIB
"""The most bytes of the bodies of all keys. Beyond it, each key has one body at a time."""
MAX_PAUSE = 1.0
"""The most seconds for other work after one piece of work."""


class Room:
    """One for each process."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._bodies: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()

    @contextmanager
    def body(self, key_id: int) -> Iterator["Body"]:
        """Hold room for one body of this key until the block ends. Raises `TooManyBodies`."""
        if self._bodies[key_id] >= MAX_BODIES:
            raise TooManyBodies(f"{MAX_BODIES} bodies of one key are read at a time, and as many are on their way")
        self._bodies[key_id] += 1
        body = Body(self, key_id)
        try:
            yield body
        finally:
            self._bodies[key_id] -= 1
            self._bytes[key_id] -= body.bytes
            if not self._bodies[key_id]:
                del self._bodies[key_id], self._bytes[key_id]

    def take(self, key_id: int, count: int) -> None:
        """Raises `TooManyBodies` where there is no room for so many more bytes."""
        if self._bytes[key_id] + count > MAX_BYTES_OF_KEY:
            raise TooManyBodies(f"{MAX_BYTES_OF_KEY} bytes of one key's bodies are read at a time")
        if self._bytes.total() + count > MAX_BYTES_OF_ALL and self._bodies[key_id] > 1:
            raise TooManyBodies("many bodies are on their way, and each key may have one at a time until they are read")
        self._bytes[key_id] += count


class Body:
    """The room that one body takes."""

    __slots__ = ("_key_id", "_room", "bytes")

    def __init__(self, room: Room, key_id: int) -> None:
        self._room, self._key_id = room, key_id
        self.bytes = 0

    def grow(self, size: int) -> None:
        """Take room for a body of at least this many bytes. Raises `TooManyBodies`."""
        if size > self.bytes:
            self._room.take(self._key_id, size - self.bytes)
            self.bytes = size


class Places:
    """At most `most` calls of one key at a time. The others wait, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_key: dict[int, asyncio.Semaphore] = {}
        self._wanted: Counter[int] = Counter()

    @asynccontextmanager
    async def of(self, key_id: int) -> AsyncIterator[None]:
        self._wanted[key_id] += 1
        try:
            async with self._of_key.setdefault(key_id, asyncio.Semaphore(self._most)):
                yield
        finally:
            self._wanted[key_id] -= 1
            if not self._wanted[key_id]:
                del self._wanted[key_id], self._of_key[key_id]

    def full(self, key_id: int) -> bool:
        """Whether one more call of this key would wait."""
        return key_id in self._of_key and self._of_key[key_id].locked()


class Turns:
    """Who may work now. `clock`: seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._one = asyncio.Lock()
        self._of_key = Places(1)
        self._free_at = 0.0

    @asynccontextmanager
    async def of(self, key_id: int) -> AsyncIterator[None]:
        """Wait for this key's turn. No other call works within such a block meanwhile."""
        # A key has one place in the common queue. Its other work queues for that place.
        async with self._of_key.of(key_id), self._one:
            if (pause := self._free_at - self._clock()) > 0:
                await self._sleep(pause)
            began = self._clock()
            try:
                yield
            finally:
                ended = self._clock()
                self._free_at = ended + min(ended - began, MAX_PAUSE)
