"""Events of a time whose log is gone, or that had no log yet, written again from the tables that audits read, for one sink.

Written are the ends of requests, and the changes of entities whose observations are logged. They have the ids and the times that they have had, so a
consumer that knows them drops them. Their places in the log are read by the replay alone that is asked for with them; other sinks, the webhooks
and the feed of changes get none of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from beat_actors.database import Database, Statement, Statements, arrays, jsonb
from beat_actors.errors import BadInput, Conflict
from beat_actors.events.changes import Change, changes, has_history
from beat_actors.events.log import BEHIND, LAST
from beat_actors.events.replays import UNTIL, NewReplay, ReplayView, add, check
from beat_actors.events.status import check_sink
from beat_actors.moments import in_utc
from beat_actors.platforms.registry import platforms

READ, WRITTEN = 5000, 500
"""Rows that one statement reads, and events that one transaction writes."""
MOST_KNOWN = 5_000_000
"""Events of the time that the log may have already: they are compared in memory."""
TYPES = [
    "beat.scrape_request.complete",
    "beat.scrape_request.failed",
    "beat.scrape_request.cancelled",
    "beat.data.changed",
]


class Known(NamedTuple):
    """A place of the log, and the event's id if a backfill could write it."""

    seq: int
    id: str | None
    backfill: bool


class Span(NamedTuple):
    """Places, both included."""

    from_seq: int
    to_seq: int


class Ended(NamedTuple):
    """A request, and the id of the event of its end."""

    id: int
    event_id: str | None


class Backfilled(msgspec.Struct, frozen=True):
    """How many events were written; how many the log had already, as they were published (`present`) or from an earlier backfill (`earlier`); and the
    replay that sends those that were written, now or earlier."""

    written: int
    present: int
    earlier: int
    replay: ReplayView | None


T = TypeVar("T")
_CANCELLED = "the replay {} was cancelled while its events were written"
SQL = Statements(__file__)
KNOWN = SQL("known", Known)
EARLIER = SQL("earlier", Span)
ENDED = SQL("ended", Ended)
WRITE_ENDED = SQL("write_ended", int)
CHANGES = SQL("changes", str)
WRITE_CHANGES = SQL("write_changes", int)
PLACE = SQL("place", Span)
EXTEND = SQL("extend")
FINISH = SQL("finish", ReplayView)
DISCARD = SQL("discard")


async def backfill(
    database: Database, sink: str, since: datetime, until: datetime, *, rate: int, actor: str, reason: str
) -> Backfilled:
    """Write the events from `since` to `until` that the log does not have, and ask for a replay of them to `sink`.

    A run that breaks off leaves an open replay of the sink `(NAME)`, which is cancelled by hand; another run writes the rest. Raises `BadInput`,
    `UnknownName` for a sink that does not exist, `Conflict` where the replay was cancelled meanwhile.
    """
    new = NewReplay(sink=sink, from_time=since, to_time=until, rate=rate)
    check(new, reason)
    if in_utc(until, "to") < in_utc(since, "from"):
        raise BadInput("the time ends before it begins", field="to")
    new.sink = f"({sink})"  # no relay takes it up before it is written
    async with database.transaction() as transaction:
        await check_sink(transaction, sink)
        last = await transaction.only(LAST)
        draft = await add(transaction, new, last + 1, last, actor=actor, reason=reason, since=since)
    writer = _Writer(database, draft.id, await _known(database, since, until))
    await _requests(writer, since, until)
    for platform in platforms().values():
        for entity in filter(has_history, platform.entities):
            found = await changes(database, platform.name, entity, since, until)
            await _changes(writer, platform.name, entity.kind, found)
    spans = [place for place in (*writer.seen.values(), writer.first, writer.last) if place]
    async with database.statements() as alone:
        if not spans:
            await alone.run(DISCARD, {"id": draft.id})
            return Backfilled(0, writer.present, 0, None)
        values = {"id": draft.id, "sink": sink, "from_seq": min(spans), "to_seq": max(spans)}
        replay = await alone.row(FINISH, values)
    if replay is None:
        raise Conflict(_CANCELLED.format(draft.id))
    return Backfilled(writer.written, writer.present, len(writer.seen), replay)


