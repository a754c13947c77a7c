"""Long-running requests: what blocks each, and how an operator reclaims it from its worker.

The sweeps do so by themselves, by leases within seconds and by each flow's time limit; this is for the person who does not want to wait.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from beat_actors import audit
from beat_actors.database import Database, Statements
from beat_actors.errors import BadInput
from beat_actors.fetches.rescue import seize

SECONDS = 600.0
"""What long is, unless somebody says otherwise."""
LONGEST = 86_400 * 366
MOST = 1000


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A request that started `seconds` ago and has not ended. `held`: fetches that a worker processes, the first for `held_for` seconds. `unheld`:
    fetches between two stages, which the sweeps find. `waiting`: fetches that wait for a source; `beat why` says for which one."""

    id: int
    platform: str
    flow: str
    picked_at: datetime
    seconds: float
    held: int
    unheld: int
    waiting: int
    held_for: float | None


SQL = Statements(__file__)
STUCK = SQL("stuck", Stuck)


@dataclass(frozen=True, slots=True)
class Taken:
    """How many fetches were taken from their holders, of which requests."""

    fetches: int
    requests: tuple[int, ...]


async def stuck(database: Database, *, seconds: float = SECONDS, limit: int = 100) -> list[Stuck]:
    """Those that were picked longest ago. Raises `BadInput`."""
    _check(seconds)
    async with database.statements() as alone:
        return await alone.rows(STUCK, {"seconds": seconds, "limit": min(limit, MOST)})


async def requeue(database: Database, *, seconds: float = SECONDS, actor: str, reason: str) -> Taken:
    """Reclaim fetches that a worker has held for longer than that. A call in flight stays charged, and is made again. Raises `BadInput`."""
    _check(seconds)
    async with database.transaction() as transaction:
        rows = await seize(transaction, seconds=seconds, limit=MOST)
        taken = Taken(len(rows), tuple(sorted({row.request_id for row in rows})))
        detail = {"reason": reason, "seconds": seconds, "fetches": taken.fetches, "requests": list(taken.requests[:50])}
        await audit.record(transaction, actor=actor, action="request.requeue", target="requests", detail=detail)
    return taken


def _check(seconds: float) -> None:
    if not 1 <= seconds <= LONGEST:
        raise BadInput("the time is from a second to a year", field="seconds")
