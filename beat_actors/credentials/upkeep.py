"""The calls for a credential's own sake, checks and refreshes: which are due, the leave to make them, and what they leave behind.

Such a call is leased under the platform's lock and takes room from the credential's limits as any other; its row in
`credential_call` is its lease, and one credential has one at most. What comes of it, the broker's turn settles.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from beat_actors.broker import loading, store
from beat_actors.broker.changes import lock
from beat_actors.broker.decision import Allocator
from beat_actors.database import Database, Statements, Transaction, jsonb
from beat_actors.fetches.leasing import USE_WITHIN
from beat_actors.platforms.interface import CHECK, REFRESH, UPKEEP, Platform
from beat_actors.platforms.registry import platforms
from beat_actors.requests.swept import Swept
from beat_actors.settings import Settings

# Of a source's checks, and of its refreshes, so many are out at once: none is in a hurry, and an outage costs no more.
AT_ONCE = 10
# Seconds after which one that found no room, or that nobody heard of again, is due once more.
LATER = 30.0
BATCH = 500


class Due(NamedTuple):
    """A credential, and the operation that is due for it."""

    id: int
    platform: str
    operation: str


class LeasedCall(NamedTuple):
    """A call that may be made for a credential's own sake: its row of `credential_call` and the credential's sealed secret. `claimed_at`,
    `use_until`, `use_from`: epoch seconds."""

    id: int
    credential_id: int
    platform: str
    source: str
    operation: str
    generation: int
    probe: bool
    lease_until: datetime
    key_id: str
    secret: bytes
    claimed_at: float
    use_until: float
    use_from: float | None


SQL = Statements(__file__)
DUE = SQL("due", Due)
LEASE = SQL("lease", LeasedCall)
FINISH = SQL("finish", int)
OUT = SQL("out", int)
ORPHANED = SQL("orphaned", str)


def lease_seconds(settings: Settings) -> float:
    """How long a call's lease holds: until it is begun, its time, and that of its commit."""
    return settings.http_total_timeout + 2 * USE_WITHIN


async def lease_due(database: Database, platform: Platform, credential_ids: Collection[int]) -> list[LeasedCall]:
    """Leave to check or refresh those of these credentials for which it is due, as far as there is room."""
    return await database.again(lambda: _lease_due(database, platform, credential_ids))


async def _lease_due(database: Database, platform: Platform, credential_ids: Collection[int]) -> list[LeasedCall]:
    async with database.transaction() as transaction:
        await lock(transaction, platform.name)
        due = await transaction.rows(DUE, _due_of(credential_ids))
        wanted = {row.id: row.operation for row in due if row.platform == platform.name}
        return await _lease(transaction, database, platform, wanted)


async def lease_checks(database: Database, platform: Platform, credential_ids: Collection[int]) -> list[LeasedCall]:
    """Leave to check these credentials now, whether it is due or not, as far as there is room."""

    async def lease() -> list[LeasedCall]:
        async with database.transaction() as transaction:
            await lock(transaction, platform.name)
            return await _lease(transaction, database, platform, dict.fromkeys(credential_ids, CHECK), dead=False)

    return await database.again(lease)


async def lease_trial(
    database: Database, platform: Platform, operation: str, credential_ids: Sequence[int]
) -> LeasedCall | None:
    """Leave for one call of the operation that a person wants to see, with the first of these credentials that has room for it; `None`: none
    has. It takes room and is charged, judged and traced as any other call."""

    async def lease() -> list[LeasedCall]:
        async with database.transaction() as transaction:
            await lock(transaction, platform.name)
            wanted = dict.fromkeys(credential_ids, operation)
            return await _lease(transaction, database, platform, wanted, dead=False, most=1)

    leased = await database.again(lease)
    return leased[0] if leased else None


async def _lease(
    transaction: Transaction,
    database: Database,
    platform: Platform,
    wanted: Mapping[int, str],
    *,
    dead: bool = True,
    most: int | None = None,
) -> list[LeasedCall]:
    """`dead`: also for dead credentials that are looked at again. `most`: so many calls, of the first for which there is room."""
    if not wanted:
        return []
    of_platform = {"platform": platform.name}
    held = await transaction.rows(loading.HELD, of_platform)
    held += await transaction.rows(loading.UNTAKEN, of_platform)
    snapshot = await loading.load_snapshot(transaction, platform, wanted.keys(), held=held)
    out = [row for row in held if row.operation in UPKEEP]
    kinds = UPKEEP | set(wanted.values())
    snapshot.room = {(source, operation): AT_ONCE for source in platform.sources for operation in kinds}
    for row in out:
        snapshot.room[row.source, row.operation] -= row.calls
    allocator, busy = Allocator(snapshot, Random(0)), {row.credential_id for row in out}
    asked = []
    for number, operation in wanted.items():  # in the order in which they came due
        credential = snapshot.credentials.get(number)
        if credential is None or number in busy or (credential.dead and not (dead and credential.unproven)):
            continue
        if snapshot.room[credential.source, operation] > 0:  # else it stays due, and is the next one's
            probe = allocator.reserve(credential, operation)
            asked.append({"id": number, "operation": operation, "probe": probe})
            if most is not None and probe is not None and (most := most - 1) == 0:
                break
    values = {"asked": jsonb(asked), "check": CHECK, "refresh": REFRESH, "later": LATER, "use_within": USE_WITHIN}
    leased = await transaction.rows(LEASE, {**values, "lease": lease_seconds(database.settings)})
    await store.save_credentials(transaction, snapshot.credentials.values())
    await store.save_breakers(transaction, platform.name, [(key, snapshot.breakers[key]) for key in allocator.probed])
    return leased


async def finish(transaction: Transaction, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Trace and settle calls that came back, rows of FINISH; the ids of those that had not been given up."""
    return set(await transaction.rows(FINISH, {"calls": jsonb(rows)}))


async def count_due(transaction: Transaction) -> int:
    """Credentials that are to be checked or refreshed, or are just now."""
    # In this order: what is leased between the two looks is counted twice, and not overlooked.
    due = await transaction.rows(DUE, _due_of(None))
    return len(due) + await transaction.only(OUT)


async def due(database: Database, epoch: int | None = None) -> Swept:
    """Credentials that are to be checked or refreshed, and calls whose worker is gone."""
    async with database.statements() as alone:
        # After a step forth leases seem to have ended whose holders live.
        is_sure = not database.clock.stepped_forth(lease_seconds(database.settings))
        orphans = await alone.rows(ORPHANED, {"epoch": epoch}) if is_sure else []
        rows = await alone.rows(DUE, _due_of(None, most=AT_ONCE))
    found = [row.id for row in rows]
    send = [("credentials", found)] if found else []
    return Swept(wake=set(orphans), send=send, count=len(found) + len(orphans))


def _due_of(credential_ids: Collection[int] | None, *, most: int = BATCH) -> dict[str, Any]:
    """The parameters of DUE; `None`: all credentials."""
    sources = [source for platform in platforms().values() for source in platform.sources.values()]
    return {
        "ids": None if credential_ids is None else list(credential_ids),
        "checked": [source.name for source in sources if source.check is not None],
        "refreshed": [source.name for source in sources if source.refresh is not None],
        "check": CHECK,
        "refresh": REFRESH,
        "batch": BATCH,
        "most": most,
    }
