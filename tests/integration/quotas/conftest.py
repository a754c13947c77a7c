"""Limits on a real Valkey, whose clock the test moves where windows must pass."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from beat_actors.database import Database
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.settings import Settings


class ServerClock:
    """Redis' clock, as the script reads it; in ms."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client, self._key = client, key
        self.lua = f"local now = tonumber(redis.call('GET', '{key}'))\n"
        # Ahead of the server's own, so that no key ends before the test is there.
        self.now = int(client.time()[0]) * 1000 + 60_000
        self.advance(0)

    def advance(self, ms: int) -> None:
        self.at(self.now + ms)

    def at(self, ms: int) -> None:
        self.now = ms
        self._client.set(self._key, ms)


@pytest.fixture
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(str(settings.redis_url), decode_responses=True) as client:
        yield client


@pytest.fixture
def server_clock(settings: Settings, valkey: redis.Redis) -> ServerClock:
    return ServerClock(valkey, f"{settings.limit_prefix}clock")


@pytest.fixture
async def limiter(database: Database, server_clock: ServerClock) -> AsyncIterator[StackedLimiter]:
    limiter = StackedLimiter(database, clock=server_clock.lua)
    yield limiter
    await limiter.close()
