"""Small commits: the ends of uploads, a few at a time, as they come.

An end that the database does not take, for example because of what a decoder said, fails its asset alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from beat_actors.assets.claims import LEASE
from beat_actors.assets.commits import End, Ended, State
from beat_actors.assets.fetched import printable
from beat_actors.errors import StorageUnavailable
from beat_actors.logger import get_logger

log = get_logger(__name__)

MOST, WITHIN = 200, 0.1
"""Ends of one commit, and seconds that the first of them waits for others."""
AT_ONCE = 3
"""Commits, and with them connections, at once."""
AGAIN, AGAIN_MOST = 0.1, 2.0
NOT_COMMITTED = "unforeseen: the database does not take how the upload ended; the log of the worker has the reason"


class Committer:
    """For the tasks of one event loop. `write`: commits some ends. `done` gets what was to be written, whether or not it was."""

    def __init__(
        self, write: Callable[[Sequence[End]], Awaitable[Sequence[Ended]]], done: Callable[[Sequence[End]], None]
    ) -> None:
        self._write = write
        self._done = done
        self._ends: list[End] = []
        self._timer: asyncio.TimerHandle | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def add(self, end: End) -> None:
        """Have it committed soon."""
        self._ends.append(end if end.failure is None else replace(end, failure=printable(end.failure)))
        if len(self._ends) >= MOST:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WITHIN, self._flush)

    async def drain(self) -> None:
        """Commit all that was added, and wait for it."""
        self._flush()
        while self._running:
            await asyncio.wait(self._running)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends, self._ends = self._ends, []
        if ends:
            task = asyncio.create_task(self._commit(ends))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _commit(self, ends: list[End]) -> None:
        async with self._slots:
            try:
                await self._in_time(ends)
            except StorageUnavailable as error:
                meaning = "these assets are uploaded again when their leases have expired"
                log.warning("uploads_not_committed", count=len(ends), error=str(error), meaning=meaning)
            except Exception:
                if len(ends) > 1:  # one of them cannot be committed, and the others can
                    for end in ends:
                        self._ends.append(end)
                        self._flush()
                    return
                log.exception("upload_not_committed", asset=str(ends[0].asset.public_id))
                await self._give_up(ends[0])
        self._done(ends)

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
            except StorageUnavailable:
                if time.monotonic() + pause >= until:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, AGAIN_MOST)
            else:
                return
