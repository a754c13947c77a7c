"""Smaller pictures: made once of what is stored, and stored like it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from beat_actors.assets.serving.making import Maker
from beat_actors.assets.serving.places import key_of
from beat_actors.database import Database
from beat_actors.media.content import examined
from beat_actors.media.conversion import Converters
from beat_actors.media.picture import Picture
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.pictures import encoded, noise

ADD = "INSERT INTO asset_object (content, bytes, media_type, width) VALUES (%(content)s, %(bytes)s, 'image/jpeg', 800)"
VARIANTS = "SELECT v.variant, v.bytes, o.media_type, o.width, o.unused_since FROM asset_variant v JOIN asset_object o ON o.content = v.variant"
LARGE = encoded(noise(800, 600), "JPEG", quality=90)
SMALL = encoded(noise(40, 30), "JPEG", quality=90)


@pytest.fixture
def store(with_bucket: Settings) -> ObjectStore:
    return ObjectStore(with_bucket.s3_bucket or "", endpoint_url=with_bucket.s3_endpoint_url)


class Counted:
    """Converters that count."""

    def __init__(self) -> None:
        self.converters = Converters(processes=1)
        self.calls = 0

    async def __call__(self, data: bytes, width: int, accept: str | None) -> Picture:
        self.calls += 1
        return await self.converters.variant(data, width, accept)


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    made = Counted()
    yield made
    await made.converters.close()


@pytest.fixture
def maker(database: Database, counted: Counted, store: ObjectStore) -> Maker:
    return Maker(database, counted, store)


Put = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture
def put(database: Database, store: ObjectStore) -> Put:
    async def put(body: bytes) -> bytes:
        content = hashlib.sha256(body).digest()
        await store.put(key_of(content), body)
        async with database.transaction() as transaction:
            await transaction.run(ADD, {"content": content, "bytes": len(body)})
        return content

    return put


async def rows(database: Database, sql: str) -> list[Any]:
    async with database.transaction() as transaction:
        return await transaction.rows(sql, binary=True)


@pytest.mark.parametrize("media_type", ["image/webp", "image/avif", "image/jpeg"])
async def test_s7_11_a_smaller_picture_is_an_object_of_its_own(maker, put, store, database, media_type: str) -> None:
    content = await put(LARGE)
    assert await maker.make(content, 320, media_type)
    ((variant, size, kind, width, unused),) = await rows(database, VARIANTS)
    body = await store.read(key_of(variant))
    assert (hashlib.sha256(body).digest(), len(body), kind, width, unused) == (variant, size, media_type, 320, None)
    shown = examined(body)
    assert isinstance(shown, Picture)
    assert (shown.media_type, shown.width, shown.height) == (media_type, 320, 240)


async def test_s7_11_a_smaller_picture_is_made_once(maker, put, counted, database) -> None:
    content = await put(LARGE)
    assert await maker.make(content, 320, "image/webp")
    assert await maker.make(content, 320, "image/webp")
    assert counted.calls == 1
    assert len(await rows(database, VARIANTS)) == 1


async def test_makers_that_race_add_one_variant(maker, put, database) -> None:
    content = await put(LARGE)
    assert any(await asyncio.gather(*(maker.make(content, 320, "image/webp") for _ in range(3))))
    assert await maker.make(content, 320, "image/webp")
    assert len(await rows(database, VARIANTS)) == 1


async def test_where_nothing_smaller_can_be_made_the_picture_is_its_own_variant(maker, put, database, counted) -> None:
    small, broken = await put(SMALL), await put(b"\xff\xd8\xff\xe0 no picture")
    for content in (small, broken):
        assert await maker.make(content, 320, "image/jpeg")
        assert await maker.make(content, 320, "image/jpeg")
    assert {row[0] for row in await rows(database, VARIANTS)} == {small, broken}
    assert counted.calls == 2


async def test_of_what_is_no_longer_stored_nothing_is_made(maker, put, database) -> None:
    content = await put(LARGE)
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM asset_object")
    assert not await maker.make(content, 320, "image/webp")
    assert await rows(database, "SELECT content FROM asset_object") == []


async def test_a_bucket_that_is_away_costs_the_variant_and_nothing_else(database, put, counted) -> None:
    content = await put(LARGE)
    away = Maker(database, counted, ObjectStore("beat-assets", endpoint_url="http://127.0.0.1:1"))
    assert not await away.make(content, 320, "image/webp")
    assert await rows(database, VARIANTS) == []
