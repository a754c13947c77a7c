"""What the stages share: the lease that is renewed while work runs, and what a stage says is to be done next."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable

log = structlog.get_logger(__name__)

RENEW = """
UPDATE scrape_fetch f SET lease_until = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::bigint[], %s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.lease_until IS NOT NULL RETURNING f.id
"""
# What was tried often may be what kills the workers. The message of its batch comes back whenever a worker dies, and each loss would
# bring its neighbours nearer to quarantine too: from then on it is claimed in a process of its own (`alone`) and nowhere else.
UNSUSPECTED = "(stage_attempts < %(suspect)s OR %(alone)s)"
RENEW_EVERY = 2.0
"""Seconds at most between two renewals, which is also how soon a holder learns that its work was taken from it."""
# Where a stage hands a fetch back to the broker. `n` carries one row for each, fenced by what the caller has just updated.
SETTLE = """
INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, calls, probe, code, detail,
                        retry_after, reported_remaining, reported_reset, at, generation)
SELECT n.platform, n.fetch_id, n.fence, n.credential_id, n.source, n.operation, n.outcome, n.calls, n.probe, n.code, n.detail,
       n.retry_after, n.reported_remaining, n.reported_reset, coalesce(to_timestamp(n.at), clock_timestamp()), n.generation
FROM jsonb_to_recordset(%s::jsonb) AS n(
    platform text, fetch_id bigint, fence integer, credential_id bigint, source text, operation text, outcome text, calls integer,
    probe boolean, code text, detail text, retry_after double precision, reported_remaining integer,
    reported_reset double precision, at double precision, generation integer)
"""


@dataclass(slots=True)
class StageResult:
    """`next` fetches are ready for the following stage; `ring` platforms want a turn of the broker."""

    next: list[int] = field(default_factory=list)
    ring: set[str] = field(default_factory=set)
    zombies: int = 0


@asynccontextmanager
async def renewing(
    database: Database, claims: Sequence[Any], *, on_lost: Callable[[set[int]], None] = lambda _lost: None
) -> AsyncIterator[None]:
    """Keep the leases of these claims (id, fence) alive while the block runs.

    `on_lost` is told, once for each, which of them are held no longer: taken over, or past their time limit. A renewal that
    fails is only logged: the fence on the stage's commit is what protects, not the lease.
    """
    lease = database.settings.stage_lease
    held = {claim.id: claim.fence for claim in claims}

    async def renew() -> None:
        while held:
            await asyncio.sleep(min(lease / 3, RENEW_EVERY))
            try:
                async with database.statements() as alone:
                    rows = await alone.rows(RENEW, (lease, list(held), list(held.values())))
            except StorageUnavailable as error:
                log.warning("lease_not_renewed", fetches=len(held), error=str(error))
                continue
            lost = held.keys() - {row.id for row in rows}
            if lost:
                log.warning("lease_lost", fetches=sorted(lost)[:20], count=len(lost))
                on_lost(lost)
            for fetch_id in lost:
                del held[fetch_id]

    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


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
    }
    return row | fields
