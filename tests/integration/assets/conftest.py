"""Buckets of a test's own, the rows beside them, and an origin of pictures."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.local.s3 import S3Server
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.integration.assets.origins import Pictures, pictures
from tests.integration.assets.stored import BUCKET, Stored, emptied
from tests.strict_s3 import StrictS3, serving


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


@pytest.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StrictS3]:
    async with serving("beat-pictures") as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
async def origin() -> AsyncIterator[Pictures]:
    async with pictures() as made:
        yield made


@pytest.fixture
def upload_settings(settings: Settings, bucket: StrictS3, origin: Pictures) -> Settings:
    return settings.model_copy(
        update={
            "s3_endpoint_url": bucket.url,
            "asset_bucket": bucket.bucket,
            "asset_origin": origin.url,
            "asset_max_per_host": 5000,
        }
    )
