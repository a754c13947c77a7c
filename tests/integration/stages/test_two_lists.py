"""A request that pages two lists side by side: their pages are written by two workers at once, and none is counted as a worker's death."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.fetches import completion
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import FetchSpec, Flow
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, Look, ScriptedClient, answer, engine_with, registered


def pages(spec: FetchSpec, *_: Any) -> list[FetchSpec]:
    if spec.page == 1:
        return [FetchSpec("look", {**spec.params, "list": name}, page=2, source="toy-second") for name in ("a", "b")]
    return [replace(spec, page=spec.page + 1)] if spec.page < 4 else []


LISTS = replace(
    TOY, flows={"lists": Flow("lists", Look, lambda params: FetchSpec("look", {"name": params.name}), pages)}
)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(LISTS):
        yield engine
    await engine.close()


async def read(engine: Engine) -> list[int]:
    """Lease, retrieve and ingest all that waits; the fetches that are to be processed."""
    retrieved = await retrieve(engine, (await turn(engine.database, LISTS)).leased)
    return (await ingest(engine, retrieved.next)).next


async def test_two_pages_of_one_request_that_are_written_at_once_are_both_kept_with_one_try(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.credentials.add("toy-second", {"key": "a"})
    await intake.accept(engine.database, [NewRequest("toy", "lists", {"name": "n"})])
    await process(engine, await read(engine))
    both, met, written = asyncio.Barrier(2), [], completion.written

    async def when_both_have_begun(*arguments: Any) -> Any:
        met.append(1)
        if len(met) <= 2:
            await both.wait()
        return await written(*arguments)

    monkeypatch.setattr(completion, "written", when_both_have_begun)
    first, second = await read(engine)
    await asyncio.gather(process(engine, [first]), process(engine, [second]))
    ended = "SELECT stage, stage_attempts FROM scrape_fetch WHERE id = ANY(%s)"
    assert await rows(engine.database, ended, ([first, second],)) == [("DONE", 1), ("DONE", 1)]
    while ready := await read(engine):
        await asyncio.gather(*(process(engine, [fetch]) for fetch in ready))
    assert await rows(engine.database, "SELECT status FROM scrape_request_log") == [("COMPLETE",)]
    made = "SELECT count(*) AS pages, count(DISTINCT (page, params->>'list')) AS different FROM scrape_fetch"
    assert await rows(engine.database, made) == [(7, 7)]
