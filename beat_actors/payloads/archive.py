"""The sweep that moves raw payloads of past days into the bucket, and removes from it what nobody needs any more.

A day's payloads are put into objects in the order of their fetches, a batch an object. A process that dies at any step leaves one of three things
behind, and the next run finds each: a row of an object that was never written into the index (its object, if there is one, is deleted), an
object that is to be deleted, or a day that is archived and not dropped yet. PostgreSQL drops a day only where the index names all of it.
"""

import hashlib
import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as day_time
from itertools import accumulate
from typing import NamedTuple

from beat_actors.database import Database, Statements
from beat_actors.database.clock import TOLD_FOR
from beat_actors.errors import ObjectsUnavailable, StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.payloads.reading import LOCK
from beat_actors.requests.swept import Swept
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

PAYLOADS, BYTES = 2000, 8_000_000
"""Of one object, at most; a payload that is larger by itself has an object of its own."""
BUSY_FOR = 40.0
"""Seconds of one run; the next one goes on where it stopped."""
GIVEN_UP = 3600.0
"""Seconds after which an object that is not in the index is none that somebody still works on: S3 takes no request that was signed 15 minutes ago."""
REMOVED = 1000
"""Objects and payloads that one run forgets of each kind."""


class Day(NamedTuple):
    """A past day that PostgreSQL has payloads of. `due`: whether it is to keep them no longer."""

    day: date
    due: bool


class Seen(NamedTuple):
    """A payload that was looked at."""

    fetch_id: int
    created_at: datetime
    bytes: int
    archived: bool


class Payload(NamedTuple):
    """A payload as it is to lie in an object."""

    fetch_id: int
    created_at: datetime
    body: bytes


class Object(NamedTuple):
    """An object that is to be deleted."""

    id: int
    key: str


Position = tuple[int, datetime]
START: Position = (0, datetime(1970, 1, 1, tzinfo=UTC))
SQL = Statements(__file__)
FOLDER, DAYS = SQL("folder", str), SQL("days", Day)
PAGE, BODIES = SQL("page", Seen), SQL("bodies", Payload)
BEGIN, REGISTER, DISCARD = SQL("begin", int), SQL("register", int), SQL("discard")
PATIENT, DROP = SQL("patient"), SQL("drop", str)
ABANDON, GONE, FORGET = SQL("abandon"), SQL("gone", Object), SQL("forget")
RETIRED, FORGET_DAY, FORGET_RESTORED = SQL("retired", date), SQL("forget_day"), SQL("forget_restored")


class _Changed(Exception):
    """Payloads of an object were erased, or archived by somebody else, before it was written into the index."""


async def folder(database: Database) -> str:
    """What the keys of this database's own objects begin with. Two databases share none, copies of each other neither."""
    async with database.statements() as alone:
        return f"{database.settings.s3_prefix}payloads/{await alone.only(FOLDER)}/"


def key_of(place: str, day: date) -> str:
    return f"{place}{day:%Y-%m-%d}/{uuid.uuid4().hex}"


def span(day: date) -> dict[str, datetime]:
    """A day's beginning and end (UTC), as statements take it."""
    since = datetime.combine(day, day_time(), UTC)
    return {"since": since, "until": since + timedelta(days=1)}


