"""Renewals of leases: what keeps one from being made harms no other lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.pipeline import stage
from beat_actors.pipeline.leases import claim
from beat_actors.pipeline.stage import Held, Renewer, StageResult, held
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

LEASES = "SELECT lease_until FROM scrape_fetch ORDER BY id"


@pytest.fixture
async def engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(stage, "RENEW_EVERY", 0.01)
    engine = engine_with(settings, ScriptedClient(lambda *_: answer()))
    with registered(TOY):
        for key in "ab":
            await engine.credentials.add("toy-first", {"key": key})
        yield engine
    await engine.close()


async def claimed(engine: Engine, *names: str) -> list[Any]:
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": name}) for name in names])
    ids = (await turn(engine.database, TOY)).leased
    return sorted(await claim(engine, ids, StageResult()), key=lambda one: one.id)


async def renewed(engine: Engine, which: int) -> None:
    """Wait until the lease of this one was renewed."""
    before = (await rows(engine.database, LEASES))[which]
    async with asyncio.timeout(20):
        while (await rows(engine.database, LEASES))[which] == before:  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.01)


async def test_a_renewal_waits_for_no_commit_and_takes_none_for_a_loss(engine: Engine) -> None:
    lost: list[set[Held]] = []
    claims = await claimed(engine, "committing", "out")
    renewer = Renewer(engine.database, on_lost=lost.append)
    async with engine.database.transaction() as commit:
        await commit.run("UPDATE scrape_fetch SET sent_at = sent_at WHERE id = %s", (claims[0].id,))
        renewer.hold(claims)
        await renewed(engine, 1)
    await renewed(engine, 0)
    assert (lost, len(renewer)) == ([], 2)
    await renewer.close()


async def test_a_renewal_that_fails_in_an_unknown_way_is_made_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims, real, failed = await claimed(engine, "a"), Database.statements, asyncio.Event()

    @asynccontextmanager
    async def fails_once(database: Database) -> AsyncIterator[Any]:
        if not failed.is_set():
            failed.set()
            raise MemoryError
        async with real(database) as alone:
            yield alone

    renewer = Renewer(engine.database)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "statements", fails_once)
        renewer.hold(claims)
        await asyncio.wait_for(failed.wait(), 20)
        await renewed(engine, 0)
    await renewer.close()


async def test_a_fetch_that_is_held_twice_is_lost_once(engine: Engine) -> None:
    lost: list[set[Held]] = []
    (before,) = await claimed(engine, "a")
    renewer = Renewer(engine.database, on_lost=lost.append)
    renewer.hold([before])
    await rows(engine.database, "UPDATE scrape_fetch SET fence = fence + 1 RETURNING id")
    after = before._replace(fence=before.fence + 1)
    renewer.hold([after])
    async with asyncio.timeout(20):
        while not lost:  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.01)
    assert (lost, len(renewer)) == ([held([before])], 1)
    renewer.release([after])
    await renewer.close()
