"""Assets that older processes wrote get the columns that those processes do not know."""

from datetime import UTC, datetime, timedelta

from beat_actors.assets import claims, preparing
from beat_actors.assets.classes import AssetClass
from beat_actors.database import Database
from beat_actors.media.urls import identity
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from tests.observing import observe, rows

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
FORGET = """
UPDATE asset_log SET class = NULL, identity = NULL, deadline = NULL, parent_kind = NULL, parent_key = NULL, public_id = NULL, observed_at = NULL,
    url = replace(url, 'new', 'old') RETURNING 1
"""
WRITE = "INSERT INTO asset_log (platform, entity, entity_key, field, url, public_id) VALUES (%s, %s, %s, %s, %s, NULL) RETURNING 1"
PREPARED = "SELECT entity_key, url, class AS of_class, parent_key, public_id IS NOT NULL AS known, deadline FROM asset_log ORDER BY entity_key"


async def test_s7_3_assets_of_older_processes_get_what_their_entities_say_now(database: Database) -> None:
    account = InstagramAccount(profile_id="7", handle="creator", profile_pic_url="https://cdn.example/new7.jpg")
    post = InstagramPost(shortcode="SC1", profile_id="7", thumbnail_url="https://cdn.example/new1.jpg")
    await observe(database, "instagram", account, at=NOON)
    await observe(database, "instagram", post, at=NOON)
    await rows(database, FORGET)
    assert await preparing.prepare(database) == 2
    ends = NOON + timedelta(days=1)
    assert await rows(database, PREPARED) == [
        ("7", "https://cdn.example/new7.jpg", AssetClass.AVATAR, "7", True, ends),
        ("SC1", "https://cdn.example/new1.jpg", AssetClass.THUMBNAIL, "7", True, ends),
    ]
    assert await rows(database, "SELECT identity, status FROM asset_log WHERE entity_key = '7'") == [
        (identity("https://cdn.example/new7.jpg"), "PENDING")
    ]
    assert await preparing.prepare(database) == 0


async def test_assets_without_an_entity_keep_their_url_and_those_without_a_picture_end(database: Database) -> None:
    for key, platform, url in (
        ("1", "instagram", "https://cdn.example/1.jpg"),
        ("2", "instagram", "2.jpg"),
        ("3", "no_more", "https://cdn.example/3.jpg"),
    ):
        await rows(database, WRITE, (platform, "instagram_account", key, "profile_pic_url", url))
    assert await preparing.prepare(database) == 3
    found = await rows(database, "SELECT entity_key, status, class AS of_class FROM asset_log ORDER BY entity_key")
    assert found == [
        ("1", "PENDING", AssetClass.AVATAR),
        ("2", "FAILED", AssetClass.OTHER),
        ("3", "FAILED", AssetClass.OTHER),
    ]
    assert await preparing.prepare(database) == 0


async def test_a_run_prepares_five_hundred_assets(database: Database) -> None:
    await rows(
        database,
        """INSERT INTO asset_log (platform, entity, entity_key, field, url)
        SELECT 'instagram', 'instagram_account', n, 'profile_pic_url', 'https://cdn.example/' || n FROM generate_series(1, 700) n RETURNING 1""",
    )
    assert [await preparing.prepare(database) for _ in range(3)] == [500, 200, 0]


async def test_what_another_leader_prepares_is_left_to_it(database: Database) -> None:
    await rows(database, WRITE, ("instagram", "instagram_account", "1", "profile_pic_url", "https://cdn.example/1.jpg"))
    await rows(
        database,
        "INSERT INTO leader (name, epoch) VALUES ('scheduler', 7) ON CONFLICT (name) DO UPDATE SET epoch = 7 RETURNING 1",
    )
    assert [await preparing.prepare(database, epoch) for epoch in (6, 7)] == [0, 1]


async def test_nothing_to_prepare_is_one_look_at_an_index(database: Database) -> None:
    await rows(
        database,
        """INSERT INTO asset_log (platform, entity, entity_key, field, url, class)
        SELECT 'instagram', 'instagram_account', n, 'profile_pic_url', 'x', 0 FROM generate_series(1, 5000) n RETURNING 1""",
    )
    sql = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {preparing.UNPREPARED.text}".replace("%(most)s", "500").replace(
        "%(epoch)s", "NULL"
    )
    async with database.transaction() as transaction:
        await transaction.run("ANALYZE asset_log")
        plan = str(await transaction.value(sql))
    assert "asset_log_unprepared" in plan
    assert "Seq Scan" not in plan


async def test_a_url_that_an_older_process_wrote_on_a_prepared_asset_is_prepared_again(database: Database) -> None:
    for key in ("1", "2"):
        url = f"https://cdn.example/a{key}.jpg"
        await observe(database, "instagram", InstagramAccount(profile_id=key, handle=key, profile_pic_url=url), at=NOON)
    # An older process writes the entity, and of the asset only the URL and the status.
    new = "https://cdn.example/b1.jpg"
    await rows(database, "UPDATE instagram_account SET profile_pic_url = %s WHERE profile_id = '1' RETURNING 1", (new,))
    await rows(
        database,
        "UPDATE asset_log SET url = %s, status = 'PENDING', expires_at = %s WHERE entity_key = '1' RETURNING 1",
        (new, NOON),
    )
    assert [one.entity_key for one in await claims.claim(database, 9, urgent=60)] == ["2"]
    assert await rows(database, "SELECT status, class AS of_class FROM asset_log WHERE entity_key = '1'") == [
        ("PENDING", None)
    ]
    assert await preparing.prepare(database) == 1
    (found,) = await claims.claim(database, 9, urgent=60)
    assert (found.url, found.identity, found.dead) == (new, identity(new), False)


async def test_nobody_waits_for_an_asset_that_is_given_up(database: Database) -> None:
    await rows(database, WRITE, ("no_more", "instagram_account", "3", "profile_pic_url", "https://cdn.example/3.jpg"))
    await rows(database, "UPDATE asset_log SET wanted_at = now() RETURNING 1")
    await preparing.prepare(database)
    assert await rows(database, "SELECT status, wanted_at FROM asset_log") == [("FAILED", None)]
