"""What the stages share: the lease that is renewed while work runs, and what a stage says is to be done next."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.requests.lifecycle import SUSPECT

log = structlog.get_logger(__name__)

# Renews the leases of claims (arrays of fetch and fence), and returns the claims that stand. It locks the fetches by their ids, and waits for
# none of them: one that is locked is being committed, and a renewal that waited for the commit could deadlock with it.
RENEW = """
WITH n AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::integer[]) AS n(id, fence)
), free AS (
    SELECT f.id FROM n JOIN scrape_fetch f ON f.id = n.id AND f.fence = n.fence AND f.lease_until IS NOT NULL
    ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
), renewed AS (
    UPDATE scrape_fetch f SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s) FROM free WHERE f.id = free.id
)
SELECT f.id, f.fence FROM n JOIN scrape_fetch f ON f.id = n.id AND f.fence = n.fence AND f.lease_until IS NOT NULL
"""
# What was tried often may be what kills the workers. The message of its batch comes back whenever a worker dies, and each loss would
# bring its neighbours nearer to quarantine too: from then on it is claimed in a process of its own (`alone`) and nowhere else.
UNSUSPECTED = "(stage_attempts < %(suspect)s OR %(alone)s)"
RENEW_EVERY = 2.0
"""Seconds at most between two renewals, which is also how soon a holder learns that its work was taken from it."""
# Where a stage hands a fetch back to the broker. `n` carries one row for each, fenced by what the caller has just updated.
SETTLE = """
INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, calls, probe, code, detail,
                        retry_after, reported_remaining, reported_reset, at, generation, began, owner, process)
SELECT n.platform, n.fetch_id, n.fence, n.credential_id, n.source, n.operation, n.outcome, n.calls, n.probe, n.code, n.detail,
       n.retry_after, n.reported_remaining, n.reported_reset, coalesce(to_timestamp(n.at), clock_timestamp()), n.generation,
       to_timestamp(n.began), coalesce(n.owner, ''), coalesce(n.process, '')
FROM jsonb_to_recordset(%s::jsonb) AS n(
    platform text, fetch_id bigint, fence integer, credential_id bigint, source text, operation text, outcome text, calls integer,
    probe boolean, code text, detail text, retry_after double precision, reported_remaining integer,
    reported_reset double precision, at double precision, generation integer, began double precision, owner text, process text)
"""


# Lets go of claims that nothing was done for. A claim is this worker's as long as its fence stands. Parameters: tries to take back, the
# stage, arrays of (fetch, fence). Locks the fetches in no order, and nobody waits for them: a claim skips what is locked.
GIVE_BACK = """
UPDATE scrape_fetch f SET lease_until = NULL, stage_attempts = greatest(f.stage_attempts - %s, 0), sent_at = clock_timestamp()
FROM unnest(%s::bigint[], %s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.stage = %s AND f.lease_until IS NOT NULL
"""


@dataclass(slots=True)
class StageResult:
    """`next` fetches are ready for the following stage; `ring` platforms want a turn of the broker."""

    next: list[int] = field(default_factory=list)
    ring: set[str] = field(default_factory=set)
    zombies: int = 0

    def add(self, other: "StageResult") -> None:
        """What another batch came to is to be done as well."""
        self.next += other.next
        self.ring |= other.ring
        self.zombies += other.zombies


async def claim_all(engine: Engine, statement: str, fetch_ids: Sequence[int], *, alone: bool) -> list[Any]:
    """The rows that a stage's claim, `statement`, gives of these fetches."""
    settings = engine.settings
    values = {"lease": settings.stage_lease, "attempts": settings.stage_attempts, "suspect": SUSPECT, "alone": alone}
    async with engine.database.transaction() as transaction:
        return await transaction.rows(statement, {"ids": list(fetch_ids), **values}, binary=True)


Held = tuple[int, int]
"""A fetch and the fence under which it is held. A process may hold one fetch twice, when it lost the first claim and has not learnt of it."""


def held(claims: Sequence[Any]) -> set[Held]:
    """These claims (id, fence)."""
    return {(claim.id, claim.fence) for claim in claims}


class Renewer:
    """Renews the leases of the claims that it holds: one statement for all of them, every 2 s at most.

    `on_lost` is told, once for each, which of them are held no longer: taken over, or past their time limit. A renewal that
    fails is only logged: the fence on the stage's commit is what protects, not the lease.
    """

    def __init__(self, database: Database, *, on_lost: Callable[[set[Held]], None] = lambda _lost: None) -> None:
        self._database = database
        self._on_lost = on_lost
        self._held: set[Held] = set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, claims: Sequence[Any]) -> None:
        """From now on, renew the leases of these claims (id, fence)."""
        self._held |= held(claims)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew())

    def release(self, claims: Sequence[Any]) -> None:
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
            arrays = {"ids": [fetch_id for fetch_id, _ in asked], "fences": [fence for _, fence in asked]}
            try:
                async with self._database.statements() as alone:
                    stand = await alone.rows(RENEW, {"lease": lease, **arrays})
            except Exception as error:  # noqa: BLE001 - whatever it was: all that the process holds hangs on the next renewal
                log.warning("lease_not_renewed", fetches=len(asked), error=repr(error))
                continue
            lost = (set(asked) - held(stand)) & self._held
            if lost:
                log.warning("lease_lost", fetches=sorted(fetch_id for fetch_id, _ in lost)[:20], count=len(lost))
                self._held -= lost
                self._on_lost(lost)


@asynccontextmanager
async def renewing(database: Database, claims: Sequence[Any]) -> AsyncIterator[None]:
    """Renew the leases of these claims while the block runs."""
    renewer = Renewer(database)
    renewer.hold(claims)
    try:
        yield
    finally:
        await renewer.close()


@asynccontextmanager
async def left_undone_given_back(database: Database, claims: Sequence[Any], stage: str) -> AsyncIterator[None]:
    """The last resort: where the block raises, those of these claims that are still in `stage` are given back at once, and no try is
    counted against them. Where PostgreSQL is away, their leases run out."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(StorageUnavailable):
            await give_back(database, claims, stage, tried=False)
        raise


async def give_back(database: Database, claims: Sequence[Any], stage: str, *, tried: bool) -> None:
    """Let go of claims (id, fence), for a sweep to send again. `tried`: they may be at fault, so the try counts."""
    if claims:
        ids, fences = [claim.id for claim in claims], [claim.fence for claim in claims]
        async with database.transaction() as transaction:
            await transaction.run(GIVE_BACK, (int(not tried), ids, fences, stage))


def settlement_row(claim: Any, outcome: str, **fields: Any) -> dict[str, Any]:
    """One settlement; `claim` gives the fetch, its fence, what it was leased with, and the secret's generation if it made the call."""
    row = {
        "platform": claim.platform,
        "fetch_id": claim.id,
        "fence": claim.fence,
        "credential_id": claim.credential_id,
        "source": claim.source,
        "operation": claim.operation,
        "outcome": outcome,
        "calls": 1,
        "probe": claim.probe,
        "code": "",
        "detail": "",
        "generation": getattr(claim, "generation", None),
        "owner": claim.owner,
    }
    return row | fields
