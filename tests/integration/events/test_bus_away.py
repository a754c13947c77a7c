"""What the rest of Beat has of a message bus that is away or refuses: nothing. And what a consumer sees of a request's life."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import psycopg
import pytest
from pamqp.commands import Confirm, Exchange

from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.events.publisher import Publisher
from beat_actors.events.relay import WINDOW
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake, lifecycle
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.amqp_stub import Message, Session, Stub, confirm, serving
from tests.events import DONE
from tests.integration.events.bus import all_of, kept, of_message, publishing, same_ids, write_many
from tests.integration.events.world import first_occurrences, sink_row, until
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, First, ScriptedClient, answer, engine_with, registered

pytestmark = pytest.mark.slow

MANY = 12_000
"""Events, twice as many as may be on their way."""


class Free(First):
    limits = ()


OPEN = replace(TOY, name="open", sources={Free.name: Free()}, chains={"look": (Free.name,)})


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    """Of a platform without limits. What is looked for under the name `gone` does not exist."""
    client = ScriptedClient(lambda _, call: answer(404 if call.query.get("of") == "gone" else 200))
    engine = engine_with(settings, client)
    with registered(OPEN):
        await engine.credentials.add(Free.name, {"key": "a"})
        yield engine
    await engine.close()


async def accepted(engine: Engine, *names: str) -> list[int]:
    asked = [NewRequest("open", "look", {"name": name}) for name in names]
    return [one.id for one in await intake.accept(engine.database, asked)]


async def worked(engine: Engine) -> None:
    """All that was accepted, to its end."""
    while leased := (await turn(engine.database, OPEN)).leased:
        retrieved = await retrieve(engine, leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)


async def complete(database: Database) -> int:
    ((count,),) = await rows(database, "SELECT count(*) FROM scrape_request_log WHERE status = 'COMPLETE'")
    return int(count)


@dataclass
class Bus:
    """A server of AMQP that takes what it is sent. `taken`: in its order, over all connections."""

    stub: Stub
    url: str
    taken: list[Message]

    @property
    def count(self) -> int:
        return len(self.taken)


def a_bus(on_publish: Callable[[Session, Message], None] = confirm) -> Bus:
    taken: list[Message] = []

    def take(session: Session, message: Message) -> None:
        if on_publish is confirm:
            taken.append(message)
        on_publish(session, message)

    return Bus(Stub(on_publish=take), "", taken)


@asynccontextmanager
async def up(bus: Bus) -> AsyncIterator[Bus]:
    """The bus is there, always under the same URL."""
    async with serving(bus.stub):
        bus.url = bus.stub.place().url
        yield bus


@pytest.fixture
async def away() -> Bus:
    """Its port is known, and nobody listens there."""
    bus = a_bus()
    async with up(bus):
        pass
    return bus


async def standing(database: Database, trouble: str | None) -> bool:
    return (await sink_row(database)).trouble == trouble


async def passed(database: Database, seq: int) -> bool:
    return (await sink_row(database)).seq >= seq


def nacks(session: Session, message: Message) -> None:
    session.nack(message.tag)


def returns(session: Session, message: Message) -> None:
    session.give_back(message)
    session.ack(message.tag)


def blocks(session: Session, message: Message) -> None:
    session.blocked()


def cuts(session: Session, message: Message) -> None:
    session.cut()


@pytest.mark.parametrize(
    ("refuses", "trouble"),
    [(nacks, "nacked"), (returns, "unroutable"), (blocks, "blocked"), (cuts, "unreachable")],
)
async def test_s5_1_and_s5_2_each_refusal_has_a_name_is_counted_and_affects_no_request(
    engine: Engine, settings: Settings, database_url: str, refuses: Callable[[Session, Message], None], trouble: str
) -> None:
    async with up(a_bus(refuses)) as bus, publishing(settings, bus=bus.url):
        await accepted(engine, *(f"name {number}" for number in range(20)))
        await until(lambda: standing(engine.database, trouble))
        await worked(engine)
        assert await complete(engine.database) == 20
        for _ in range(30):
            assert await standing(engine.database, trouble), "it does not come and go while nothing is taken"
            await asyncio.sleep(0.05)
        row = await sink_row(engine.database)
        assert (row.trouble, row.seq, row.sent, row.parked, await kept(database_url)) == (trouble, 0, 0, 0, 60)
        assert row.reason
        counted = {"nacked": row.nacked, "unroutable": row.returned}.get(trouble, 1)
        assert counted >= 1


async def test_s5_1_a_refused_login_has_its_own_name_and_affects_no_request(engine: Engine, settings: Settings) -> None:
    async with up(a_bus()) as bus, publishing(settings, bus=bus.stub.place(password="another").url):
        await accepted(engine, "a", "b")
        await until(lambda: standing(engine.database, "auth"))
        await worked(engine)
        assert await complete(engine.database) == 2
        assert "another" not in ((await sink_row(engine.database)).reason or "")


class RolledBack(Exception):
    """A transaction ends without its changes."""


async def rolled_back(database: Database, request: int) -> None:
    async with database.transaction() as transaction:
        assert await lifecycle.cancel(transaction, [request], reason="a test") == [request]
        raise RolledBack


async def test_s5_3_an_event_is_written_with_its_change_or_not_at_all(engine: Engine, database_url: str) -> None:
    (first,) = await accepted(engine, "a")
    assert await kept(database_url) == 1
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no event''; END'"
        )
        await admin.execute("CREATE TRIGGER refuse BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION refuse()")
    with pytest.raises((psycopg.Error, StorageUnavailable)):
        await accepted(engine, "b")
    assert await rows(engine.database, "SELECT id FROM scrape_request_log") == [(first,)]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute("DROP TRIGGER refuse ON event")
    with pytest.raises(RolledBack):
        await rolled_back(engine.database, first)
    assert await kept(database_url) == 1
    await worked(engine)
    assert (await complete(engine.database), await kept(database_url)) == (1, 3)


async def test_s5_4_and_s5_8_requests_end_and_events_pile_up_while_the_bus_is_away(
    engine: Engine, settings: Settings, away: Bus
) -> None:
    """What is read from the log meanwhile is bounded, whatever piles up. All arrives when the bus is there."""
    async with publishing(settings, bus=away.url) as publisher:
        ids = await accepted(engine, *(f"name {number}" for number in range(40)))
        await until(lambda: standing(engine.database, "unreachable"))
        await worked(engine)
        assert await complete(engine.database) == len(ids)
        await write_many(engine.database, 400, range(1, MANY // 400 + 1))
        await until(lambda: publisher.last() == MANY + 120)
        await asyncio.sleep(1)
        assert 0 < on_their_way(publisher) <= WINDOW
        assert ((await sink_row(engine.database)).seq, away.taken) == (0, [])
        async with up(away):
            await until(lambda: passed(engine.database, MANY + 120))
            await until(lambda: standing(engine.database, None))
    events = [of_message(message) for message in away.taken]
    lives = {f"scrape_request/{number}": [1, 2, 3] for number in ids}
    assert first_occurrences(events) == lives | all_of(400, MANY // 400)
    assert len(events) == MANY + 120, "nothing was sent twice"


def on_their_way(publisher: Publisher) -> int:
    (relay,) = publisher._relays
    return len(relay._window)


async def test_s5_6_a_consumer_sees_each_step_of_a_request_in_order(engine: Engine, settings: Settings) -> None:
    async with up(a_bus()) as bus, publishing(settings, bus=bus.url):
        good = await accepted(engine, *(f"name {number}" for number in range(10)))
        (gone,) = await accepted(engine, "gone")
        (unwanted,) = await accepted(engine, "unwanted")
        async with engine.database.transaction() as transaction:
            await lifecycle.cancel(transaction, [unwanted], reason="no longer wanted")
        await worked(engine)
        await until(lambda: passed_all(engine.database))
    events = [of_message(message) for message in bus.taken]
    steps: dict[str, list[tuple[int | None, str]]] = {}
    for event in events:
        steps.setdefault(event.subject, []).append((event.version, event.type.removeprefix("beat.scrape_request.")))
    assert steps == {
        f"scrape_request/{number}": list(enumerate(life, 1))
        for life, numbers in (
            (DONE, good),
            (["accepted", "processing", "failed"], [gone]),
            (["accepted", "cancelled"], [unwanted]),
        )
        for number in numbers
    }
    assert all(
        earlier.seq < later.seq
        for subject in steps
        for earlier, later in pairwise(e for e in events if e.subject == subject)
    )


async def passed_all(database: Database) -> bool:
    """Whether the sink has every event that was committed."""
    ((count,),) = await rows(database, "SELECT count(*) FROM event")
    return await passed(database, int(count))


async def test_s5_11_the_publisher_connects_again_by_itself(database: Database, settings: Settings) -> None:
    """The bus takes what it is sent, and cuts three connections before it has confirmed all of it."""
    bus = a_bus()

    def cutting(session: Session, message: Message) -> None:
        bus.taken.append(message)
        if message.tag == 50 and len(bus.stub.sessions) <= 3:
            session.cut()
        elif not session.writer.is_closing():
            session.ack(message.tag)

    bus.stub.on_publish = cutting
    async with up(bus), publishing(settings, bus=bus.url):
        await write_many(database, 40, range(1, 11))
        await until(lambda: passed(database, 400))
    assert len(bus.stub.sessions) == 4
    events = [of_message(message) for message in bus.taken]
    assert first_occurrences(events) == all_of(40, 10)
    assert same_ids(events)


async def test_s5_11_the_publisher_connects_to_another_node_of_a_cluster(
    database: Database, settings: Settings
) -> None:
    """At the beginning no node is at the first address of the URL. The connection to the second one is cut when the first is there."""
    one, other = a_bus(), a_bus()
    async with up(one):
        pass
    async with up(other):
        hosts = f"127.0.0.1:{one.stub.port},127.0.0.1:{other.stub.port}"
        url = one.url.replace(f"127.0.0.1:{one.stub.port}", hosts)
        async with publishing(settings, bus=url):
            await write_many(database, 40, range(1, 3))
            await until(lambda: passed(database, 80))
            async with up(one):
                for session in other.stub.sessions:
                    session.cut()
                await write_many(database, 40, range(3, 5))
                await until(lambda: passed(database, 160))
    assert (other.count, one.count) == (80, 80)
    events = [of_message(message) for message in (*other.taken, *one.taken)]
    assert first_occurrences(events) == all_of(40, 4)


async def test_s5_11_a_node_that_takes_connections_and_says_nothing_holds_up_one_attempt(
    database: Database, settings: Settings
) -> None:
    """As a frozen node does. The publisher gives up the attempt, and begins the next one with the other node."""
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    bus = a_bus()
    async with up(bus):
        port = silent.sockets[0].getsockname()[1]
        url = bus.url.replace(f"127.0.0.1:{bus.stub.port}", f"127.0.0.1:{port},127.0.0.1:{bus.stub.port}")
        async with publishing(settings, bus=url):
            await write_many(database, 10, range(1, 3))
            await until(lambda: passed(database, 20), 60)
    silent.close()
    for writer in held:
        writer.close()
    assert held
    assert bus.count == 20


async def test_s5_12_only_what_every_queue_has_stored_counts_as_sent(database: Database, settings: Settings) -> None:
    """Confirms are on, and messages are persistent and mandatory, so a queue on several nodes has an event before Beat goes past it."""
    bus = a_bus()
    held: list[tuple[Session, Message]] = []
    bus.stub.on_publish = lambda session, message: held.append((session, message))
    async with up(bus), publishing(settings, bus=bus.url):
        await write_many(database, 30, range(1, 2))
        await until(lambda: len(held) == 30)
        await asyncio.sleep(1)
        row = await sink_row(database)
        assert (row.seq, row.sent) == (0, 0)
        for session, message in held:
            session.ack(message.tag)
        await until(lambda: passed(database, 30))
    assert any(isinstance(method, Confirm.Select) for method in bus.stub.session.methods)
    assert all(
        method.durable for method in bus.stub.declared if isinstance(method, Exchange.Declare) and not method.passive
    )
    assert all(message.method.mandatory and message.header.properties.delivery_mode == 2 for _, message in held)
