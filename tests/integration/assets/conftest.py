"""A bucket of a test's own, and the rows beside it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.local.s3 import S3Server
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.integration.assets.stored import BUCKET, Stored, emptied


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def with_assets(s3_server: S3Server, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """`settings`, with a bucket for assets."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    bucket = {"s3_endpoint_url": s3_server.url, "asset_bucket": BUCKET}
    return settings.model_copy(update=bucket)


@pytest.fixture
async def stored(with_assets: Settings, admin: psycopg.Connection[Any]) -> AsyncIterator[Stored]:
    """Assets with objects, and the database of a process that works on them."""
    database, store = Database(with_assets, name="test"), ObjectStore.of_assets(with_assets)
    assert store is not None
    await emptied(store)
    yield Stored(database, store, admin)
    await store.close()
    await database.close()
