"""Reads stored payloads with the parser of this checkout, and compares what it reads with the log rows of the same fetches.

Fetches are taken in chunks, the newest first, so that memory is the same for any number of them. A chunk costs one walk over the fetches since the
last one, one pass over the logs of the days that its payloads are of, and one read of each payload.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Composed, Database, Statement, Statements, arrays
from beat_actors.errors import (
    BadInput,
    Malformed,
    Missing,
    NotFound,
    ObjectMissing,
    ObjectsUnavailable,
    Private,
    UnknownName,
)
from beat_actors.parsers.comparison import Change, Observation, Reasons, Tally, observation
from beat_actors.payloads.reading import TOGETHER, Located, bucket_of, parts, read_located
from beat_actors.pipeline.entities import SUBJECTS, logged
from beat_actors.pipeline.holes import read
from beat_actors.pipeline.records import encode, unpack
from beat_actors.platforms.interface import FetchSpec, Platform
from beat_actors.platforms.registry import platforms, source_named

CHUNK = 1_000
"""Fetches that are compared together. Each costs some 10 kB of log rows."""
WINDOW = 100_000
"""Ids of fetches that one statement walks over."""
MOST = 1_000_000
ITEM = re.compile(r"\[[0-9]+\]")


class Bounds(NamedTuple):
    """Ids of fetches; None where there are none."""

    oldest: int | None
    newest: int | None


class Fetched(NamedTuple):
    """A fetch that was answered. `is_done`: records of the answer were written."""

    id: int
    payload_at: datetime
    is_done: bool
    parser_version: int | None
    params: dict[str, Any]
    cursor: str | None
    page: int
    owner: str | None


class Place(NamedTuple):
    """Where a payload is: in PostgreSQL if `key` is None, else in this object of the bucket."""

    fetch_id: int
    created_at: datetime
    key: str | None
    position: int
    length: int
    sum: int


class Body(NamedTuple):
    """A packed payload."""

    fetch_id: int
    body: bytes


class LogRow(NamedTuple):
    """A row of a log; `metrics` and `dimensions` are JSON texts."""

    fetch_id: int
    observed_at: datetime
    subject: str
    metrics: str
    dimensions: str


class Reason(msgspec.Struct, frozen=True):
    """Why payloads or records were not read; `fetch` is one of `count`."""

    reason: str
    count: int
    fetch: int


class StoredBy(msgspec.Struct, frozen=True):
    """How many of the compared payloads a parser version had read."""

    version: int | None
    payloads: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What would be different if the parser of this checkout had read these payloads.

    `version`: of the parser in this checkout. `unreadable`: payloads of which records were stored, and which it cannot read.
    `failed_before`: payloads of fetches that failed; it can read `readable_now` of them. `unavailable`: payloads that could not be read
    from the bucket; nothing is said about them. `records`: those that were stored, in parts `equal`, `changed` and `lost`. `not_logged`: records that it reads and
    that have no log to be compared with. `beyond`: records of which a metric changed by more than 1 % or is no longer read. `exceeded`: a record is
    lost, or `share_beyond` is above `threshold`.
    """

    platform: str
    source: str
    operation: str
    version: int
    stored_by: list[StoredBy]
    payloads: int
    since: datetime | None
    until: datetime | None
    unreadable: int
    failed_before: int
    readable_now: int
    unavailable: int
    records: int
    equal: int
    changed: int
    lost: int
    gained: int
    not_logged: int
    beyond: int
    share_beyond: float
    threshold: float
    exceeded: bool
    fields: list[Change]
    lost_examples: list[str]
    gained_examples: list[str]
    reasons: list[Reason]


SQL = Statements(__file__)
READ_ONLY, PATIENT = SQL("read_only"), SQL("patient")
BOUNDS, PAGE = SQL("bounds", Bounds), SQL("page", Fetched)
PLACES, BODIES = SQL("places", Place), SQL("bodies", Body)
WHICH = (
    "l.platform = %(platform)s AND l.observed_at BETWEEN %(since)s AND %(until)s "
    "AND l.fetch_id IN (SELECT unnest(%(fetches)s::bigint[]))"
)


@cache
def _rows_of(log: str) -> Statement[LogRow]:
    """The rows of a log that belong to fetches. One pass over the days between `since` and `until`, and a look into an index for each row."""
    text = f"SELECT fetch_id, observed_at, {SUBJECTS[log]} AS subject, metrics::text AS metrics, dimensions::text AS dimensions FROM {logged(log, WHICH)} l"  # noqa: S608 - names of Beat
    return Composed(f"parsers/diff.{log}", text, LogRow)


