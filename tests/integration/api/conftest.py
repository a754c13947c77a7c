"""The API over the test's own database and Redis prefix, called as a holder of a key calls it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import falcon.testing
import pytest

from api.access import App
from api.app import create_app
from api.services import Services
from beat_actors.access import keys
from beat_actors.access.keys import Created, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.assets.serving.shelf import Wanted
from beat_actors.broker.own_flows import UPLOADS
from beat_actors.database import Database
from beat_actors.settings import Settings
from tests.integration.api.promised import Promised


class WakeUps:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.uploader: Callable[[], None] = lambda: None
        self.variants: list[Wanted] = []
        self.wants_variant = asyncio.Semaphore(0)
        self.redis = True

    async def wake(self, platform: str) -> bool:
        self.asked.append(platform)
        if platform == UPLOADS.platform:
            self.uploader()
        return self.redis

    async def want_variant(self, content: bytes, width: int, media_type: str) -> None:
        self.variants.append(Wanted(content, width, media_type))
        self.wants_variant.release()

    async def ping(self) -> bool:
        return self.redis


@pytest.fixture
def wake_ups() -> WakeUps:
    return WakeUps()


def app_over(settings: Settings, wake_ups: WakeUps) -> App:
    """One process of the API. Its services are opened when it starts, and closed when it stops."""

    def opened() -> Services:
        database = Database(settings, name="api")
        return Services(
            database,
            wake_ups.wake,
            wake_ups.ping,
            want_variant=wake_ups.want_variant,
        )

    return create_app(opened)


Keys = Callable[..., Awaitable[Created]]


@pytest.fixture
def new_key(database: Database) -> Keys:
    """Make a key: `await new_key(Scope.READ, account_id="acme")`."""

    async def make(*scopes: Scope, **fields: object) -> Created:
        async with database.transaction() as transaction:
            return await keys.create(transaction, NewKey("test", scopes, **fields), actor="test")  # type: ignore[arg-type]

    return make


def bearer(created: Created) -> dict[str, str]:
    return {"Authorization": f"Bearer {created.minted.text}"}


@pytest.fixture
async def bare(settings: Settings, wake_ups: WakeUps) -> AsyncIterator[falcon.testing.ASGIConductor]:
    """Without a key."""
    async with Promised(app_over(settings, wake_ups)) as conductor:
        yield conductor


@pytest.fixture
async def api(settings: Settings, wake_ups: WakeUps, new_key: Keys) -> AsyncIterator[falcon.testing.ASGIConductor]:
    """With a key that may do everything."""
    admin = await new_key(Scope.ADMIN, rate_limit=100_000)
    async with Promised(app_over(settings, wake_ups), headers=bearer(admin)) as conductor:
        yield conductor
