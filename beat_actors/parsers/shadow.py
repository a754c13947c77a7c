"""Shadow mode: the parser of this checkout reads what providers answer now, beside the parser that is deployed, and only reports.

It runs in a process of its own, on any host that reaches the database, so that whatever the new parser does harms no worker: a payload on which it
hangs or that takes too much memory is counted as unreadable, and the next one is read. Its input are the payloads that workers have stored, some
seconds after they came; what it reads is compared with the log rows of the same fetches, as in `diff`.
"""

import asyncio
import resource
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from beat_actors.database import Database, Statements
from beat_actors.database.clock import elapsed
from beat_actors.errors import BadInput, StorageUnavailable
from beat_actors.parsers.comparison import Observation
from beat_actors.parsers.diff import PATIENT, READ_ONLY, Comparing, Difference, Fetched
from beat_actors.pipeline.isolation import limit_memory

SETTLED = 30.0
"""Seconds after an answer within which its fetch ends as a rule. One that ends later is not compared."""
LOOKED = 20_000
"""Answers of the source that one look takes into account, the newest first."""
PATIENCE = 10.0
"""Seconds that the parser may take for one payload."""
LONGEST = 7 * 86_400.0
SQL = Statements(__file__)
ENDED = SQL("ended", Fetched)


class TookTooLong(BaseException):
    """A parser took more than `PATIENCE`. No `Exception`: a parser that catches all of them would go on."""


class Shadow(Comparing):
    """Compares what comes while it runs. `most`: payloads of one look, the newest first. `trouble`: why the last look did not work."""

    def __init__(self, database: Database, source: str, operation: str, *, most: int) -> None:
        super().__init__(database, source, operation)
        if not 1 <= most <= LOOKED:
            raise BadInput(f"a look compares 1 to {LOOKED:,} payloads", field="most")
        self._most = most
        self._looked_until: float | None = None
        self.trouble: StorageUnavailable | None = None

    @property
    def payloads(self) -> int:
        return self._payloads

    async def look(self) -> None:
        """Compare what came since the last look; the first one only notes the time. PostgreSQL may be away: the next look goes back to the last one
        that worked. What could be listed and not be read is left out, so that nothing is counted twice."""
        try:
            async with self._database.transaction() as transaction:
                until = await transaction.now() - SETTLED
                since, found = self._looked_until, list[Fetched]()
                if since is not None:
                    await transaction.run(READ_ONLY)
                    await transaction.run(PATIENT)
                    of = {"platform": self._platform.name, "source": self._source, "operation": self._operation}
                    span = {"since": since, "until": until, "looked": LOOKED, "limit": self._most}
                    found = await transaction.rows(ENDED, of | span)
            self._looked_until = until
            await self._chunk(found)
        except StorageUnavailable as error:
            self.trouble = error
        else:
            self.trouble = None

    def _read(self, fetch: Fetched, packed: bytes) -> list[Observation] | None:
        try:
            with _limited(PATIENCE):
                return super()._read(fetch, packed)
        except TookTooLong:
            reason = f"it took more than {PATIENCE:g} seconds"
        except MemoryError:
            reason = "it took more memory than a worker has for one payload"
        self._reasons.add(reason, fetch.id)
        return None


async def follow(
    shadow: Shadow,
    *,
    seconds: float,
    every: float,
    threshold: float,
    told: Callable[[Shadow], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Difference:
    """Look each `every` seconds for so long, or until the task is cancelled; what differs. `told`: called after each look.

    Raises `BadInput`; `StorageUnavailable` and `NotFound` where nothing was compared.
    """
    if not 1 <= seconds <= LONGEST:
        raise BadInput(f"it runs for 1 second to {LONGEST / 86_400:g} days", field="minutes")
    if not 1 <= every <= 3600:
        raise BadInput("it looks every 1 to 3,600 seconds", field="every")
    if not 0 <= threshold <= 1:
        raise BadInput("threshold is a share from 0 to 1, such as 0.005 for 0.5 %", field="threshold")
    began = elapsed()
    try:
        with _limited_memory():
            await shadow.look()
            while (left := seconds - (elapsed() - began)) > 0:
                await sleep(min(every, left))
                await shadow.look()
                told(shadow)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not shadow.payloads or task is None:
            raise
        task.uncancel()  # who stops it wants to see what it has found
    if shadow.trouble is not None and not shadow.payloads:
        raise shadow.trouble
    return shadow.result(threshold)


@contextmanager
def _limited_memory() -> Iterator[None]:
    """As much as a worker has for a payload that may be poison; afterwards as before."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit_memory()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises `TookTooLong` inside, after so long. Only the main thread can be interrupted; elsewhere nothing is limited."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, again)
        signal.signal(signal.SIGALRM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise TookTooLong
