"""Any number of schedulers, one leader; and nothing depends on there being only one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import psycopg
import pytest

from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.leadership import Leadership
from beat_actors.requests import intake, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.events import ENDS
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

SILENT_FOR = 1.0


@pytest.fixture
def direct(settings: Settings, process_url: str) -> Settings:
    """Leadership needs a session of its own, whatever pooler the rest goes through."""
    return settings.model_copy(update={"database_direct_url": process_url})


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beat_actors.leadership.BEAT", 0.05)


@pytest.fixture
async def candidates(direct: Settings) -> AsyncIterator[tuple[Leadership, Leadership]]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Leadership(direct, holder="first", silent_for=SILENT_FOR))
        await until(lambda: first.epoch is not None)
        second = await stack.enter_async_context(Leadership(direct, holder="second", silent_for=SILENT_FOR))
        yield first, second


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.02)


async def test_s4_7_one_leads_and_the_other_takes_over_when_its_session_ends(
    candidates: tuple[Leadership, Leadership], database_url: str
) -> None:
    first, second = candidates
    await asyncio.sleep(0.3)
    assert (first.epoch, second.epoch) == (1, None)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    await until(lambda: 2 in (first.epoch, second.epoch))
    await until(lambda: 1 not in (first.epoch, second.epoch))
    assert (first.epoch is None) != (second.epoch is None)


async def test_s4_7_a_paused_leader_is_replaced_and_learns_of_it(candidates: tuple[Leadership, Leadership]) -> None:
    first, second = candidates
    assert first._task is not None
    first._task.cancel()  # as SIGSTOP: it keeps its session and its lock, and gives no sign of life
    await until(lambda: second.epoch == 2)
    first._task = asyncio.create_task(first._campaign())
    await until(lambda: first.epoch is None)
    await asyncio.sleep(0.3)
    assert (first.epoch, second.epoch) == (None, 2)


async def test_s4_7_a_paused_leader_that_was_seen_before_the_clock_stepped_back_is_replaced(
    candidates: tuple[Leadership, Leadership], database_url: str
) -> None:
    first, second = candidates
    assert first._task is not None
    first._task.cancel()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE leader SET seen_at = clock_timestamp() + interval '1 hour'")
    await until(lambda: second.epoch == 2)


async def test_s4_7_a_leader_that_was_replaced_writes_nothing(
    candidates: tuple[Leadership, Leadership], settings: Settings
) -> None:
    first, _ = candidates
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        await engine.credentials.add("toy-first", {"key": "a"})
        await intake.accept(engine.database, [NewRequest("toy", "look", {"name": "n"})])
        leased = (await turn(engine.database, TOY)).leased
        await retrieve(engine, leased)
        assert first.epoch == 1
        assert (await sweeps.unsent(engine.database, 7, grace=0)).send == []
        assert (await sweeps.unsent(engine.database, 1, grace=0)).send == [("ingest", leased)]
    await engine.close()


async def test_s4_7_two_leaders_at_once_do_no_harm(settings: Settings) -> None:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer(500)))
    with registered(TOY):
        for key in "abcd":
            await engine.credentials.add("toy-second", {"key": key})
        await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(12)])
        leased = (await turn(engine.database, TOY)).leased
        async with engine.database.transaction() as transaction:  # their holders died
            await transaction.run("UPDATE scrape_fetch SET lease_until = clock_timestamp() - interval '1 second'")
            await transaction.run("UPDATE scrape_request_log SET expires_at = clock_timestamp() WHERE id % 3 = 0")

        async def lead(database: Database) -> int:
            await sweeps.orphaned(database)
            return (await sweeps.expired(database)).count

        expired = await asyncio.gather(*(lead(engine.database) for _ in range(8)))
        async with engine.database.transaction() as transaction:
            traces = await transaction.rows("SELECT fetch_id, count(*) AS n FROM trace_log GROUP BY 1")
            events = await transaction.rows(f"SELECT subject, count(*) AS n FROM event WHERE {ENDS} GROUP BY 1")
        assert sorted(row.fetch_id for row in traces) == sorted(leased)
        assert {row.n for row in traces} == {1}
        assert len(events) == sum(expired) == 4
        assert {row.n for row in events} == {1}
    await engine.close()
