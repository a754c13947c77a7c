"""Objects that no asset needs are deleted: from the bucket, from the CDN, and then their rows.

`commits.leave` and `privacy/retention` mark an object whose last asset is gone. After `UNUSED_FOR` the sweep begins its deletion (`condemn`, whose contract says why no asset can
get it meanwhile). The bucket deletes it, then the sweep sends its path to BEAT_ASSET_PURGE_URL. The row notes each of both, so a run that was interrupted
is repeated. An object that one of them does not delete is tried again later, and holds up no other. The sweep handles `MOST` objects per step, however many there are.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from beat_actors.assets.serving.places import key_of
from beat_actors.assets.upkeep.checking import MISSING
from beat_actors.assets.upkeep.purging import purge
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.logger import get_logger
from beat_actors.requests.swept import Swept
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

UNUSED_FOR = 600.0
"""Seconds for which an object stays without an asset: the next observation may bring the same picture."""
STAYS = 300.0
"""Seconds for which the row of a deleted object stays."""
FRESH = 60.0
"""Seconds after which what was read is not deleted any more, but read again: the process may have been frozen."""
MOST = 500
BUDGET = 15.0
"""Seconds of one run."""

SQL = Statements(__file__)
HELD, SMALLER, NAMED, CONDEMN = SQL("held", bytes), SQL("smaller", bytes), SQL("named", bytes), SQL("condemn", bytes)


class Due(NamedTuple):
    """An object that is to be deleted. `removed`: the bucket has deleted it already."""

    content: bytes
    removed: bool


DUE, REMOVED, LATER = SQL("due", Due), SQL("removed", bytes), SQL("later")
DELETED, FORGET = SQL("deleted"), SQL("forget", int)

Purge = Callable[[Sequence[str]], Awaitable[None]]


async def condemn(transaction: Transaction, contents: Sequence[bytes]) -> list[bytes]:
    """Begin the deletion of those of these objects that nothing needs any more; the contents, with those of smaller pictures."""
    locked = await transaction.rows(NAMED, {"contents": list(contents)})
    held = sorted(set(contents).intersection(locked))
    return await transaction.rows(CONDEMN, {"contents": held, "locked": locked}) if held else []


@dataclass(frozen=True, slots=True)
class Deleter:
    """The sweep. `seconds`: how long an object stays unused."""

    seconds: float = UNUSED_FOR
    stays: float = STAYS
    budget: float = BUDGET
    most: int = MOST

    async def run(self, database: Database, epoch: int | None = None) -> Swept:
        """Delete what is due, until nothing is or the time is over. Raises `StorageUnavailable` and `ObjectsUnavailable`."""
        ends, gone = time.monotonic() + self.budget, 0
        store = ObjectStore.of_assets(database.settings)
        if store is None:
            return Swept()
        while time.monotonic() < ends:
            begun = await self._begin(database, epoch)
            done = await self.delete(database, store, epoch)
            gone += done
            if begun < self.most and done < self.most:
                break
        async with database.statements() as alone:
            await alone.run(FORGET, {"seconds": self.stays, "most": self.most, "epoch": epoch})
        return Swept(count=gone)

    async def _begin(self, database: Database, epoch: int | None) -> int:
        """Begin the deletion of objects that have been unused; how many were looked at."""
        async with database.transaction() as transaction:
            held = await transaction.rows(HELD, {"seconds": self.seconds, "most": self.most, "epoch": epoch})
            if held:
                smaller = await transaction.rows(SMALLER, {"contents": held})
                await transaction.rows(CONDEMN, {"contents": held, "locked": [*held, *smaller]})
        return len(held)

    async def delete(self, database: Database, store: ObjectStore, epoch: int | None = None) -> int:
        """Delete one step of the objects whose deletion has begun; how many."""
        read_at = time.monotonic()
        async with database.statements() as alone:
            due = await alone.rows(DUE, {"most": self.most, "epoch": epoch})
        if not due or time.monotonic() - read_at > FRESH:
            return 0
        keys = {one.content: key_of(one.content) for one in due}
        refused = await store.delete_each([keys[one.content] for one in due if not one.removed])
        kept = [content for content, key in keys.items() if key in refused]
        removed = [content for content, key in keys.items() if key not in refused]
        async with database.statements() as alone:
            if kept:
                code, said = refused[keys[kept[0]]]
                log.warning("objects_not_deleted", objects=len(kept), first=keys[kept[0]], code=code, said=said)
                await alone.run(LATER, {"contents": kept})
            noted = set(await alone.rows(REMOVED, {"contents": removed}))
        await _restore(database, store, [content for content in removed if content not in noted])
        try:
            await purge(database.settings, [f"{_prefix(database)}/{keys[content]}" for content in removed])
        except ObjectsUnavailable:
            async with database.statements() as alone:
                await alone.run(LATER, {"contents": removed})
            raise
        async with database.statements() as alone:
            await alone.run(DELETED, {"contents": removed})
        return len(removed)


async def _restore(database: Database, store: ObjectStore, contents: Sequence[bytes]) -> None:
    """Have objects stored again that were made anew while this process was frozen between reading their rows and deleting them."""
    gone = list[bytes]()
    for content in contents:
        try:
            await store.head(key_of(content))
        except ObjectMissing:
            gone.append(content)
    if gone:
        async with database.transaction() as transaction:
            again = await transaction.only(MISSING, {"contents": gone})
        log.warning("objects_deleted_late", objects=len(gone), assets_again=again)


def _prefix(database: Database) -> str:
    """The path under which the CDN has the bucket."""
    base = database.settings.asset_base_url
    return "" if base is None else urlsplit(base).path.rstrip("/")