@dataclass(slots=True)
class Archiver:
    """The sweep, with the place that it reached in each day. Another process begins anew, which costs a look at each payload."""

    payloads: int = PAYLOADS
    bytes: int = BYTES
    busy_for: float = BUSY_FOR
    _reached: dict[date, Position] = field(default_factory=dict)

    async def run(self, database: Database, epoch: int | None = None) -> Swept:
        """Archive for `busy_for` seconds at most, and remove what is to be removed. Raises `ObjectsUnavailable` where the bucket does not do its
        part; then PostgreSQL keeps everything. After a step forth of the database's clock nothing is removed for an hour."""
        settings = database.settings
        stepped = database.clock.stepped_forth(TOLD_FOR)
        if not stepped:
            async with database.statements() as alone:
                await alone.run(FORGET_RESTORED, {"epoch": epoch, "limit": REMOVED})
        store = ObjectStore.of(settings)
        if store is None:
            return Swept()
        place = await folder(database)
        failed: ObjectsUnavailable | None = None
        count = 0
        if settings.raw_payload_archive:
            try:
                count = await self._archive(database, store, place, epoch, drop=not stepped)
            except ObjectsUnavailable as error:
                failed = error
        if not stepped:
            await remove(database, store, place, epoch)
        if failed is not None:
            raise failed
        return Swept(count=count)

    async def _archive(
        self, database: Database, store: ObjectStore, place: str, epoch: int | None, *, drop: bool
    ) -> int:
        """Payloads that were archived."""
        ends, count = time.monotonic() + self.busy_for, 0
        async with database.statements() as alone:
            days = await alone.rows(DAYS, {"days": database.settings.raw_payload_database_days})
        self._reached = {day: place for day, place in self._reached.items() if day in {each.day for each in days}}
        for day, due in days:
            while time.monotonic() < ends:
                added = await self._next(database, store, key_of(place, day), day, epoch)
                if added is None:
                    if due and drop:
                        await self._drop(database, day, epoch)
                    break
                count += added
        return count

    async def _next(self, database: Database, store: ObjectStore, key: str, day: date, epoch: int | None) -> int | None:
        """Archive what comes next of a day, one object at most; how many payloads. None where the day ends."""
        fetch, at = self._reached.get(day, START)
        async with database.statements() as alone:
            page = await alone.rows(PAGE, {**span(day), "fetch": fetch, "at": at, "most": self.payloads})
        if not page:
            return None
        wanted = self._fitting(page)
        if wanted and not await self._put(database, store, key, day, wanted, epoch):
            return 0  # what comes next is looked at once more
        last = wanted[-1] if wanted else page[-1]
        self._reached[day] = (last.fetch_id, last.created_at)
        return len(wanted)

    def _fitting(self, page: Sequence[Seen]) -> list[Seen]:
        """The first of these that are not archived and fit into one object, at least one."""
        wanted = [seen for seen in page if not seen.archived]
        sizes = accumulate(seen.bytes for seen in wanted)
        return [seen for at, (seen, size) in enumerate(zip(wanted, sizes, strict=True)) if not at or size <= self.bytes]

    async def _put(
        self, database: Database, store: ObjectStore, key: str, day: date, wanted: Sequence[Seen], epoch: int | None
    ) -> bool:
        """Whether these payloads are archived."""
        keys = {"fetches": [seen.fetch_id for seen in wanted], "times": [seen.created_at for seen in wanted]}
        async with database.statements() as alone:
            found = await alone.rows(BODIES, {**keys, **span(day)}, binary=True)
            if not found:
                return False
            object_id = await alone.value(BEGIN, {"key": key, "day": day, "epoch": epoch})
        if object_id is None:
            raise StorageUnavailable("another scheduler leads by now")
        body = b"".join(payload.body for payload in found)
        if not await store.put(key, body):
            raise ObjectsUnavailable(f"the bucket {store.where} has {key} already, which is new", reason="exists")
        try:
            await database.again(lambda: _register(database, object_id, day, found, body, epoch))
        except _Changed:
            log.info("archive_begun_anew", day=day.isoformat(), payloads=len(found))
            async with database.statements() as alone:
                await alone.run(DISCARD, {"object": object_id})
            return False
        return True

    async def _drop(self, database: Database, day: date, epoch: int | None) -> None:
        async with database.transaction() as transaction:
            await transaction.run(PATIENT)
            said = await transaction.value(DROP, {"day": day, "epoch": epoch})
        if said == "unarchived":  # it came late, behind the place that was reached
            self._reached.pop(day, None)
        if said == "dropped":
            log.info("payloads_left_the_database", day=day.isoformat())


async def _register(
    database: Database, object_id: int, day: date, found: Sequence[Payload], body: bytes, epoch: int | None
) -> None:
    lengths = [len(payload.body) for payload in found]
    values = {
        "object": object_id,
        "sha256": hashlib.sha256(body).digest(),
        "size": len(body),
        "epoch": epoch,
        "fetches": [payload.fetch_id for payload in found],
        "times": [payload.created_at for payload in found],
        "positions": list(accumulate([0, *lengths[:-1]])),
        "lengths": lengths,
        "sums": [zlib.crc32(payload.body) for payload in found],
    }
    async with database.transaction() as transaction:
        await transaction.run(LOCK)
        if await transaction.only(REGISTER, {**values, **span(day)}) != len(found):
            raise _Changed


async def remove(database: Database, store: ObjectStore, place: str, epoch: int | None = None) -> None:
    """Delete objects that are in no index, and those of days past `BEAT_RAW_PAYLOAD_DAYS`, a batch of each. Objects of another folder are
    another database's as well, and are forgotten without being deleted. Raises `ObjectsUnavailable`."""
    async with database.statements() as alone:
        await alone.run(ABANDON, {"seconds": GIVEN_UP, "epoch": epoch, "limit": REMOVED})
        gone = await alone.rows(GONE, {"epoch": epoch, "limit": REMOVED})
        day = await alone.value(RETIRED, {"days": database.settings.raw_payload_days, "epoch": epoch})
    await delete(database, store, place, gone)
    if day is None:
        return
    keys = await store.keys(f"{place}{day:%Y-%m-%d}/")
    if keys:
        await store.delete(keys)
    else:
        async with database.statements() as alone:
            await alone.run(FORGET_DAY, {"day": day})


async def delete(database: Database, store: ObjectStore, place: str, objects: Sequence[Object]) -> None:
    """Delete these objects, which are marked for it, and forget them. Raises `ObjectsUnavailable`."""
    if not objects:
        return
    await store.delete([each.key for each in objects if each.key.startswith(place)])
    async with database.statements() as alone:
        await alone.run(FORGET, {"ids": [each.id for each in objects]})


def archives(settings: Settings) -> bool:
    """Whether raw payloads are moved into a bucket."""
    return settings.s3_bucket is not None and settings.raw_payload_archive
