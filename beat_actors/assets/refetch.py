"""Dead URLs: the entity that an asset was observed with is asked for once more, and brings fresh ones.

One request serves all assets of an entity that have one owner, and is made once in 24 hours, with the lowest priority. The answer goes the way of all answers: `intake`
writes the fresh URLs, and the assets are PENDING again. Those that the answer does not mention are EXPIRED, and those whose entity or picture does not
exist any more are GONE. A request that fails for another reason says nothing of them, so they wait for the next one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from beat_actors.assets.telling import tell
from beat_actors.database import Composed, Database, Statements, Transaction
from beat_actors.errors import BeatError, StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.platforms.interface import Entity, Platform, Refetch
from beat_actors.platforms.registry import platforms
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.requests.swept import Swept

log = get_logger(__name__)

OWNER = "assets"
"""The owner of the idempotency keys."""
PARENTS = 100
"""Entities that one run looks at. The next run goes on behind them."""
OPEN = 200
"""Requests that are open at a time. Further ones wait, so that they never fill the queue of a platform."""
MOST = 1000
"""Assets of one entity that one statement writes."""
MISSING = frozenset({"missing", "private", "not_found"})
"""Codes of requests that failed because the entity is not there, or not public."""
NOT_TOLD = "its parent was observed again without it"
NOT_THERE = "its parent does not exist any more, or is not public"
NO_WAY = "nothing that is known of its parent suffices to observe it again"


class Parent(NamedTuple):
    """An entity with assets of one owner whose URLs are dead; see the statement `parents`. `accounts`: '' is the installation itself."""

    platform: str
    kind: str
    key: str
    owner: str
    tables: list[str]
    uncovered: bool
    accounts: list[str]


class Asked(NamedTuple):
    """A request for an entity."""

    key: str
    id: int
    status: str
    created_at: datetime
    code: str | None


class Lost(NamedTuple):
    """An asset that is EXPIRED or GONE now."""

    public_id: UUID
    status: str
    failure: str


SQL = Statements(__file__)
PARENTS_OF = SQL("parents", Parent)
ASKED = SQL("asked", Asked)
LEADS = SQL("leads", bool)
COVER = SQL("cover")
LOSE = SQL("lose", Lost)
FIRST = ("", "", "")
DAY = 86_400


class Sweep:
    """Of the scheduler. It remembers where it is in the list of entities."""

    def __init__(self) -> None:
        self._after = FIRST
        self._open = 0
        self._open_before = 0

    async def __call__(self, database: Database, epoch: int | None) -> Swept:
        """Look at the next entities: ask for them, or end what they did not bring. What changed is counted."""
        platform, kind, key = self._after
        async with database.statements() as alone:
            values = {"platform": platform, "kind": kind, "key": key, "limit": PARENTS, "most": MOST}
            parents = await alone.rows(PARENTS_OF, values)
            day = int(await alone.now() // DAY) if parents else 0
            asked = await _asked(alone, parents, day)
        swept = Swept()
        for parent in parents:
            await self._look(database, parent, asked.get(_name(parent)), day, epoch, swept)
        if len({parent[:3] for parent in parents}) == PARENTS:
            self._after = parents[-1][:3]
        else:
            self._after, self._open_before, self._open = FIRST, self._open, 0
        return swept

    async def _look(
        self, database: Database, parent: Parent, asked: Asked | None, day: int, epoch: int | None, swept: Swept
    ) -> None:
        if asked is not None and asked.status in ("PENDING", "PROCESSING"):
            self._open += 1
            if parent.uncovered:
                async with database.statements() as alone:
                    await alone.run(COVER, _values(parent, epoch))
        elif asked is not None:
            await self._ended(database, parent, asked, epoch, swept)
        elif parent.uncovered and max(self._open, self._open_before) < OPEN:
            await self._ask_some(database, parent, day, epoch, swept)

    async def _ask_some(self, database: Database, parent: Parent, day: int, epoch: int | None, swept: Swept) -> None:
        """Ask with the first account that can. The assets are lost where none can: the flow is gone, or none of them may use the owner."""
        why = NO_WAY
        for account in parent.accounts:
            try:
                if await self._ask(database, parent, account, day, epoch, swept):
                    return
            except StorageUnavailable:
                raise
            except BeatError as error:
                why = str(error)
        async with database.transaction() as transaction:
            swept.count += len(await _lose(transaction, parent, epoch, None, why))

    async def _ended(self, database: Database, parent: Parent, asked: Asked, epoch: int | None, swept: Swept) -> None:
        gone = asked.code in MISSING
        if asked.status != "COMPLETE" and not gone:
            return
        async with database.transaction() as transaction:
            why = NOT_THERE if gone else NOT_TOLD
            swept.count += len(await _lose(transaction, parent, epoch, asked.created_at, why, gone=gone))

    async def _ask(
        self, database: Database, parent: Parent, account: str, day: int, epoch: int | None, swept: Swept
    ) -> bool:
        """Ask with this account; whether all that the request needs is known for it. Raises `BeatError` where it may not."""
        async with database.transaction() as transaction:
            request = await _request(transaction, parent, account, day)
            if request is None:
                return False
            if not await transaction.row(LEADS, {"epoch": epoch}):
                return True
            await intake.submit(transaction, [intake.prepare(request)])
            # After the request, so that the note is the later of the two.
            covered = await transaction.run(COVER, _values(parent, epoch))
        intake.committed()
        self._open += 1
        swept.count += covered
        swept.wake.add(parent.platform)
        return True


async def _lose(
    transaction: Transaction, parent: Parent, epoch: int | None, since: datetime | None, why: str, *, gone: bool = False
) -> list[Lost]:
    lost = await transaction.rows(LOSE, _values(parent, epoch) | {"since": since, "gone": gone, "why": why})
    await tell(transaction, lost=[one.public_id for one in lost])
    return lost


async def _asked(transaction: Transaction, parents: Sequence[Parent], day: int) -> dict[str, Asked]:
    """The requests of the last 24 hours, by the names of their entities."""
    keys = [_key(parent, on) for parent in parents for on in (day, day - 1)]
    rows = await transaction.rows(ASKED, {"owner": OWNER, "keys": keys}) if keys else []
    return {row.key.rpartition(" ")[0]: row for row in rows}


def _name(parent: Parent) -> str:
    name = "\0".join((parent.platform, parent.kind, parent.key, parent.owner))
    return f"refetch {hashlib.sha256(name.encode()).hexdigest()}"


def _key(parent: Parent, day: int) -> str:
    """The idempotency key of a day. A key that was used once cannot be used again on another day."""
    return f"{_name(parent)} {day}"


def _values(parent: Parent, epoch: int | None) -> dict[str, Any]:
    of = {"platform": parent.platform, "kind": parent.kind, "key": parent.key, "owner": parent.owner}
    return {**of, "most": MOST, "epoch": epoch}


async def _request(transaction: Transaction, parent: Parent, account: str, day: int) -> NewRequest | None:
    """The request by which the entity and what is listed under it are observed again; None where not all that it needs is known."""
    platform = platforms().get(parent.platform)
    entity = next((one for one in platform.entities if one.kind == parent.kind), None) if platform else None
    if platform is None or entity is None:
        return None
    known = await _fields(transaction, entity, parent, account)
    for refetch in _ways(platform, entity, parent.tables):
        params = {param: known[field] for param, field in refetch.params.items() if known.get(field) is not None}
        if len(params) == len(refetch.params):
            return NewRequest(
                parent.platform,
                refetch.flow,
                {**params, **refetch.fixed},
                priority=Priority.BATCH,
                account_id=account or None,
                idempotency_key=_key(parent, day),
                idempotency_owner=OWNER,
            )
    return None


def _ways(platform: Platform, entity: Entity, tables: Sequence[str]) -> list[Refetch]:
    """The flows to choose from: those that list what waits, which tell of the entity too, before those of the entity alone."""
    lists = [
        refetch
        for child in platform.entities
        if child.table in tables and child.table != entity.table
        for listed in child.lists
        if listed.under == entity.kind
        for refetch in listed.refetch
    ]
    return [*lists, *entity.refetch]


async def _fields(transaction: Transaction, entity: Entity, parent: Parent, account: str) -> Mapping[str, Any]:
    """What is stored of the entity for the account, or for the installation; its key at least. What belongs to another owner is not read."""
    text = (
        f"SELECT to_jsonb(t) FROM \"{entity.table}\" t WHERE {entity.key} = %(key)s AND account_id IN (%(account)s, '') "  # noqa: S608 - declared
        "AND owner IN (%(owner)s, '') ORDER BY owner DESC, account_id DESC, observed_at DESC LIMIT 1"
    )
    values = {"key": parent.key, "account": account, "owner": parent.owner}
    found = await transaction.value(Composed("assets/refetch.fields", text, dict), values)
    return {**(found or {}), entity.key: parent.key}
