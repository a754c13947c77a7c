"""Smaller pictures that the real maker made are deleted with the pictures that they were made of, and hold up no deletion."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from beat_actors.assets.serving.making import Maker
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.upkeep.deleting import Deleter, condemn
from beat_actors.assets.upkeep.forgetting import forget
from beat_actors.media.conversion import Converters
from beat_actors.media.picture import Picture
from tests.integration.assets.stored import Stored, content_of
from tests.pictures import encoded, noise

NOW = Deleter(seconds=0.0, stays=0.0)
LARGE = encoded(noise(400, 300), "JPEG", quality=90)
SMALL = encoded(noise(40, 30), "JPEG", quality=90)
VARIANT = "SELECT variant FROM asset_variant WHERE variant <> content"


@pytest.fixture
async def converters() -> AsyncIterator[Converters]:
    made = Converters(processes=1)
    yield made
    await made.close()


@pytest.fixture
def maker(stored: Stored, converters: Converters) -> Maker:
    return Maker(stored.database, converters.variant, stored.store)


async def smaller(stored: Stored, maker: Maker, content: bytes) -> bytes:
    assert await maker.make(content, 160, "image/webp")
    made: bytes = stored.one(f"{VARIANT} AND content = %s", content)
    return made


async def deleted(stored: Stored, *contents: bytes) -> None:
    """As a subject is forgotten."""
    async with stored.database.transaction() as transaction:
        await transaction.run("DELETE FROM asset_log WHERE content = ANY(%s)", (list(contents),))
        await condemn(transaction, list(contents))
    await NOW.run(stored.database)
    await NOW.run(stored.database)


async def test_a_picture_that_is_its_own_variant_is_deleted(stored: Stored, maker: Maker) -> None:
    forgotten = await stored.asset("instagram_post", "a", SMALL)
    unused = await stored.asset("instagram_post", "b", SMALL[:-2] + b"\x00\xff\xd9")
    for content in (forgotten, unused):
        assert await maker.make(content, 320, "image/jpeg")
    assert stored.one("SELECT count(*) FROM asset_variant WHERE variant = content") == 2
    stored.rows.execute("DELETE FROM asset_log WHERE content = %s", (unused,))
    stored.rows.execute(
        "UPDATE asset_object SET unused_since = now() - interval '1 hour' WHERE content = %s", (unused,)
    )
    await deleted(stored, forgotten)
    assert await stored.keys() == set()
    assert stored.one("SELECT count(*) FROM asset_object") + stored.one("SELECT count(*) FROM asset_variant") == 0


async def test_nothing_is_left_of_a_subject_whose_smaller_pictures_readers_wanted(stored: Stored, maker: Maker) -> None:
    stored.profile("1", "mine", 1)
    avatar = await stored.asset("instagram_account", "1", LARGE, "profile_pic_url")
    post = await stored.asset("instagram_post", "1-post-0", SMALL)
    kept = await stored.asset("instagram_post", "other", encoded(noise(500, 300), "JPEG", quality=90))
    of_kept = await smaller(stored, maker, kept)
    await smaller(stored, maker, avatar)
    assert await maker.make(post, 640, "image/jpeg")
    done = await forget(stored.database, "instagram", "1", actor="test", reason="asked for")
    assert (done.assets, done.objects, done.variants) == (2, 2, 1)
    await NOW.run(stored.database)
    await NOW.run(stored.database)
    assert await stored.keys() == {key_of(kept), key_of(of_kept)}
    assert stored.one("SELECT count(*) FROM asset_object") == 2
    assert stored.one("SELECT count(*) FROM asset_variant") == 1


async def test_a_smaller_picture_that_an_asset_or_another_picture_has_stays(stored: Stored, maker: Maker) -> None:
    first = await stored.asset("instagram_post", "a", LARGE)
    variant = await smaller(stored, maker, first)
    second = await stored.asset("instagram_post", "b", b"it has the same smaller picture")
    stored.rows.execute(
        "INSERT INTO asset_variant SELECT %s, width, media_type, variant, bytes FROM asset_variant", (second,)
    )
    await deleted(stored, first)
    assert await stored.keys() == {key_of(second), key_of(variant)}
    body = await stored.store.read(key_of(variant))
    await stored.asset("instagram_post", "c", body)
    await deleted(stored, second)
    assert await stored.keys() == {key_of(variant)}
    await deleted(stored, variant)
    assert await stored.keys() == set()


async def test_a_smaller_picture_that_others_hold_is_deleted_later(stored: Stored, maker: Maker) -> None:
    content = await stored.asset("instagram_post", "a", LARGE)
    variant = await smaller(stored, maker, content)
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(
        "UPDATE asset_object SET unused_since = now() - interval '1 hour' WHERE content = %s", (content,)
    )
    async with stored.database.transaction() as other:
        await other.run("SELECT FROM asset_object WHERE content = %s FOR NO KEY UPDATE", (variant,))
        assert (await NOW.run(stored.database)).count == 0
        assert await stored.keys() == {key_of(content), key_of(variant)}
    assert (await NOW.run(stored.database)).count == 2
    assert await stored.keys() == set()


async def test_of_a_picture_that_is_being_deleted_nothing_is_made(stored: Stored, maker: Maker) -> None:
    content = await stored.asset("instagram_post", "a", LARGE)
    stored.rows.execute("UPDATE asset_object SET deleting_since = now()")
    assert not await maker.make(content, 160, "image/webp")
    assert await stored.keys() == {key_of(content)}


async def test_what_is_made_of_a_picture_that_is_deleted_meanwhile_is_deleted_too(
    stored: Stored, converters: Converters
) -> None:
    content = await stored.asset("instagram_post", "a", LARGE)

    async def late(data: bytes, width: int, accept: str | None) -> Picture:
        picture = await converters.variant(data, width, accept)
        await deleted(stored, content)
        return picture

    assert not await Maker(stored.database, late, stored.store).make(content, 160, "image/webp")
    assert stored.one("SELECT count(*) FROM asset_variant") == 0
    await asyncio.gather(*(NOW.run(stored.database) for _ in range(2)))
    await NOW.run(stored.database)
    assert await stored.keys() == set()


async def test_a_smaller_picture_that_is_made_while_it_is_being_deleted_is_deleted_again(
    stored: Stored, maker: Maker, converters: Converters
) -> None:
    first = await stored.asset("instagram_post", "a", LARGE)
    second = await stored.asset("instagram_post", "b", LARGE + b"\x00")
    picture = await converters.variant(LARGE, 160, "image/webp")
    variant = content_of(picture.data)
    stored.rows.execute(
        "INSERT INTO asset_object (content, bytes, media_type, deleting_since, deleted_at) VALUES (%s, 1, '', now(), now())",
        (variant,),
    )
    assert not await maker.make(first, 160, "image/webp")
    assert stored.one("SELECT deleted_at IS NULL FROM asset_object WHERE content = %s", variant) is True
    await NOW.run(stored.database)
    await NOW.run(stored.database)
    assert await stored.keys() == {key_of(first), key_of(second)}
    assert await smaller(stored, maker, first) == variant
    assert stored.one("SELECT deleting_since FROM asset_object WHERE content = %s", variant) is None