async def _known(database: Database, since: datetime, until: datetime) -> dict[str, int]:
    """The ids of events that the log has of this time, each with its place if an earlier backfill wrote it, 0 otherwise."""
    found: dict[str, int] = {}
    async with database.statements() as alone:
        begin, end = await alone.value(BEHIND, {"at": since}) or 0, await alone.only(UNTIL, {"at": until})
        spans = [(begin, end), *((one.from_seq - 1, one.to_seq) for one in await alone.rows(EARLIER))]
    times = {"since": since, "until": until, "types": TYPES, "limit": READ}
    for after, up_to in spans:
        while True:
            async with database.statements() as alone:
                rows = await alone.rows(KNOWN, times | {"after": after, "up_to": up_to})
            if not rows:
                break
            after = rows[-1].seq
            found |= {row.id: row.seq if row.backfill else 0 for row in rows if row.id is not None}
            if len(found) > MOST_KNOWN:
                raise BadInput(
                    f"the log has more than {MOST_KNOWN:,} events of this time; take a shorter one", field="to"
                )
    return found


class _Writer:
    """Writes what is not known, and remembers what was. `seen`: events of earlier backfills of this time, with their places."""

    def __init__(self, database: Database, draft: int, known: Mapping[str, int]) -> None:
        self.database = database
        self._draft = draft
        self._known = known
        self.written = self.present = self.first = self.last = 0
        self.seen: dict[str, int] = {}

    def lacks(self, event_id: str) -> bool:
        place = self._known.get(event_id)
        if place:
            self.seen[event_id] = place
        elif place is not None:
            self.present += 1
        return place is None

    async def write(self, statement: Statement[int], values: Mapping[str, object]) -> None:
        async with self.database.transaction() as transaction:
            ids = await transaction.rows(statement, values)
            if not ids:
                return
            places = await transaction.only(PLACE, {"ids": ids})
            if not await transaction.run(EXTEND, {"id": self._draft, "to_seq": places.to_seq}):
                raise Conflict(_CANCELLED.format(self._draft))
        self.written += len(ids)
        self.first, self.last = self.first or places.from_seq, places.to_seq


async def _requests(writer: _Writer, since: datetime, until: datetime) -> None:
    after = 0
    while True:
        async with writer.database.statements() as alone:
            rows = await alone.rows(ENDED, {"after": after, "limit": READ, "since": since, "until": until})
        if not rows:
            return
        after = rows[-1].id
        lacking = [row.id for row in rows if row.event_id is not None and writer.lacks(row.event_id)]
        for ids in _batches(lacking):
            await writer.write(WRITE_ENDED, {"ids": ids})


async def _changes(writer: _Writer, platform: str, kind: str, found: Mapping[Change, Sequence[str]]) -> None:
    of: dict[str, object] = {"platform": platform, "kind": kind}
    for part in _batches(list(found)):
        named = arrays([(one.request_id, one.owner, one.observed_at) for one in part], "requests", "owners", "observed")
        async with writer.database.statements() as alone:
            ids = await alone.rows(CHANGES, of | named)
        rows = [
            (one.request_id, one.account_id, one.owner, one.observed_at, jsonb(found[one]))
            for one, event_id in zip(part, ids, strict=True)
            if writer.lacks(event_id)
        ]
        if rows:
            await writer.write(WRITE_CHANGES, of | arrays(rows, "requests", "accounts", "owners", "observed", "keys"))


def _batches(items: Sequence[T]) -> Iterator[list[T]]:
    for begin in range(0, len(items), WRITTEN):
        yield list(items[begin : begin + WRITTEN])
