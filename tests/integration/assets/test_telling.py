"""Events about assets, each validated against its schema by the database of the tests."""

from typing import Any
from uuid import UUID

from beat_actors.assets import telling
from beat_actors.database import Database
from beat_actors.platforms.instagram.entities import InstagramAccount
from tests.observing import observe, rows

CONTENT, BEFORE = bytes(range(32)), bytes(32)
EVENTS = "SELECT type, subject, account_id, owner, data FROM event WHERE type LIKE 'beat.asset.%%' ORDER BY id"


async def asset(database: Database, **values: object) -> UUID:
    """An asset of an owner, in a state."""
    account = InstagramAccount(
        profile_id="7", handle="creator", profile_pic_url="https://cdn.example/a.jpg?oe=1&oh=secret"
    )
    await observe(database, "instagram", account, account_id="acme", owner="shop")
    columns = ", ".join(f"{name} = %s" for name in values)
    ((public_id,),) = await rows(database, f"UPDATE asset_log SET {columns} RETURNING public_id", list(values.values()))
    return UUID(str(public_id))


async def told(database: Database, **which: Any) -> list[tuple[Any, ...]]:
    async with database.transaction() as transaction:
        await telling.tell(transaction, **which)
    return await rows(database, EVENTS)


async def test_s7_3_a_stored_picture_is_published(database: Database) -> None:
    await rows(
        database,
        "INSERT INTO asset_object (content, bytes, media_type, width, height) VALUES (%s, 40000, 'image/jpeg', 150, 150) RETURNING 1",
        (CONTENT,),
    )
    public_id = await asset(database, status="COMPLETE", content=CONTENT)
    hexed = CONTENT.hex()
    about = {
        "id": str(public_id), "platform": "instagram", "kind": "profiles", "key": "7", "field": "profile_pic_url", "account_id": "acme",
        "location": f"/assets/{public_id}", "source_url": "https://cdn.example/a.jpg",
    }  # fmt: skip
    stored = {
        "content": hexed, "object_key": f"00/01/{hexed}", "media_type": "image/jpeg", "bytes": 40000, "width": 150, "height": 150,
        "replaces": BEFORE.hex(),
    }  # fmt: skip
    assert await told(database, stored=[public_id], replaced={public_id: BEFORE}) == [
        ("beat.asset.stored", f"asset/{public_id}", "acme", "shop", about | stored)
    ]


async def test_s7_3_a_picture_that_is_given_up_is_published(database: Database) -> None:
    public_id = await asset(database, status="EXPIRED", failure="expired: HTTP 403: the origin's own words")
    ((type_, subject, _, owner, data),) = await told(database, lost=[public_id])
    assert (type_, subject, owner) == ("beat.asset.lost", f"asset/{public_id}", "shop")
    assert (data["status"], data["failure"], data["content"]) == ("EXPIRED", "expired", None)


async def test_nothing_is_published_of_assets_that_are_not_as_they_are_told(database: Database) -> None:
    public_id = await asset(database, status="PENDING")
    assert await told(database, stored=[public_id], lost=[public_id]) == []
    assert await told(database) == []


async def test_the_same_end_of_an_upload_has_one_id(database: Database) -> None:
    public_id = await asset(database, status="GONE", fence=3)
    for _ in range(2):
        await told(database, lost=[public_id])
    assert await rows(
        database, "SELECT count(*), count(DISTINCT event_id) AS ids FROM event WHERE type = 'beat.asset.lost'"
    ) == [(2, 1)]
