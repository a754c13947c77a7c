"""A process goes on with what it has retrieved, and leaves to `ingest` what it may not keep, cannot keep or broke off."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline import completion, onward, retrieve
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.onward import Onward
from beat_actors.pipeline.retrieve import Retriever
from beat_actors.pipeline.stage import StageResult
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from tests.observing import rows
from tests.worlds import TOY, ScriptedClient, answer, toy_engine

STAGES = "SELECT id, stage, lease_until IS NOT NULL AS held, stage_attempts FROM scrape_fetch ORDER BY id"
COUNTED = """
CREATE TABLE written (n integer);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO written VALUES (1); RETURN NULL; END';
GRANT ALL ON written TO PUBLIC;
CREATE TRIGGER note AFTER UPDATE ON scrape_fetch FOR EACH ROW EXECUTE FUNCTION note();
"""


class Process:
    """A retriever that goes on, and what it says is to be done next by the stages."""

    def __init__(self, engine: Engine) -> None:
        self.for_ingest: list[int] = []
        self.for_process: list[int] = []
        self.asked: set[str] = set()
        self.onward = Onward(engine, self._read)
        self.retriever = Retriever(engine, self._retrieved, self.onward)

    async def run(self, fetch_ids: Sequence[int]) -> None:
        """Take these, and wait until nothing is left to do."""
        await self.retriever.take(fetch_ids)
        while self.retriever._calls:
            await asyncio.wait(list(self.retriever._calls))
        await self.retriever._all_done()
        await self.retriever.close()

    async def _retrieved(self, result: StageResult) -> None:
        self.for_ingest += result.next
        self.asked |= result.wake

    async def _read(self, result: StageResult, left: Sequence[int]) -> None:
        self.for_ingest += left
        self.for_process += result.next
        self.asked |= result.wake


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    async with toy_engine(settings, ScriptedClient(lambda *_: answer()), "abcd") as engine:
        yield engine


async def leased(engine: Engine, *names: str, priority: Priority = Priority.BATCH) -> list[int]:
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": name}, priority) for name in names])
    return sorted((await turn(engine.database, TOY)).leased)


async def stages(engine: Engine) -> list[str]:
    return [stage for _, stage, *_ in await rows(engine.database, STAGES)]


async def test_a_fetch_is_written_four_times_and_no_message_carries_it_on(engine, database_url) -> None:
    """Leased, claimed, retrieved, done."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(COUNTED)
    ids, process = await leased(engine, "a"), Process(engine)
    await process.run(ids)
    assert (process.for_ingest, process.for_process) == ([], [])
    assert await stages(engine) == ["DONE"]
    ((written,),) = await rows(engine.database, "SELECT count(*) FROM written")
    assert written <= 4
    ((status,),) = await rows(engine.database, "SELECT status FROM scrape_request_log")
    assert status == "COMPLETE"


async def test_what_there_is_no_room_for_is_left_to_ingest(engine, monkeypatch) -> None:
    monkeypatch.setattr(onward, "MOST", 0)
    ids, process = await leased(engine, *"ab"), Process(engine)
    await process.run(ids)
    assert sorted(process.for_ingest) == ids
    assert await rows(engine.database, STAGES) == [(one, "RETRIEVED", False, 0) for one in ids]
    assert (await ingest(engine, ids, go_on=True)).next == []


async def test_answers_that_need_more_memory_than_there_is_are_left_to_ingest(engine, monkeypatch) -> None:
    monkeypatch.setattr(onward, "MOST_BYTES", 1)
    ids, process = await leased(engine, *"ab"), Process(engine)
    await process.run(ids)
    assert sorted(process.for_ingest) == ids


async def test_fetches_that_one_call_answered_stay_only_where_there_is_room_for_all(engine, monkeypatch) -> None:
    monkeypatch.setattr(onward, "MOST", 1)
    onwards = Onward(engine, Process(engine)._read)
    assert onwards.has_room([b""], urgent=False)
    assert not onwards.has_room([b"", b""], urgent=False)


async def test_an_urgent_answer_stays_where_others_have_used_up_the_room(engine, monkeypatch) -> None:
    begun, goes, real = asyncio.Event(), asyncio.Event(), onward.read

    async def reads_slowly(engine: Engine, claims: Any, result: StageResult, *, go_on: bool) -> None:
        if claims[0].priority != Priority.CUSTOMER:
            begun.set()
            await goes.wait()
        await real(engine, claims, result, go_on=go_on)

    monkeypatch.setattr(onward, "read", reads_slowly)
    monkeypatch.setattr(onward, "MOST", 1)
    process = Process(engine)
    await process.retriever.take(await leased(engine, "a"))
    await asyncio.wait_for(begun.wait(), 60)
    await process.retriever.take(await leased(engine, "b", priority=Priority.CUSTOMER))
    while process.retriever._calls:
        await asyncio.wait(list(process.retriever._calls))
    await process.retriever._urgent.done()
    goes.set()
    await process.run([])
    assert process.for_ingest == []
    assert set(await stages(engine)) == {"DONE"}


