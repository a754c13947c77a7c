"""One poisoned item harms only itself, in every stage; what was not done is given back and is not left claimed."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import StorageBrokenOff, StorageContended, StorageUnavailable
from beat_actors.fetches.claims import ISOLATE_AFTER
from beat_actors.pipeline import ingest as ingests
from beat_actors.pipeline import process as processes
from beat_actors.pipeline import retrieve as retrieves
from beat_actors.pipeline import upkeep, writing
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import Parsed
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, toy_engine

STATES = "SELECT stage, lease_until IS NOT NULL AS claimed, stage_attempts FROM scrape_fetch ORDER BY id"
BAD = "n1"


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    async with toy_engine(settings, ScriptedClient(lambda *_: answer()), "abc") as engine:
        await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(3)])
        yield engine


async def retrieved(engine: Engine) -> list[int]:
    return sorted((await retrieve(engine, (await turn(engine.database, TOY)).leased)).next)


@pytest.mark.parametrize("error", [RuntimeError, KeyError])
async def test_what_breaks_the_commit_of_ingest_harms_only_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    ready, real = await retrieved(engine), ingests._settlements

    def broken(done: Sequence[Any]) -> Any:
        if any(claim.params["name"] == BAD for claim, *_ in done):
            raise error("one of them")
        return real(done)

    monkeypatch.setattr(ingests, "_settlements", broken)
    assert sorted((await ingest(engine, ready)).next) == [ready[0], ready[2]]
    assert await rows(engine.database, STATES) == [
        ("INGESTED", False, 0),
        ("RETRIEVED", False, 1),
        ("INGESTED", False, 0),
    ]


async def test_what_breaks_the_commit_of_process_harms_only_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, real = sorted((await ingest(engine, await retrieved(engine))).next), writing._closing

    def broken(claim: Any, *others: Any) -> Any:
        if claim.id == ready[1]:
            raise RuntimeError("one of them")
        return real(claim, *others)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_closing", broken)
        await process(engine, ready)
    assert await rows(engine.database, STATES) == [("DONE", False, 1), ("INGESTED", False, 1), ("DONE", False, 1)]
    await process(engine, ready)
    assert await rows(engine.database, "SELECT DISTINCT status FROM scrape_request_log") == [("COMPLETE",)]


SLOW = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON scrape_fetch FOR EACH ROW WHEN (NEW.stage = 'DONE' AND NEW.id = {id}) EXECUTE FUNCTION be_slow();
"""


async def test_a_write_that_always_meets_its_time_limit_is_isolated_and_its_neighbours_are_written(
    engine: Engine, database_url: str
) -> None:
    ready = sorted((await ingest(engine, await retrieved(engine))).next)
    dbname = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(SLOW.format(id=ready[1]))
        admin.execute(f"ALTER DATABASE {dbname} SET statement_timeout = '100ms'")
    await engine.database.connections.close()  # what is connected anew has the limit
    await process(engine, ready)
    assert await rows(engine.database, STATES) == [("DONE", False, 1), ("INGESTED", False, 1), ("DONE", False, 1)]
    for tries in range(2, engine.settings.stage_attempts + 2):
        await process(engine, ready, isolated=tries > ISOLATE_AFTER)
    assert (await rows(engine.database, STATES))[1][0] == "FAILED"
    assert await rows(engine.database, "SELECT records FROM scrape_fetch WHERE id = %s", (ready[1],)) == [(None,)]
    assert await rows(engine.database, "SELECT kind, fetch_id FROM quarantine") == [("poison", ready[1])]


async def test_where_postgresql_is_slow_for_all_no_try_is_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = sorted((await ingest(engine, await retrieved(engine))).next)

    async def slow(*_: Any, **__: Any) -> None:
        raise StorageBrokenOff("a test")

    with monkeypatch.context() as patch:
        patch.setattr(processes, "_commit", slow)
        patch.setattr(processes, "give_back", slow)
        with pytest.raises(StorageBrokenOff):
            await process(engine, ready)
    assert set(await rows(engine.database, STATES)) == {("INGESTED", False, 0)}


