"""An engine on Instagram's chain of five, with a simulated provider."""

from collections.abc import AsyncIterator

import pytest

from beat_actors.engine import Engine
from beat_actors.platforms.instagram import platform
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.worlds import engine_with

CHAIN = platform.chains["profile_by_handle"]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=50, seed=1, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        await client.set_limits(enabled=False)
        yield client


@pytest.fixture
async def engine(settings: Settings, url: str, admin: SimulatorClient) -> AsyncIterator[Engine]:
    del admin
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    for source in CHAIN:
        secret = (
            {"token": "own-token", "user_id": "17841400000000001"} if source == "graphapi" else {"key": f"{source}-1"}
        )
        await engine.credentials.add(source, secret)
    yield engine
    await engine.close()