async def diff(database: Database, source: str, operation: str, *, last: int, threshold: float) -> Difference:
    """Compare the last `last` payloads of an operation of a source.

    Raises `BadInput`; `NotFound` where no payload is kept; `ObjectsUnavailable` where none can be read because of the bucket.
    """
    if not 1 <= last <= MOST:
        raise BadInput(f"last is 1 to {MOST:,}", field="last")
    if not 0 <= threshold <= 1:
        raise BadInput("threshold is a share from 0 to 1, such as 0.005 for 0.5 %", field="threshold")
    comparing = Comparing(database, source, operation)
    await comparing.all(last)
    return comparing.result(threshold)


class Comparing:
    """One comparison. Raises `BadInput` for a source or an operation that this checkout does not have."""

    def __init__(self, database: Database, source: str, operation: str) -> None:
        name, declared = source_named(source)
        if operation not in declared.endpoints:
            known = ", ".join(sorted(declared.endpoints))
            raise UnknownName(f"{source} has no operation {operation!r}; it has: {known}", field="operation")
        self._database = database
        self._platform: Platform = platforms()[name]
        self._source, self._operation = source, operation
        self._endpoint = declared.endpoints[operation]
        self._logs = sorted({entity.log for entity in self._platform.entities if entity.log is not None})
        self._tally, self._reasons = Tally(), Reasons()
        self._payloads = self._unreadable = self._failed_before = self._readable_now = self._unavailable = 0
        self._versions: Counter[int | None] = Counter()
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._bucket_is_away: ObjectsUnavailable | None = None

    async def all(self, last: int) -> None:
        """Compare up to `last` payloads, the newest first."""
        async with self._database.statements() as alone:
            bounds = await alone.only(BOUNDS)
        if bounds.oldest is None or bounds.newest is None:
            return
        before, chunk = bounds.newest + 1, list[Fetched]()
        of = {"platform": self._platform.name, "source": self._source, "operation": self._operation}
        while self._seen < last and before > bounds.oldest:
            low, limit = max(before - WINDOW, bounds.oldest), min(CHUNK, last - self._seen) - len(chunk)
            async with self._database.transaction() as transaction:
                await transaction.run(READ_ONLY)
                found = await transaction.rows(PAGE, of | {"low": low, "before": before, "limit": limit})
            before = found[-1].id if len(found) == limit else low
            chunk += found
            if len(found) == limit or before <= bounds.oldest:
                await self._chunk(chunk)
                chunk = []

    @property
    def _seen(self) -> int:
        return self._payloads + self._unavailable

    async def _chunk(self, fetches: Sequence[Fetched]) -> None:
        if not fetches:
            return
        values = _values((fetch.id, fetch.payload_at) for fetch in fetches)
        async with self._database.transaction() as transaction:
            await transaction.run(READ_ONLY)
            await transaction.run(PATIENT)
            places = await transaction.rows(PLACES, values | {"source": self._source})
            stored: defaultdict[tuple[int, datetime], list[Observation]] = defaultdict(list)
            for log in self._logs if places else ():
                for row in await transaction.rows(_rows_of(log), values | {"platform": self._platform.name}):
                    stored[row.fetch_id, row.observed_at].append(_observed(log, row))
        by_id = {fetch.id: fetch for fetch in fetches}
        for some in parts(sorted(places, key=lambda place: -place.fetch_id), TOGETHER):
            for place, body in await self._bodies(some):
                fetch = by_id[place.fetch_id]
                self._compare(fetch, stored.pop((fetch.id, fetch.payload_at), []), body)

    async def _bodies(self, places: Sequence[Place]) -> list[tuple[Place, bytes]]:
        """The packed payloads. One that cannot be had is counted."""
        here = [place for place in places if place.key is None]
        bodies: dict[int, bytes | str] = {}
        if here:
            async with self._database.transaction() as transaction:
                await transaction.run(READ_ONLY)
                values = _values((place.fetch_id, place.created_at) for place in here)
                bodies = dict(await transaction.rows(BODIES, values, binary=True))
        away = [place for place in places if place.key is not None]
        bodies |= zip((place.fetch_id for place in away), await self._from_bucket(away), strict=True)
        found = list[tuple[Place, bytes]]()
        for place in places:
            body = bodies.get(place.fetch_id, "the payload was moved or erased meanwhile")
            if isinstance(body, bytes):
                found.append((place, body))
            else:
                self._unavailable += 1
                self._reasons.add(body, place.fetch_id)
        return found

    async def _from_bucket(self, places: Sequence[Place]) -> list[bytes | str]:
        """The payloads in the bucket, or why one cannot be had. A bucket that does not answer is not asked again."""
        if not places:
            return []
        try:
            if self._bucket_is_away is not None:
                raise self._bucket_is_away
            store = bucket_of(self._database)
            located = (Located(p.fetch_id, p.created_at, p.key or "", p.position, p.length, p.sum) for p in places)
            found = await asyncio.gather(*(read_located(store, each) for each in located), return_exceptions=True)
        except ObjectsUnavailable as error:
            self._bucket_is_away = error
            return [str(error)] * len(places)
        read_: list[bytes | str] = []
        for each in found:
            if isinstance(each, bytes):
                read_.append(each)
            elif isinstance(each, ObjectMissing):
                read_.append("the bucket has lost the payload, or its bytes are damaged")
            elif isinstance(each, ObjectsUnavailable):
                self._bucket_is_away = each
                read_.append(str(each))
            else:
                raise each
        return read_

    def _compare(self, fetch: Fetched, stored: Sequence[Observation], packed: bytes) -> None:
        self._payloads += 1
        self._since = min(self._since or fetch.payload_at, fetch.payload_at)
        self._until = max(self._until or fetch.payload_at, fetch.payload_at)
        if fetch.is_done:
            self._versions[fetch.parser_version] += 1
        else:
            self._failed_before += 1
        observed = self._read(fetch, packed)
        if observed is None and fetch.is_done:
            self._unreadable += 1
        elif observed is not None and not fetch.is_done:
            self._readable_now += 1
        self._tally.compare(stored, observed or ())

    def _read(self, fetch: Fetched, packed: bytes) -> list[Observation] | None:
        """What is read of a payload; None where nothing is. What a payload does raises nothing here."""
        spec = FetchSpec(self._operation, fetch.params, fetch.cursor, self._source, fetch.page, fetch.owner)
        try:
            body = unpack(packed)
            parsed, holes = read(lambda some: self._endpoint.parse(some, spec), body, self._platform.record_lists)
            encode(parsed.records)
            for hole in holes:
                self._reasons.add(_generalized(f"a record is left out: {hole.error}"), fetch.id)
            observed = [observation(self._platform, record) for record in parsed.records]
        except (Missing, Private) as error:
            reason = f"{type(error).__name__}: {error}"
        except Malformed as error:
            reason = _generalized(str(error))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a parser's bug is what is looked for
            reason = f"{type(error).__name__}: {error}"
        else:
            self._tally.not_logged += sum(one is None for one in observed)
            return [one for one in observed if one is not None]
        if fetch.is_done:
            self._reasons.add(reason[:300], fetch.id)
        return None

    def result(self, threshold: float) -> Difference:
        """What was found. Raises `NotFound` and `ObjectsUnavailable` where nothing was compared."""
        tally = self._tally
        if not self._payloads:
            if self._bucket_is_away is not None:
                raise self._bucket_is_away
            days = self._database.settings.raw_payload_days
            raise NotFound(
                f"no payload of {self._source} {self._operation} is kept, so nothing was compared; raw payloads are kept for {days} days"
            )
        changes = (change for change in tally.fields.values() if change.differs)
        reasons = self._reasons
        return Difference(
            platform=self._platform.name,
            source=self._source,
            operation=self._operation,
            version=self._endpoint.version,
            stored_by=[StoredBy(version, count) for version, count in self._versions.most_common()],
            payloads=self._payloads,
            since=self._since,
            until=self._until,
            unreadable=self._unreadable,
            failed_before=self._failed_before,
            readable_now=self._readable_now,
            unavailable=self._unavailable,
            records=tally.stored,
            equal=tally.equal,
            changed=tally.changed,
            lost=tally.lost,
            gained=tally.gained,
            not_logged=tally.not_logged,
            beyond=tally.beyond,
            share_beyond=tally.share_beyond,
            threshold=threshold,
            exceeded=tally.lost > 0 or tally.share_beyond > threshold,
            fields=sorted(changes, key=lambda change: (-change.beyond, -change.differs, change.field)),
            lost_examples=tally.lost_examples,
            gained_examples=tally.gained_examples,
            reasons=[Reason(why, count, reasons.examples[why]) for why, count in reasons.counts.most_common()],
        )


def _observed(log: str, row: LogRow) -> Observation:
    # A field that is told to be empty is compared as one that is not told: rows of earlier versions do not tell them apart.
    metrics, dimensions = (
        {name: value for name, value in msgspec.json.decode(each).items() if value is not None}
        for each in (row.metrics, row.dimensions)
    )
    return Observation(log, row.subject, log, row.subject, metrics, dimensions)


def _values(keys: Iterable[tuple[int, datetime]]) -> dict[str, Any]:
    """Fetches and times as parameters, with the first and the last of the times."""
    found = list(keys)
    times = [at for _, at in found]
    return {**arrays(found, "fetches", "times"), "since": min(times), "until": max(times)}


def _generalized(reason: str) -> str:
    """A reason without the places of items in lists, so that the same fault has the same reason."""
    return ITEM.sub("[]", reason)[:300]