async def test_a_payload_for_which_there_is_no_memory_harms_only_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is its parser blamed."""
    ready = await retrieved(engine)

    def parse(_endpoint: Any, _body: bytes, spec: Any) -> Parsed:
        if spec.params["name"] == BAD:
            raise MemoryError
        return Parsed(())

    monkeypatch.setattr(ingests, "_parse", parse)
    assert sorted((await ingest(engine, ready)).next) == [ready[0], ready[2]]
    assert (await rows(engine.database, STATES))[1] == ("RETRIEVED", False, 1)
    assert [*engine.own_trouble.reported()] == ["resources"]


@pytest.mark.parametrize("stage", ["ingest", "process"])
async def test_what_a_stage_cannot_commit_at_all_is_given_back_without_a_try(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    ready = await retrieved(engine)
    module: Any = ingests
    if stage == "process":
        ready, module = (await ingest(engine, ready)).next, processes

    async def away(*_: Any) -> None:
        raise StorageUnavailable("a test")

    monkeypatch.setattr(module, "_commit", away)
    with pytest.raises(StorageUnavailable):
        await getattr(module, stage)(engine, ready)
    assert {row[1:] for row in await rows(engine.database, STATES)} == {(False, 0)}


async def test_what_breaks_the_commit_of_checks_harms_only_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' checks are committed; its own call was made, so its outcome is unknown once its lease has ended."""
    real = upkeep._row

    def broken(item: Any, claim: Any, renewed: Any) -> Any:
        if item.call.credential_id == 2:
            raise RuntimeError("one of them")
        return real(item, claim, renewed)

    monkeypatch.setattr(upkeep, "_row", broken)
    await upkeep.look_after(engine, [1, 2, 3])
    await turn(engine.database, TOY)
    checked = "SELECT id FROM credential WHERE check_outcome = 'ok' ORDER BY id"
    assert await rows(engine.database, checked) == [(1,), (3,)]
    assert await rows(engine.database, "SELECT credential_id FROM credential_call") == [(2,)]


async def test_checks_that_were_not_begun_are_given_back(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_engine: Any, call: Any, *_: Any) -> Any:
        raise RuntimeError("each of them")

    monkeypatch.setattr(upkeep, "_make", broken)
    await upkeep.look_after(engine, [1, 2, 3])
    assert await rows(engine.database, "SELECT FROM credential_call") == []
    assert await rows(engine.database, "SELECT DISTINCT outcome FROM settlement") == [("unused",)]
    assert await rows(engine.database, "SELECT FROM trace_log") == []


@pytest.mark.parametrize("stage", ["retrieve", "ingest", "process"])
async def test_a_claim_that_loses_a_deadlock_is_made_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    ready = (await turn(engine.database, TOY)).leased
    module: Any = retrieves
    if stage != "retrieve":
        ready, module = (await retrieve(engine, ready)).next, ingests
    if stage == "process":
        ready, module = (await ingest(engine, ready)).next, processes
    name = {"retrieve": "claim", "ingest": "claim_retrieved", "process": "claim_ingested"}[stage]
    real, lost = getattr(module, name), 0

    async def loses(*args: Any, **fields: Any) -> Any:
        nonlocal lost
        claims = await real(*args, **fields) if lost else None
        lost += 1
        if claims is None:
            raise StorageContended("a test")
        return claims

    monkeypatch.setattr(module, name, loses)
    await {"retrieve": retrieve, "ingest": ingest, "process": process}[stage](engine, ready)
    assert lost == 2
    after = {"retrieve": "RETRIEVED", "ingest": "INGESTED", "process": "DONE"}[stage]
    assert {row[0] for row in await rows(engine.database, STATES)} == {after}


async def test_a_commit_that_never_wins_counts_as_no_try(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = await retrieved(engine)

    async def loses(*_: Any) -> None:
        raise StorageContended("a test")

    monkeypatch.setattr(ingests, "_commit", loses)
    for _ in range(4):
        with pytest.raises(StorageContended):
            await ingest(engine, ready)
    assert set(await rows(engine.database, STATES)) == {("RETRIEVED", False, 0)}