async def test_a_process_that_ends_leaves_to_others_what_it_retrieves(engine) -> None:
    ids, process = await leased(engine, "a"), Process(engine)
    await process.retriever.take(ids)
    await process.retriever.drain(60)
    assert process.for_ingest == ids
    await process.retriever.close()


async def test_what_breaks_off_is_given_back_at_once_and_its_stage_reads_it(engine, monkeypatch) -> None:
    async def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError("no room")

    ids, process = await leased(engine, *"ab"), Process(engine)
    with monkeypatch.context() as patch:
        patch.setattr(onward, "read", breaks)
        await process.run(ids)
    assert sorted(process.for_ingest) == ids
    assert await rows(engine.database, STAGES) == [(one, "RETRIEVED", False, 0) for one in ids]
    await ingest(engine, ids, go_on=True)
    assert set(await stages(engine)) == {"DONE"}


async def test_s4_a_process_that_dies_between_leaves_a_lease_that_counts_as_a_try(engine, monkeypatch) -> None:
    """As with a claim of ingest: what kills its worker again and again is found out."""
    ids, process = await leased(engine, "a"), Process(engine)
    monkeypatch.setattr(process.onward, "take", lambda claims, urgent: None)
    await process.run(ids)
    assert await rows(engine.database, STAGES) == [(ids[0], "RETRIEVED", True, 1)]
    assert (await ingest(engine, ids, go_on=True)).next == []
    assert await stages(engine) == ["RETRIEVED"]
    await rows(engine.database, "UPDATE scrape_fetch SET lease_until = clock_timestamp() RETURNING id")
    tried_again = await ingest(engine, ids, go_on=True)
    assert tried_again.next == ids
    assert await stages(engine) == ["INGESTED"]


async def test_a_commit_that_was_fenced_out_goes_on_with_nothing(engine, monkeypatch) -> None:
    ids, process, real = await leased(engine, "a"), Process(engine), completion._finish

    async def taken_over(*args: Any) -> None:
        await rows(engine.database, "UPDATE scrape_fetch SET fence = fence + 1 RETURNING id")
        await real(*args)

    monkeypatch.setattr(completion, "_finish", taken_over)
    await process.run(ids)
    assert (process.for_ingest, process.for_process) == ([], [])
    assert await stages(engine) == ["LEASED"]


async def test_an_urgent_answer_waits_for_no_commit_and_no_write_of_others(engine, monkeypatch) -> None:
    goes, written, real_commit, real_read = asyncio.Event(), asyncio.Event(), retrieve.complete, onward.read

    async def commits_slowly(engine: Engine, calls: Any, result: StageResult, held: Any) -> None:
        if calls[0][0].claim.priority != Priority.CUSTOMER:
            await goes.wait()
        await real_commit(engine, calls, result, held)

    async def reads_slowly(engine: Engine, claims: Any, result: StageResult, *, go_on: bool) -> None:
        if claims[0].priority != Priority.CUSTOMER:
            await goes.wait()
        await real_read(engine, claims, result, go_on=go_on)
        written.set()

    monkeypatch.setattr(retrieve, "complete", commits_slowly)
    monkeypatch.setattr(onward, "read", reads_slowly)
    process = Process(engine)
    await process.retriever.take(await leased(engine, *"abcdef"))
    (urgent,) = await leased(engine, "g", priority=Priority.CUSTOMER)
    await process.retriever.take([urgent])
    await asyncio.wait_for(written.wait(), 60)
    assert await stages(engine) == [*["LEASED"] * 6, "DONE"]
    goes.set()
    await process.run([])
    assert set(await stages(engine)) == {"DONE"}


async def test_a_turn_says_which_of_its_leases_are_urgent(engine) -> None:
    batch = [NewRequest("toy", "look", {"name": name}, Priority.BATCH) for name in "ab"]
    await intake.accept(engine.database, [*batch, NewRequest("toy", "look", {"name": "c"}, Priority.CUSTOMER)])
    result = await turn(engine.database, TOY)
    ((urgent,),) = await rows(engine.database, "SELECT id FROM scrape_fetch WHERE priority = 1")
    assert (len(result.leased), result.urgent) == (3, {urgent})
