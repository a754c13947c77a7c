from collections.abc import AsyncIterator, Iterator

import pytest

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.settings import Settings
from beat_actors.webhooks.deliverer import Deliverer
from tests.integration.webhooks.world import Receiver, receiving
from tests.worlds import MovableClock


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_allow_private": True})


@pytest.fixture
def clock(database_url: str) -> Iterator[MovableClock]:
    made = MovableClock(database_url)
    yield made
    made.close()


@pytest.fixture
async def deliverer(database: Database, settings: Settings) -> AsyncIterator[Deliverer]:
    made = Deliverer(database, Vault(settings))
    yield made
    await made.close()
