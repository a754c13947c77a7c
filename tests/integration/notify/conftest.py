from collections.abc import AsyncIterator, Iterator

import pytest

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.notify.notifier import Notifier
from beat_actors.settings import Settings
from tests.integration.notify.world import Receiver, receiving
from tests.worlds import MovableClock


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"public_url": "https://beat.example.com/"})


@pytest.fixture
def clock(database_url: str) -> Iterator[MovableClock]:
    made = MovableClock(database_url)
    yield made
    made.close()


@pytest.fixture
async def notifier(database: Database, settings: Settings) -> AsyncIterator[Notifier]:
    made = Notifier(database, Vault(settings))
    yield made
    await made.close()
