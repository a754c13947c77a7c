"""A call that never left is not charged, and what was put out of use since its lease is not called."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline import call as calls
from beat_actors.pipeline.upkeep import look_after
from beat_actors.platforms.interface import Call, Source
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.transport.http import ProviderClient
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, First, ScriptedClient, Second, Third, answer, engine_with, registered

COUNTS = """
SELECT (SELECT coalesce(sum(calls), 0)::integer FROM credential_usage WHERE limit_name = 'total') AS charged,
       (SELECT count(*)::integer FROM trace_log) AS traced
"""
STATES = "SELECT stage, rotations, retries, excluded, waiting_for FROM scrape_fetch ORDER BY id"


class Narrow(ScriptedClient):
    """`entered` runs when a call has waited for its slot."""

    def __init__(self, entered: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(lambda _source, _call: answer())
        self.entered = entered

    @asynccontextmanager
    async def slot(self, _source: Source, _call: Call, *, urgent: bool = False) -> AsyncIterator[None]:
        await self.entered()
        yield


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LOOK_EVERY", 0.0)


@asynccontextmanager
async def toy(settings: Settings, client: Any) -> AsyncIterator[Engine]:
    engine = engine_with(settings, client)
    with registered(TOY):
        await engine.credentials.add("toy-first", {"key": "a"})
        yield engine
    await engine.close()


async def submit(engine: Engine, count: int = 1) -> None:
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(count)])


async def test_a_call_whose_slot_comes_too_late_is_not_made_and_not_charged(settings: Settings) -> None:
    async with toy(settings, Narrow(asyncio.Event().wait)) as engine:
        await submit(engine, 3)
        leased = (await turn(engine.database, TOY)).leased
        async with engine.database.transaction() as transaction:
            await transaction.run("UPDATE scrape_fetch SET use_until = clock_timestamp() + interval '0.3 seconds'")
        await retrieve(engine, leased)
        assert [stage for stage, *_ in await rows(engine.database, STATES)] == ["SETTLING"] * 3
        engine.client.entered = lambda: asyncio.sleep(0)  # type: ignore[attr-defined]
        again = (await turn(engine.database, TOY)).leased
        assert again == leased
        assert await rows(engine.database, COUNTS) == [(0, 0)]


async def test_a_lease_for_a_moment_later_is_not_used_before(settings: Settings) -> None:
    """And not at all long after it. To a worker that does not know `use_from` the lease is one that was not used in time."""
    begun: list[Any] = []

    async def entered() -> None:
        begun.extend(
            await rows(engine.database, "SELECT clock_timestamp() >= use_from FROM scrape_fetch ORDER BY id LIMIT 1")
        )

    later = "UPDATE scrape_fetch SET use_until = 'epoch', use_from = clock_timestamp() + interval '1 second' * %s WHERE stage = 'LEASED'"
    async with toy(settings, Narrow(entered)) as engine:
        await submit(engine)
        leased = (await turn(engine.database, TOY)).leased
        async with engine.database.transaction() as transaction:
            await transaction.run(later, (-10,))
        await retrieve(engine, leased)
        assert begun == []
        leased = (await turn(engine.database, TOY)).leased
        assert await rows(engine.database, "SELECT use_from, use_until > now() FROM scrape_fetch") == [(None, True)]
        async with engine.database.transaction() as transaction:
            await transaction.run(later, (0.2,))
        await retrieve(engine, leased)
        assert begun == [(True,)]
        assert await rows(engine.database, "SELECT stage FROM scrape_fetch") == [("RETRIEVED",)]


@pytest.mark.parametrize(
    "change",
    [
        "enabled = false",
        "dead_at = clock_timestamp()",
        "disabled_till = clock_timestamp() + interval '1 hour'",
        "generation = generation + 1",
    ],
)
async def test_a_credential_put_out_of_use_since_its_claim_is_not_called(settings: Settings, change: str) -> None:
    async def changed() -> None:
        async with engine.database.transaction() as transaction:
            await transaction.run(f"UPDATE credential SET {change}")

    async with toy(settings, Narrow(changed)) as engine:
        await submit(engine, 3)
        await retrieve(engine, (await turn(engine.database, TOY)).leased)
        assert engine.client.calls == []  # type: ignore[attr-defined]
        await turn(engine.database, TOY)
        assert await rows(engine.database, COUNTS) == [(0, 0)]
        assert [row[1:3] for row in await rows(engine.database, STATES)] == [(0, 0)] * 3


async def test_a_check_of_a_credential_put_out_of_use_is_not_made(settings: Settings) -> None:
    async def disabled() -> None:
        await engine.credentials.disable(1, reason="a test")

    async with toy(settings, Narrow(disabled)) as engine:
        await look_after(engine, [1])
        assert engine.client.calls == []  # type: ignore[attr-defined]
        await turn(engine.database, TOY)
        assert await rows(engine.database, COUNTS) == [(0, 0)]


async def test_a_host_that_cannot_be_reached_costs_nothing_and_the_next_source_is_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure counts for the breaker, and once round the chain the fetch pauses."""
    for source in (First, Second, Third):
        monkeypatch.setattr(source, "base_url", "http://127.0.0.1:1")
    async with toy(settings, ProviderClient(settings)) as engine:
        await engine.credentials.add("toy-second", {"key": "b"})
        await submit(engine, 3)
        for number in (1, 2):
            await retrieve(engine, (await turn(engine.database, TOY)).leased)
            assert len(await rows(engine.database, "SELECT FROM settlement WHERE outcome = 'unreached'")) == 3, number
        await turn(engine.database, TOY)
        assert {(stage, why) for stage, *_, why in await rows(engine.database, STATES)} == {("WAITING", "unreached")}
        assert await rows(engine.database, COUNTS) == [(0, 0)]
        counted = "SELECT source, calls, failures FROM breaker WHERE kind = 'upstream' ORDER BY source"
        assert await rows(engine.database, counted) == [("toy-first", 3, 3), ("toy-second", 3, 3)]


async def test_a_check_that_reaches_nobody_is_neither_charged_nor_traced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(First, "base_url", "http://127.0.0.1:1")
    async with toy(settings, ProviderClient(settings)) as engine:
        await look_after(engine, [1])
        await turn(engine.database, TOY)
        assert await rows(engine.database, COUNTS) == [(0, 0)]
        (row,) = await rows(engine.database, "SELECT check_outcome, dead_at FROM credential")
        assert row == ("unreached", None)
