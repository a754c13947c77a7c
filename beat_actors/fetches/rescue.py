"""Recovers fetches from workers that are gone, late or stuck, and finds work that no worker holds. `requests.sweeps` runs it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from beat_actors.database import Statements, Transaction, arrays

SQL = Statements(__file__)


class Unsent(NamedTuple):
    """Work without a message and without a holder, that was tried `stage_attempts` times."""

    id: int
    stage: str
    stage_attempts: int


class Seized(NamedTuple):
    """A fetch that was taken from its holder."""

    id: int
    request_id: int


class Walked(NamedTuple):
    """A batch of a walk: how many rows it read, and the last one's time in epoch seconds."""

    read: int
    last: float | None


UNSENT = SQL("unsent", Unsent)
ORPHANED = SQL("orphaned", str)
OVERDUE = SQL("overdue", int)
UNSETTLED = SQL("unsettled", str)
SEIZE = SQL("seize", Seized)
LEASES_AFTER_STEP = SQL("leases_after_step")
PAUSES_AFTER_STEP = SQL("pauses_after_step", Walked)


async def unsent(
    transaction: Transaction, waits: Mapping[str, float], *, grace: float, epoch: int | None, limit: int
) -> list[Unsent]:
    """Work that was sent more than `grace` seconds ago, and as many more as its stage `waits`, by the stages' names."""
    return await transaction.rows(UNSENT, {"grace": grace, "epoch": epoch, "limit": limit, **waits})


async def orphaned(transaction: Transaction, *, expected: float | None, epoch: int | None, limit: int) -> set[str]:
    """End claims of calls whose worker is gone; their platforms. `expected`: what the database's clock should show."""
    return set(await transaction.rows(ORPHANED, {"expected": expected, "epoch": epoch, "limit": limit}))


async def overdue(
    transaction: Transaction, flows: Sequence[tuple[str, str, float]], *, epoch: int | None, limit: int
) -> list[int]:
    """Take away what is held for longer than its flow allows: (platform, flow, seconds)."""
    values = arrays(flows, "platforms", "flows", "limits")
    return await transaction.rows(OVERDUE, {**values, "epoch": epoch, "limit": limit})


async def unsettled(transaction: Transaction, *, seconds: float, epoch: int | None, limit: int) -> list[str]:
    """Settle what has waited for so long with nothing that could settle it; the platform of each."""
    return await transaction.rows(UNSETTLED, {"seconds": seconds, "epoch": epoch, "limit": limit})


async def seize(transaction: Transaction, *, seconds: float, limit: int) -> list[Seized]:
    """Reclaim fetches that a worker has held for longer than that."""
    return await transaction.rows(SEIZE, {"seconds": seconds, "limit": limit})
