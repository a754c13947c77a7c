"""Rows that many readers ask for at once: one statement at a time looks for all who wait, and what was found is kept for seconds.

A flood of keys that do not exist costs the database one connection, and this process no memory: only what was found is kept.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

from beat_actors.errors import StorageTooSlow, StorageUnavailable
from beat_actors.logger import get_logger

log = get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_TOGETHER = 500
"""Keys of one statement."""
WITHIN = 60.0


class _Kept(NamedTuple, Generic[V]):
    at: float
    value: V


class Lookup(Generic[K, V]):
    """One for each process, event loop and kind of row.

    `load`: reads the rows of up to `MOST_TOGETHER` keys. `fresh`: seconds for which a row is used. `kept`: seconds for which it is used while the
    database does not answer. `most`: rows that are kept; those that were used least recently are dropped.
    """

    def __init__(
        self,
        load: Callable[[Collection[K]], Awaitable[Mapping[K, V]]],
        *,
        fresh: float,
        kept: float,
        most: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._fresh, self._keep, self._most, self._clock = fresh, kept, most, clock
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._clerk: asyncio.Task[None] | None = None
        self.statements = 0
        """How many were run."""

    def known(self, key: K) -> V | None:
        """The row if it is fresh. Without I/O."""
        return self._used(key, self._fresh)

    async def find(self, key: K, *, within: float = WITHIN, anew: bool = False) -> V | None:
        """The row; `None` where there is none. `anew`: not from what is kept.

        Raises `StorageUnavailable` where the database does not answer `within` so many seconds and no row is kept.
        """
        if not anew and (known := self.known(key)) is not None:
            return known
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(self._ask(key))
        except (StorageUnavailable, TimeoutError) as error:
            if (known := self._used(key, self._keep)) is not None:
                return known
            if isinstance(error, StorageUnavailable):
                raise
            raise StorageTooSlow("the row was not looked up in the time that a caller is kept") from None

    async def close(self) -> None:
        """Ends when what was begun is done."""
        if self._clerk is not None:
            await self._clerk

    def _used(self, key: K, seconds: float) -> V | None:
        found = self._kept.get(key)
        if found is None or self._clock() - found.at >= seconds:
            return None
        self._kept.move_to_end(key)
        return found.value

    def _ask(self, key: K) -> asyncio.Future[V | None]:
        if key not in self._asked:
            answer = self._asked[key] = asyncio.get_running_loop().create_future()
            # Nobody may be waiting for it, and what failed is asked again.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            if self._clerk is None or self._clerk.done():
                self._clerk = asyncio.create_task(self._work())
        return self._asked[key]

    async def _work(self) -> None:
        while self._asked:
            asked = {key: self._asked.pop(key) for key in list(self._asked)[:MOST_TOGETHER]}
            began = self._clock()
            self.statements += 1
            try:
                found = await self._load(asked.keys())
            except Exception as error:
                if not isinstance(error, StorageUnavailable):
                    log.exception("rows_not_looked_up")
                for answer in asked.values():
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for key, answer in asked.items():
                self._keep_one(key, found.get(key), began)
                if not answer.done():
                    answer.set_result(found.get(key))

    def _keep_one(self, key: K, value: V | None, at: float) -> None:
        self._kept.pop(key, None)
        if value is None:
            return
        self._kept[key] = _Kept(at, value)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
