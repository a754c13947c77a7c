"""Limits against a provider that counts in any window, at arrival, and to which each call is under way for a random time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.wakes import Wakes
from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.retrieve import Retriever
from beat_actors.pipeline.stage import StageResult
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator.client import SimulatorClient
from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.server import running
from beat_actors.transport.http import ProviderClient
from tests.worlds import engine_with

INSTAGRAM = platform_named("instagram")
LINE = 1.0
"""Seconds for which a call is under way at most: as long as the window."""
DEADLINE = 60.0


@pytest.fixture
async def late() -> AsyncIterator[str]:
    async with running(SimulatorConfig(line_jitter_seconds=LINE, missing_every=0, private_every=0)) as url:
        yield url


@pytest.fixture
async def engine(settings: Settings, late: str) -> AsyncIterator[Engine]:
    settings = settings.model_copy(update={"simulator_url": late})
    engine = engine_with(settings, ProviderClient(settings))
    for number in range(3):
        await engine.credentials.add("jotucker", {"key": f"test-{number}"})
    yield engine
    await engine.close()


@pytest.mark.slow
async def test_p4_calls_that_arrive_late_bring_no_window_over_its_limit(engine: Engine, late: str) -> None:
    """Turns run when calls came back and when a lane has room, as in a worker; nothing looks for itself."""
    handles = [f"creator_{number:06d}" for number in range(60)]
    wanted = [NewRequest("instagram", "refresh_profile_by_handle", {"handle": handle}) for handle in handles]
    await intake.accept(engine.database, wanted)
    asked: asyncio.Queue[str] = asyncio.Queue()
    answered: set[int] = set()

    async def deliver(result: StageResult) -> None:
        answered.update(result.next)
        await asked.put("instagram")

    wakes, retriever = Wakes(asked.put), Retriever(engine, deliver)
    async with asyncio.timeout(DEADLINE):
        await asked.put("instagram")
        while len(answered) < len(wanted):
            await asked.get()
            result = await turn(engine.database, INSTAGRAM)
            await retriever.take(result.leased)
            if result.clears_in is not None:
                wakes.wake("instagram", result.clears_in)
    await retriever.close()
    async with SimulatorClient(late) as provider:
        ledger = await provider.ledger()
    assert (ledger["ok"], ledger["over_limit"]) == (60, 0)
