"""Events that transactions write, a sink that does what a test says, and relays over the test's database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import psycopg

from beat_actors.database import Composed, Database
from beat_actors.events.positions import ENROLL, Wanted
from beat_actors.events.relay import Relay
from beat_actors.events.sink import Event, Refusal, SinkUnavailable, Trouble
from tests.events import sequence_all

WRITE = "INSERT INTO event (event_id, type, subject, version, data) VALUES (%s, %s, %s, %s, '{}')"


async def write(
    database: Database, subject: str, versions: range, *, type_: str = "beat.scrape_request.processing"
) -> None:
    async with database.transaction() as transaction:
        for version in versions:
            await transaction.run(WRITE, (str(uuid4()), type_, subject, version))


@dataclass
class Recorder:
    """A sink in memory. `refuses`: why it refuses an event; `down`: why it takes nothing; `holds`: it confirms nothing until that is set."""

    in_order: bool = False
    down: SinkUnavailable | None = None
    refuses: Callable[[Event], Refusal | None] = lambda _event: None
    raises: Callable[[Event], Exception | None] = lambda _event: None
    holds: asyncio.Event | None = None
    taken: list[Event] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    is_open: bool = False

    async def open(self, position: int = 0) -> None:
        if self.down is not None:
            raise self.down
        self.opened.append(position)
        self.is_open = True

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        assert self.is_open
        self.batches.append(len(events))
        if not self.in_order:
            assert len({event.subject for event in events}) == len(events), "two events of a subject in one batch"
        if self.down is not None:
            raise self.down
        if self.holds is not None:
            await self.holds.wait()
        refused = {}
        for place, event in enumerate(events):
            if (error := self.raises(event)) is not None:
                raise error
            if (refusal := self.refuses(event)) is not None:
                refused[place] = refusal
            else:
                self.taken.append(event)
        await asyncio.sleep(0)
        return refused

    def trouble(self) -> Refusal | None:
        return Refusal(Trouble.NO_CONFIRM, "it holds its confirms") if self.holds is not None else None

    async def close(self) -> None:
        self.is_open = False

    def of(self, subject: str) -> list[int | None]:
        return [event.version for event in self.taken if event.subject == subject]


def first_occurrences(events: Sequence[Event]) -> dict[str, list[int]]:
    """The versions of each subject in the order in which a consumer that drops repetitions sees them."""
    seen: set[str] = set()
    found: dict[str, list[int]] = {}
    for event in events:
        if event.id not in seen:
            seen.add(event.id)
            found.setdefault(event.subject, []).append(event.version or 0)
    return found


@dataclass
class Running:
    """A relay at work. `news`: give places to what was written, and tell the relay."""

    relay: Relay
    task: asyncio.Task[None]
    database: Database
    log: list[int]

    async def news(self) -> int:
        self.log[0] = await sequence_all(self.database)
        self.relay.news.set()
        return self.log[0]


async def enroll(database: Database, name: str, *, whole: bool = True) -> None:
    async with database.statements() as alone:
        await alone.run(ENROLL, {"name": name, "scheme": "test", "whole": whole, "wanted": "{}"})


@asynccontextmanager
async def relaying(
    database: Database, sink: Recorder, *, name: str = "bus", wanted: Wanted | None = None, holder: str = "one"
) -> AsyncIterator[Running]:
    await enroll(database, name)
    log, stopped = [0], asyncio.Event()
    relay = Relay(database, name, sink, wanted or Wanted(), holder, lambda: log[0])  # type: ignore[arg-type]
    task = asyncio.create_task(relay.run(stopped))
    try:
        yield Running(relay, task, database, log)
    finally:
        stopped.set()
        relay.news.set()
        if not task.cancelled():
            await asyncio.wait([task], timeout=20)
        task.cancel()


@dataclass(frozen=True)
class SinkRow:
    seq: int
    sent: int
    returned: int
    nacked: int
    parked: int
    trouble: str | None
    reason: str | None
    holder: str | None
    since: datetime | None


SINK = Composed(
    "tests/sink",
    "SELECT seq, sent, returned, nacked, parked, trouble, reason, holder, since FROM event_sink WHERE name = %(name)s",
    SinkRow,
)


async def sink_row(database: Database, name: str = "bus") -> SinkRow:
    async with database.statements() as alone:
        return await alone.only(SINK, {"name": name})


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


async def race(url: str, *, writers: int, each: int, subjects: int, seed: int) -> None:
    """Writers whose transactions have a number before they lock their subject, so that the order of numbers is not the order of commits."""
    from random import Random

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute("CREATE TABLE counted (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0)")
        await admin.execute("INSERT INTO counted (id) SELECT generate_series(1, %s)", (subjects,))

    async def one(number: int) -> None:
        random = Random(seed * 1000 + number)
        async with await psycopg.AsyncConnection.connect(url) as connection:
            for _ in range(each):
                await connection.execute("SELECT pg_current_xact_id()")
                subject = random.randint(1, subjects)
                if random.random() < 0.3:
                    await asyncio.sleep(random.random() * 0.003)
                await connection.execute(
                    "WITH c AS (UPDATE counted SET n = n + 1 WHERE id = %s RETURNING id, n) INSERT INTO event (event_id, type, subject, version, data) "
                    "SELECT gen_random_uuid(), 'beat.scrape_request.processing', 'subject/' || id, n, '{}' FROM c",
                    (subject,),
                )
                if random.random() < 0.1:
                    await asyncio.sleep(random.random() * 0.003)
                if random.random() < 0.05:
                    await connection.rollback()
                else:
                    await connection.commit()

    await asyncio.gather(*(one(number) for number in range(writers)))
