"""Onward: a process reads and writes what it has retrieved, without a message and a claim in between.

The stages stay what they are for whatever is resumed: what this process may not parse, has no room for, or breaks off goes to `ingest`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from beat_actors.engine import Engine
from beat_actors.failpoints import hit
from beat_actors.fetches.claims import Retrieved
from beat_actors.fetches.states import Stage
from beat_actors.logger import get_logger
from beat_actors.pipeline.batches import Batches
from beat_actors.pipeline.ingest import read
from beat_actors.pipeline.stage import Renewer, StageResult, left_undone_given_back

log = get_logger(__name__)

Deliver = Callable[[StageResult, Sequence[int]], Awaitable[None]]

MOST, MOST_BYTES = 300, 64_000_000
"""Fetches that wait here, and bytes of their packed answers, above which more is left to `ingest`, in whichever process has time. Urgent ones
and others count apart. Commits that run at the same time may each fill the same room."""
TOGETHER, AT_ONCE = 50, 2
"""Fetches that are written in one transaction at most, and transactions at a time."""
URGENT_TOGETHER, URGENT_AT_ONCE = 10, 4


class Onward:
    """One for each process that may parse what providers answer.

    `deliver` gets what is to be done next, and which fetches were left to `ingest`.
    """

    def __init__(self, engine: Engine, deliver: Deliver) -> None:
        self._engine = engine
        self._deliver = deliver
        self._waiting: Counter[bool] = Counter()
        self._bytes: Counter[bool] = Counter()
        self._closed = False
        self._renewer = Renewer(engine.database)
        self._urgent = Batches(
            partial(self._read, urgent=True), every=0.0, enough=1, most=URGENT_TOGETHER, at_once=URGENT_AT_ONCE
        )
        self._others = Batches(partial(self._read, urgent=False), every=0.0, enough=1, most=TOGETHER, at_once=AT_ONCE)

    def has_room(self, bodies: Sequence[bytes], *, urgent: bool) -> bool:
        """Whether fetches with these packed answers may stay in this process."""
        fetches = self._waiting[urgent] + len(bodies)
        size = self._bytes[urgent] + sum(map(len, bodies))
        return not self._closed and fetches <= MOST and size <= MOST_BYTES

    def take(self, claims: Sequence[Retrieved], *, urgent: bool) -> None:
        """Read and write these, which this process has claimed."""
        self._renewer.hold(claims)
        self._waiting[urgent] += len(claims)
        self._bytes[urgent] += _size(claims)
        batches = self._urgent if urgent else self._others
        batches.add_all(claims)

    def take_no_more(self) -> None:
        """From now on, what is retrieved is left to other processes."""
        self._closed = True

    async def done(self) -> None:
        """Wait until all that was taken is written or given back."""
        await self._urgent.done()
        await self._others.done()

    async def close(self) -> None:
        await self._renewer.close()

    async def _read(self, claims: Sequence[Retrieved], *, urgent: bool) -> None:
        result, left = StageResult(), list[int]()
        try:
            async with left_undone_given_back(self._engine.database, claims, Stage.RETRIEVED):
                hit("through.before_read", [claim.id for claim in claims])
                await read(self._engine, claims, result, go_on=True)
        except Exception as error:  # noqa: BLE001 - they were given back, and their stage finds out which of them it was
            self._engine.own_trouble.caused(error)
            log.warning("left_to_ingest", fetches=len(claims), error=type(error).__name__)
            left = [claim.id for claim in claims]
        finally:
            self._waiting[urgent] -= len(claims)
            self._bytes[urgent] -= _size(claims)
            self._renewer.release(claims)
        await self._deliver(result, left)


def _size(claims: Sequence[Retrieved]) -> int:
    return sum(len(claim.body or b"") for claim in claims)
