"""Requests that take long: what holds each up, and a hand to take it away from whoever holds it.

The sweeps do so by themselves, by leases within seconds and by each flow's time limit; this is for the person who does not want to wait.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from beat_actors import audit
from beat_actors.database import Database
from beat_actors.errors import BadInput

SECONDS = 600.0
"""What long is, unless somebody says otherwise."""
MOST = 1000
# Not only what a worker holds: a request that waits for a credential has been picked as well, and says so.
STUCK = """
SELECT r.id, r.platform, r.flow, r.picked_at, extract(epoch FROM clock_timestamp() - r.picked_at)::float8 AS seconds,
       count(*) FILTER (WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp())::integer AS held,
       count(*) FILTER (WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING')
                        AND (f.lease_until IS NULL OR f.lease_until <= clock_timestamp()))::integer AS unheld,
       count(*) FILTER (WHERE f.stage = 'WAITING')::integer AS waiting,
       extract(epoch FROM clock_timestamp() - min(f.claimed_at) FILTER (
           WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp()))::float8 AS held_for
FROM scrape_request_log r LEFT JOIN scrape_fetch f ON f.request_id = coalesce(r.joined_to, r.id) AND f.stage <> ALL ('{DONE,FAILED,CANCELLED}')
WHERE r.status = 'PROCESSING' AND r.picked_at < clock_timestamp() - make_interval(secs => %(seconds)s)
GROUP BY r.id ORDER BY r.picked_at, r.id LIMIT %(limit)s
"""
# The fence rises, so that the holder, if it lives, writes nothing; the sweeps settle what was held as they do a dead worker's.
TAKE = """
WITH held AS (
    SELECT id FROM scrape_fetch
    WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND lease_until > clock_timestamp()
      AND claimed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET lease_until = clock_timestamp(), fence = fence + 1 FROM held WHERE f.id = held.id RETURNING f.id, f.request_id
"""


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was picked `seconds` ago and has not ended. Of its fetches `held` are with a worker, the first of them for `held_for`
    seconds; `unheld` are between stages, and the sweeps find them; `waiting` wait for a source, and `beat why` says for which."""

    id: int
    platform: str
    flow: str
    picked_at: datetime
    seconds: float
    held: int
    unheld: int
    waiting: int
    held_for: float | None


@dataclass(frozen=True, slots=True)
class Taken:
    """How many fetches were taken from their holders, of which requests."""

    fetches: int
    requests: tuple[int, ...]


async def stuck(database: Database, *, seconds: float = SECONDS, limit: int = 100) -> list[Stuck]:
    """Those that were picked longest ago. Raises `BadInput`."""
    _check(seconds)
    async with database.statements() as alone:
        rows = await alone.rows(STUCK, {"seconds": seconds, "limit": min(limit, MOST)})
    return [Stuck(**row._asdict()) for row in rows]


async def requeue(database: Database, *, seconds: float = SECONDS, actor: str, reason: str) -> Taken:
    """Take away what somebody has held for longer than that. A call that is out stays charged, and is made anew. Raises `BadInput`."""
    _check(seconds)
    async with database.transaction() as transaction:
        rows = await transaction.rows(TAKE, {"seconds": seconds, "limit": MOST})
        taken = Taken(len(rows), tuple(sorted({row.request_id for row in rows})))
        detail = {"reason": reason, "seconds": seconds, "fetches": taken.fetches, "requests": list(taken.requests[:50])}
        await audit.record(transaction, actor=actor, action="request.requeue", target="requests", detail=detail)
    return taken


def _check(seconds: float) -> None:
    if not 1 <= seconds <= 86_400 * 366:
        raise BadInput("the time is from a second to a year", field="seconds")
