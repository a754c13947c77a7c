"""Onward: a process reads and writes what it has retrieved, without a message and a claim in between.

The stages stay what they are for whatever is resumed: what this process may not parse, has no room for, or breaks off goes to `ingest`.
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from beat_actors.engine import Engine
from beat_actors.failpoints import hit
from beat_actors.pipeline.batches import Batches
from beat_actors.pipeline.ingest import Retrieved, read
from beat_actors.pipeline.stage import Renewer, StageResult, left_undone_given_back

log = structlog.get_logger(__name__)

Deliver = Callable[[StageResult, Sequence[int]], Awaitable[None]]

MOST = 300
"""Fetches that wait here at most, with their packed answers in memory. More than that is left to `ingest`, in whichever process has time."""
TOGETHER, AT_ONCE = 50, 2
"""Fetches that are written in one transaction at most, and transactions at a time."""
URGENT_TOGETHER, URGENT_AT_ONCE = 10, 4


class Onward:
    """One for each process that may parse what providers answer.

    `deliver` is told what is to be done next, and which fetches were left to `ingest`.
    """

    def __init__(self, engine: Engine, deliver: Deliver) -> None:
        self._engine = engine
        self._deliver = deliver
        self._waiting = 0
        self._closed = False
        self._renewer = Renewer(engine.database)
        self._urgent = Batches(self._read, every=0.0, enough=1, most=URGENT_TOGETHER, at_once=URGENT_AT_ONCE)
        self._others = Batches(self._read, every=0.0, enough=1, most=TOGETHER, at_once=AT_ONCE)

    @property
    def has_room(self) -> bool:
        """Whether what is retrieved now may stay in this process."""
        return not self._closed and self._waiting < MOST

    def take(self, claims: Sequence[Retrieved], *, urgent: bool) -> None:
        """Read and write these, which this process has claimed."""
        self._renewer.hold(claims)
        self._waiting += len(claims)
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

    async def _read(self, claims: Sequence[Retrieved]) -> None:
        result, left = StageResult(), list[int]()
        try:
            async with left_undone_given_back(self._engine.database, claims, "RETRIEVED"):
                hit("through.before_read", [claim.id for claim in claims])
                await read(self._engine, claims, result, go_on=True)
        except Exception as error:  # noqa: BLE001 - they were given back, and their stage finds out which of them it was
            self._engine.own_trouble.caused(error)
            log.warning("left_to_ingest", fetches=len(claims), error=type(error).__name__)
            left = [claim.id for claim in claims]
        finally:
            self._waiting -= len(claims)
            self._renewer.release(claims)
        await self._deliver(result, left)
