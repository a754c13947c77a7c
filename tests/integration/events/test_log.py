"""The order of the log: what is lost, what is out of order, and what may delay it."""

import asyncio

import psycopg
import pytest

from beat_actors.database import Composed, Database
from tests.events import sequence_all
from tests.integration.events.world import race, write

PLACES = Composed(
    "tests/places",
    "SELECT l.seq, e.subject, e.version FROM event_log l LEFT JOIN event e ON e.id = l.id AND e.at = l.at ORDER BY l.seq",
    tuple,
)
FLOOR = Composed("tests/floor", "SELECT floor FROM event_sequence", int)


async def places(url: str) -> list[tuple[int, str, int]]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute(PLACES.text)).fetchall()


async def sequencing(database: Database, stopped: asyncio.Event) -> None:
    while not stopped.is_set():
        await sequence_all(database)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("each", [150, pytest.param(4500, marks=pytest.mark.exhaustive)])
@pytest.mark.timeout(600)
async def test_s5_8_nothing_is_lost_or_out_of_order_whoever_begins_first(database, database_url, each: int) -> None:
    """12 writers whose transactions have numbers before they lock, three sequencers that race."""
    stopped = asyncio.Event()
    sequencers = [asyncio.create_task(sequencing(database, stopped)) for _ in range(3)]
    await race(database_url, writers=12, each=each, subjects=20, seed=each)
    stopped.set()
    await asyncio.gather(*sequencers)
    await sequence_all(database)
    found = await places(database_url)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        ((written,),) = await (await connection.execute("SELECT count(*) FROM event")).fetchall()
        counted = dict(
            await (await connection.execute("SELECT 'subject/' || id, n FROM counted WHERE n > 0")).fetchall()
        )
    assert [seq for seq, _, _ in found] == list(range(1, written + 1))
    versions: dict[str, list[int]] = {}
    for _, subject, version in found:
        versions.setdefault(subject, []).append(version)
    assert versions == {subject: list(range(1, n + 1)) for subject, n in counted.items()}


async def test_an_open_transaction_of_others_delays_no_event(database, database_url, servers) -> None:
    """In this database and in another one of the cluster: each has a number, and stays open."""
    with servers.databases.database("another_one_of_the_cluster") as other_url:
        async with (
            await psycopg.AsyncConnection.connect(other_url) as other,
            await psycopg.AsyncConnection.connect(database_url) as same,
        ):
            for connection in (other, same):
                await connection.execute("CREATE TABLE held (n integer)")
                await connection.execute("INSERT INTO held VALUES (1)")
            await write(database, "subject/1", range(1, 4))
            assert await sequence_all(database) == 3
            await same.rollback()


async def test_what_commits_late_gets_its_place_behind_what_was_before(database, database_url) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as late:
        await late.execute(
            "INSERT INTO event (event_id, type, subject, data) VALUES (gen_random_uuid(), 'beat.alert.opened', 'late', '{}')"
        )
        await write(database, "early", range(1, 3))
        assert await sequence_all(database) == 2
        await late.commit()
    assert await sequence_all(database) == 3
    assert [subject for _, subject, _ in await places(database_url)] == ["early", "early", "late"]


async def test_the_floor_rises_behind_what_has_ended_and_never_passes_what_may_come(database, database_url) -> None:
    async def floor() -> int:
        async with database.statements() as alone:
            return await alone.only(FLOOR)

    async def more(times: int) -> None:
        for _ in range(times):
            await write(database, "subject/1", range(1, 11))
            await sequence_all(database)

    await more(5)
    reached = await floor()
    assert reached > 0
    async with await psycopg.AsyncConnection.connect(database_url) as late:
        cursor = await late.execute(
            "INSERT INTO event (event_id, type, subject, data) VALUES (gen_random_uuid(), 'beat.alert.opened', 'late', '{}') RETURNING id"
        )
        ((pending,),) = await cursor.fetchall()
        await more(8)
        assert reached <= await floor() < pending
        await late.commit()
    before = len(await places(database_url))
    await sequence_all(database)
    assert len(await places(database_url)) == before + 1
    await more(5)
    assert await floor() > pending


async def test_a_mark_of_another_cluster_is_taken_anew(database, database_url) -> None:
    """A dump is restored into a cluster whose transactions have lower numbers."""
    await write(database, "subject/1", range(1, 3))
    await sequence_all(database)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute("UPDATE event_sequence SET marked_in = '999999999', mark_until = '999999999'")
    for _ in range(5):
        await write(database, "subject/1", range(3, 5))
        await sequence_all(database)
    async with database.statements() as alone:
        assert await alone.only(FLOOR) > 2


async def test_a_writer_that_rolls_back_leaves_no_place(database, database_url) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "INSERT INTO event (event_id, type, subject, data) VALUES (gen_random_uuid(), 'beat.alert.opened', 'x', '{}')"
        )
        await connection.rollback()
    await write(database, "subject/1", range(1, 2))
    assert await sequence_all(database) == 1
