"""Claims of assets: which are uploaded next, and by whom. `commits` ends them; `uploader` does what lies between.

A claim raises the asset's fence and gives it a lease. A process that comes late finds another fence, and changes nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from beat_actors.assets.order import COUNTED, SOON
from beat_actors.assets.telling import tell
from beat_actors.broker.own_flows import UPLOADS
from beat_actors.database import BY_INDEX, Database, Statements, Transaction, arrays
from beat_actors.media.urls import identity

BATCH = 200
"""Assets that one claim takes."""
LEASE = 90.0
"""Seconds after which an upload is taken for dead. Those that take long renew it."""
UPKEEP = 500
"""Assets that one claim lets be tried again, of each kind."""
CLASSES = (0, 1, 2, 3)
OVER = "expired: its URL says that it is dead by now"
CRASH = "crash: the processes that uploaded it ended before the upload did, several times in a row"


class Claimed(NamedTuple):
    """An asset that its claimer alone uploads. `content`: SHA-256 of its last good picture. `attempts`: this one is counted. `dead`: its URL says
    that it is over. `wanted`: a reader waits for it."""

    public_id: UUID
    fence: int
    platform: str
    entity: str
    entity_key: str
    field: str
    owner: str
    account: str
    of_class: int
    url: str
    identity: bytes | None
    content: bytes | None
    attempts: int
    dead: bool
    wanted: bool


class Rescued(NamedTuple):
    """An asset whose process did not end its upload."""

    public_id: UUID
    status: str


SQL = Statements(__file__)
LOCK = SQL("lock", bool)
DUE = SQL("due")
RESCUE = SQL("rescue", Rescued)
EXPIRE = SQL("expire")
CLAIM = SQL("claim", Claimed)
DEPTH = SQL("depth", int)
LOOK = SQL("look", bool)
RENEW = SQL("renew")
UNPREPARE = SQL("unprepare")


async def claim(
    database: Database,
    limit: int,
    *,
    urgent: float,
    soon: float = SOON,
    aged: int = 0,
    classes: Sequence[int] = CLASSES,
    readers: bool = True,
    tidies: bool = False,
    lease: float = LEASE,
) -> list[Claimed]:
    """Up to `limit` assets, in one round trip, or two where it `tidies`; they are the caller's for `lease` seconds.

    `urgent`: seconds that the backlog takes (`order.horizon`). `soon`: what `order.soon` says. `aged`: of each other class before avatars. `classes`: those that may be claimed
    for no reader. `readers`: whether what readers wait for may be. `tidies`: also bring back what waited long enough, or was lost by another process; once a second is often enough.
    """
    flow = {
        "platform": UPLOADS.platform,
        "flow": UPLOADS.name,
        "workers": UPLOADS.workers,
        "concurrency": UPLOADS.concurrency,
    }
    values = {
        **flow,
        "limit": limit,
        "classes": list(classes),
        "readers": readers,
        "aged": aged,
        "soon": soon,
        "urgent": max(urgent, soon),
        "lease": lease,
    }
    async with database.transaction() as transaction:
        if tidies:
            await _tidy(transaction, classes)
        else:
            await transaction.last.run(BY_INDEX)
            await transaction.last.run(LOCK)
        found = await transaction.last.run(CLAIM, values)
    stale = [one for one in found.rows if one.identity is not None and identity(one.url) != one.identity]
    if not stale:
        return found.rows
    # A process of an older release wrote another URL, and not what an upload has to know of it.
    async with database.statements() as alone:
        await alone.run(UNPREPARE, arrays([(one.public_id, one.fence) for one in stale], "assets", "fences"))
    left = {one.public_id for one in stale}
    return [one for one in found.rows if one.public_id not in left]


async def _tidy(transaction: Transaction, classes: Sequence[int]) -> None:
    async with transaction.pipeline() as together:
        await together.run(BY_INDEX)
        await together.run(LOCK)
        await together.run(DUE, {"limit": UPKEEP, "classes": list(classes)})
        rescued = await together.run(RESCUE, {"limit": UPKEEP, "failure": CRASH})
        await together.run(EXPIRE, {"limit": UPKEEP, "failure": OVER})
    await tell(transaction.last, lost=[one.public_id for one in rescued.rows if one.status == "FAILED"])


async def look(database: Database) -> bool:
    """Whether a claim would find anything, a limit or a pause of the flow apart."""
    async with database.statements() as alone:
        return await alone.only(LOOK)


async def depth(database: Database) -> int:
    """How many assets wait, `order.COUNTED` at most."""
    async with database.statements() as alone:
        return await alone.only(DEPTH, {"most": COUNTED})


async def renew(database: Database, held: Sequence[tuple[UUID, int]], lease: float = LEASE) -> None:
    """Keep these uploads, given as id and fence, for another `lease` seconds from now."""
    async with database.statements() as alone:
        await alone.run(
            RENEW, {"assets": [one for one, _ in held], "fences": [fence for _, fence in held], "lease": lease}
        )
