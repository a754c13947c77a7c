"""Payloads, wherever they are: one range of an object for each that lies in the bucket.

Workers read from PostgreSQL alone and hold no key of the bucket. What they are to read again is brought back for them first (`bring_back`).
"""

import asyncio
import time
import zlib
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from beat_actors.database import Database, Statements, arrays
from beat_actors.errors import NotFound, ObjectMissing, ObjectsUnavailable
from beat_actors.logger import get_logger
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

TOGETHER = 16_000_000
"""Bytes that are read from the bucket at a time, and kept by one statement; one payload may be larger."""


class Sized(Protocol):
    """Something that has so many bytes."""

    @property
    def length(self) -> int: ...


P = TypeVar("P", bound=Sized)
Key = tuple[int, datetime]
"""The fetch, and the time of its answer."""


class Located(NamedTuple):
    """Where a payload lies in the bucket. `sum`: the CRC-32 of its bytes."""

    fetch_id: int
    created_at: datetime
    key: str
    position: int
    length: int
    sum: int


class Kept(NamedTuple):
    """A payload. `body` is None where it lies in the bucket alone; then the rest says where."""

    created_at: datetime
    body: bytes | None
    key: str | None
    position: int
    length: int
    sum: int


class Where(msgspec.Struct, frozen=True):
    """A day of raw payloads: what PostgreSQL and the bucket have of it."""

    day: date
    database_bytes: int
    objects: int
    payloads: int
    object_bytes: int


SQL = Statements(__file__)
OVERVIEW = SQL("overview", Where)
KEPT, LOCATE, BRING_BACK, LOCK = SQL("kept", Kept), SQL("locate", Located), SQL("bring_back"), SQL("lock", str)


async def overview(database: Database) -> list[Where]:
    """Where the raw payloads are, by day, the newest first."""
    async with database.statements() as alone:
        return await alone.rows(OVERVIEW)


async def packed(database: Database, fetch_id: int, at: datetime | None = None) -> bytes:
    """What was answered to a fetch, packed: the newest answer, or the one of this time. Raises `NotFound`, `ObjectsUnavailable`,
    `ObjectMissing`."""
    for _ in range(2):  # an object may be replaced while it is read
        async with database.statements() as alone:
            found = await alone.rows(KEPT, {"fetch": fetch_id}, binary=True)
        kept = next((each for each in found if at is None or each.created_at == at), None)
        if kept is None:
            break
        if kept.body is not None or kept.key is None:
            return kept.body or b""
        try:
            located = Located(fetch_id, kept.created_at, kept.key, kept.position, kept.length, kept.sum)
            return await read_located(bucket_of(database), located)
        except ObjectMissing as error:
            missing = error
    else:
        raise missing
    days = database.settings.raw_payload_days
    raise NotFound(f"no payload of fetch {fetch_id} is kept; raw payloads are kept for {days} days")


async def bring_back(database: Database, wanted: Iterable[Key], *, within: float) -> set[Key]:
    """Bring payloads back for workers, for `within` seconds at most; those that are lost: not in the bucket, damaged, or without a bucket.

    What is neither lost nor brought back is so for lack of time, or because the bucket does not answer; the caller asks again later.
    """
    asked, ends = list(wanted), time.monotonic() + within
    if not asked:
        return set()
    store = ObjectStore.of(database.settings)
    if store is None:
        log.error("payloads_without_bucket", payloads=len(asked), fix="set BEAT_S3_BUCKET to the bucket that has them")
        return set(asked)
    async with database.statements() as alone:
        located = await alone.rows(LOCATE, arrays(asked, "fetches", "times"))
    lost: set[Key] = set()
    for some in parts(located, TOGETHER):
        if time.monotonic() >= ends:
            break
        try:
            lost |= await _bring(database, store, some)
        except ObjectsUnavailable as error:
            log.warning("payloads_not_brought_back", payloads=len(some), error=str(error))
            break
    return lost


async def _bring(database: Database, store: ObjectStore, some: Sequence[Located]) -> set[Key]:
    found = await asyncio.gather(*(read_located(store, each) for each in some), return_exceptions=True)
    good, lost = list[tuple[int, datetime, bytes]](), set[Key]()
    for each, body in zip(some, found, strict=True):
        if isinstance(body, bytes):
            good.append((each.fetch_id, each.created_at, body))
        elif isinstance(body, ObjectMissing):
            lost.add((each.fetch_id, each.created_at))
            log.error("payload_lost", fetch=each.fetch_id, object=each.key, error=str(body))
        else:
            raise body
    async with database.transaction() as transaction:
        await transaction.run(LOCK)
        await transaction.run(BRING_BACK, arrays(good, "fetches", "times", "bodies"))
    return lost


def parts(located: Sequence[P], most: int) -> Iterable[list[P]]:
    """These by parts of at most `most` bytes, or of one payload."""
    part, size = list[P](), 0
    for each in located:
        if part and size + each.length > most:
            yield part
            part, size = [], 0
        part.append(each)
        size += each.length
    if part:
        yield part


async def read_located(store: ObjectStore, each: Located) -> bytes:
    """A packed payload from the bucket. Raises `ObjectsUnavailable`, and `ObjectMissing` where the object is gone or its bytes are damaged."""
    body = await store.read(each.key, (each.position, each.length))
    if zlib.crc32(body) != each.sum:
        raise ObjectMissing(f"the bytes {each.position} to {each.position + each.length} of {each.key} are damaged")
    return body


def bucket_of(database: Database) -> ObjectStore:
    """The bucket of raw payloads. Raises `ObjectsUnavailable` where this process is not told of it."""
    store = ObjectStore.of(database.settings)
    if store is None:
        said = "the payload is in a bucket, and BEAT_S3_BUCKET is not set in this process"
        raise ObjectsUnavailable(said, reason="not_set")
    return store
