"""The ordinary way: ingest writes what it has read, and `process` is for what cannot be written so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.pipeline import ingest as ingests
from beat_actors.pipeline import writing
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, toy_engine

FETCHES = "SELECT stage, stage_attempts, lease_until IS NOT NULL AS held, records IS NOT NULL AS kept FROM scrape_fetch ORDER BY id"
STATUS = "SELECT status, count(*) FROM scrape_request_log GROUP BY 1 ORDER BY 1"
WRITTEN = ("DONE", 1, False, False)
KEPT = ("INGESTED", 0, False, True)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    client = ScriptedClient(lambda _, call: answer(body=b"{" if call.query.get("of") == "bad" else b"{}"))
    async with toy_engine(settings, client, "abc") as engine:
        yield engine


async def retrieved(engine: Engine, *names: str) -> list[int]:
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": name}) for name in names])
    return sorted((await retrieve(engine, (await turn(engine.database, TOY)).leased)).next)


async def test_what_can_be_read_is_written_with_one_claim_and_its_request_ends(engine: Engine) -> None:
    ready = await retrieved(engine, "a", "b")
    result = await ingest(engine, ready, go_on=True)
    assert (result.next, result.zombies) == ([], 0)
    assert await rows(engine.database, FETCHES) == [WRITTEN, WRITTEN]
    assert await rows(engine.database, STATUS) == [("COMPLETE", 2)]
    assert await rows(engine.database, "SELECT outcome, calls FROM settlement WHERE outcome = 'parsed'") == [
        ("parsed", 2)
    ]
    assert (await process(engine, ready)).wake == set()  # a message that comes late finds nothing to do


async def test_what_cannot_be_read_takes_its_own_way(engine: Engine) -> None:
    ready = await retrieved(engine, "a", "bad", "c")
    result = await ingest(engine, ready, go_on=True)
    assert result.next == []
    assert result.wake == {"toy"}
    assert [row[0] for row in await rows(engine.database, FETCHES)] == ["DONE", "SETTLING", "DONE"]
    assert await rows(engine.database, "SELECT kind, fetch_id FROM quarantine") == [("malformed", ready[1])]


async def test_where_one_cannot_be_written_all_are_left_to_the_stage_that_finds_out_which(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, real = await retrieved(engine, "a", "b", "c"), writing._closing

    def broken(claim: Any, *others: Any) -> Any:
        if claim.id == ready[1]:
            raise RuntimeError("one of them")
        return real(claim, *others)

    monkeypatch.setattr(writing, "_closing", broken)
    result = await ingest(engine, ready, go_on=True)
    assert sorted(result.next) == ready
    assert await rows(engine.database, FETCHES) == [KEPT] * 3
    await process(engine, ready)
    assert [row[0] for row in await rows(engine.database, FETCHES)] == ["DONE", "INGESTED", "DONE"]
    assert await rows(engine.database, STATUS) == [("COMPLETE", 2), ("PROCESSING", 1)]


async def test_what_was_tried_before_goes_step_by_step(engine: Engine) -> None:
    """It may be what killed its worker while it was written, which `process` counts for itself."""
    ready = await retrieved(engine, "a", "b")
    await rows(engine.database, f"UPDATE scrape_fetch SET stage_attempts = 1 WHERE id = {ready[0]} RETURNING id")
    assert (await ingest(engine, ready, go_on=True)).next == [ready[0]]
    assert await rows(engine.database, FETCHES) == [KEPT, WRITTEN]


async def test_a_worker_whose_claim_was_taken_over_writes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, real = await retrieved(engine, "a", "b"), ingests._read_all

    async def overtaken(engine: Engine, claims: Any) -> Any:
        await rows(engine.database, f"UPDATE scrape_fetch SET fence = fence + 1 WHERE id = {ready[0]} RETURNING id")
        return await real(engine, claims)

    monkeypatch.setattr(ingests, "_read_all", overtaken)
    result = await ingest(engine, ready, go_on=True)
    assert (result.next, result.zombies) == ([], 1)
    assert [row[0] for row in await rows(engine.database, FETCHES)] == ["RETRIEVED", "DONE"]
    assert await rows(engine.database, STATUS) == [("COMPLETE", 1), ("PROCESSING", 1)]


async def test_where_postgresql_is_away_all_are_given_back_without_a_try(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = await retrieved(engine, "a", "b")

    async def away(*_: Any) -> None:
        raise StorageUnavailable("a test")

    monkeypatch.setattr(ingests, "_write_through", away)
    monkeypatch.setattr(ingests, "_commit", away)
    with pytest.raises(StorageUnavailable):
        await ingest(engine, ready, go_on=True)
    assert await rows(engine.database, FETCHES) == [("RETRIEVED", 0, False, False)] * 2


async def test_a_write_that_postgresql_breaks_off_keeps_no_neighbour_from_its_own_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a statement's time limit: what was read is kept, and the bad one is settled."""
    ready = await retrieved(engine, "a", "bad", "c")

    async def broken_off(*_: Any) -> None:
        raise StorageUnavailable("a test")

    monkeypatch.setattr(ingests, "_write_through", broken_off)
    result = await ingest(engine, ready, go_on=True)
    assert sorted(result.next) == [ready[0], ready[2]]
    assert [row[0] for row in await rows(engine.database, FETCHES)] == ["INGESTED", "SETTLING", "INGESTED"]


async def test_between_two_payloads_the_other_work_of_the_process_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, real, told = await retrieved(engine, "a", "b", "c"), ingests._read, list[str]()

    def read(claim: Any, *given: Any) -> Any:
        told.append("parsed")
        asyncio.get_running_loop().call_soon(told.append, "went on")
        return real(claim, *given)

    monkeypatch.setattr(ingests, "_read", read)
    await ingest(engine, ready, go_on=True)
    assert told == ["parsed", "went on"] * 3


async def test_records_that_an_earlier_reading_left_are_gone_when_the_fetch_is_done(engine: Engine) -> None:
    """A fetch that failed in `process` and is replayed has them."""
    ready = await retrieved(engine, "a")
    await rows(engine.database, "UPDATE scrape_fetch SET records = 'old' RETURNING id")
    await ingest(engine, ready, go_on=True)
    assert await rows(engine.database, FETCHES) == [WRITTEN]
