"""What the stages share: the lease that is renewed while work runs, and what a stage says is to be done next."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable
from beat_actors.fetches.holding import Claim, Held, give_back, held, renew
from beat_actors.fetches.states import Stage
from beat_actors.logger import get_logger
from beat_actors.observe import families

log = get_logger(__name__)

RENEW_EVERY = 2.0
"""Seconds at most between two renewals, which is also how soon a holder learns that its work was taken from it."""


@dataclass(slots=True)
class StageResult:
    """`next` fetches are ready for the following stage; `wake`: platforms that want a turn of the broker."""

    next: list[int] = field(default_factory=list)
    wake: set[str] = field(default_factory=set)
    zombies: int = 0

    def add(self, other: "StageResult") -> None:
        """What another batch came to is to be done as well."""
        self.next += other.next
        self.wake |= other.wake
        self.zombies += other.zombies


def staged(database: Database, stage: str, items: int, seconds: float) -> None:
    """Count a batch of a stage for the metrics."""
    counts = database.metrics.counts
    counts.observe(families.STAGE_SECONDS, stage, value=seconds)
    counts.observe(families.STAGE_BATCH, stage, value=items)


def fenced(database: Database, stage: str, rejected: int) -> None:
    """Log and count writes of a stage that others had taken over; 0 says nothing."""
    if rejected:
        log.warning("fenced_writes", stage=stage, rejected=rejected)
        database.metrics.counts.add(families.FENCED_WRITES, stage, by=rejected)


class Renewer:
    """Renews the leases of the claims that it holds: one statement for all of them, every 2 s at most.

    `on_lost` gets, once for each, those that are held no longer: taken over, or past their time limit. A renewal that
    fails is only logged: the fence on the stage's commit is what protects, not the lease.
    """

    def __init__(self, database: Database, *, on_lost: Callable[[set[Held]], None] = lambda _lost: None) -> None:
        self._database = database
        self._on_lost = on_lost
        self._held: set[Held] = set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, claims: Sequence[Claim]) -> None:
        """From now on, renew the leases of these claims (id, fence)."""
        self._held |= held(claims)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew())

    def release(self, claims: Sequence[Claim]) -> None:
        """These were committed, or handed back."""
        self._held -= held(claims)

    async def close(self) -> None:
        """Renew no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _renew(self) -> None:
        lease = self._database.settings.stage_lease
        while self._held:
            await asyncio.sleep(min(lease / 3, RENEW_EVERY))
            asked = list(self._held)
            try:
                stand = await renew(self._database, asked)
            except Exception as error:  # noqa: BLE001 - whatever it was: all that the process holds hangs on the next renewal
                log.warning("lease_not_renewed", fetches=len(asked), error=repr(error))
                continue
            lost = (set(asked) - stand) & self._held
            if lost:
                log.warning("lease_lost", fetches=sorted(fetch_id for fetch_id, _ in lost)[:20], count=len(lost))
                self._held -= lost
                self._on_lost(lost)


@asynccontextmanager
async def renewing(database: Database, claims: Sequence[Claim]) -> AsyncIterator[None]:
    """Renew the leases of these claims while the block runs."""
    renewer = Renewer(database)
    renewer.hold(claims)
    try:
        yield
    finally:
        await renewer.close()


@asynccontextmanager
async def left_undone_given_back(database: Database, claims: Sequence[Claim], stage: Stage) -> AsyncIterator[None]:
    """The last resort: where the block raises, those of these claims that are still in `stage` are given back at once, and no try is
    counted against them. Where PostgreSQL is away, their leases run out."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(StorageUnavailable):
            await give_back(database, claims, stage, tried=False)
        raise
