"""Commits of the ends of uploads: what comes within a moment together, and as many as a quarter of what is in flight at once.

An end that the database does not take, for example because of what a decoder said, fails its asset alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from beat_actors.assets.claims import LEASE
from beat_actors.assets.commits import End, Ended, State
from beat_actors.assets.fetched import printable
from beat_actors.assets.soonest import Soonest
from beat_actors.errors import StorageBrokenOff, StorageUnavailable
from beat_actors.logger import get_logger

log = get_logger(__name__)

MOST, WITHIN = 200, 0.1
"""Ends of one commit, and seconds that the first of them waits for others."""
SOON = 0.01
"""The same for one whose picture a reader waits for."""
AT_ONCE = 3
"""Commits, and with them connections, at once."""
AGAIN, AGAIN_MOST = 0.1, 2.0
NOT_COMMITTED = "unforeseen: the database does not take how the upload ended; the log of the worker has the reason"


class Committer:
    """For the tasks of one event loop. `write`: commits some ends. `done` gets what was to be written, whether or not it was. `most`: ends that are
    committed at once, whatever else comes; few of them where few are in flight, so that these do not wait for others that cannot come."""

    def __init__(
        self,
        write: Callable[[Sequence[End]], Awaitable[Sequence[Ended]]],
        done: Callable[[Sequence[End]], None],
        most: Callable[[], int] = lambda: MOST,
    ) -> None:
        self._write = write
        self._done = done
        self._most = most
        self._ends: list[End] = []
        self._due = Soonest(self._flush)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def add(self, end: End) -> None:
        """Have it committed soon."""
        self._ends.append(end if end.failure is None else replace(end, failure=printable(end.failure)))
        if len(self._ends) >= self._most():
            self._flush()
        else:
            self._due.within(SOON if end.asset.wanted else WITHIN)

    async def drain(self) -> None:
        """Commit all that was added, and wait for it."""
        self._flush()
        while self._running:
            await asyncio.wait(self._running)

    def _flush(self) -> None:
        self._due.cancel()
        ends, self._ends = self._ends, []
        if ends:
            self._begin(ends)

    def _begin(self, ends: list[End]) -> None:
        task = asyncio.create_task(self._commit(ends))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _commit(self, ends: list[End]) -> None:
        async with self._slots:
            try:
                await self._in_time(ends)
            except StorageUnavailable as error:
                if self._halved(ends, error):
                    return
                meaning = "these assets are uploaded again when their leases have expired"
                log.warning("uploads_not_committed", count=len(ends), error=str(error), meaning=meaning)
            except Exception as error:
                if self._halved(ends, error):  # one of them cannot be committed, and the others can
                    return
                log.exception("upload_not_committed", asset=str(ends[0].asset.public_id))
                await self._give_up(ends[0])
        self._done(ends)

    def _halved(self, ends: list[End], error: Exception) -> bool:
        """Commit each half by itself, where that helps: an end that cannot be committed is found, and so many that take too long are fewer."""
        helps = isinstance(error, StorageBrokenOff) or not isinstance(error, StorageUnavailable)
        if len(ends) < 2 or not helps:
            return False
        for half in (ends[: len(ends) // 2], ends[len(ends) // 2 :]):
            self._begin(half)
        return True

    async def _give_up(self, end: End) -> None:
        """Without this, the asset would be uploaded again after each lease."""
        try:
            await self._in_time([End(end.asset, State.FAILED, failure=NOT_COMMITTED)])
        except Exception:
            log.exception("upload_not_failed", asset=str(end.asset.public_id), meaning="it is uploaded again")

    async def _in_time(self, ends: Sequence[End]) -> None:
        """Commit while the leases may still hold. The fence makes a second commit safe whose first answer was lost."""
        until, pause = time.monotonic() + LEASE, AGAIN
        while True:
            try:
                await self._write(ends)
            except StorageUnavailable as error:
                if time.monotonic() + pause >= until or (isinstance(error, StorageBrokenOff) and len(ends) > 1):
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, AGAIN_MOST)
            else:
                return
