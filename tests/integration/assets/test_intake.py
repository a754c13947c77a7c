"""Observed media URLs become assets: one row for each media field, with the freshest URL of the picture that was observed last."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from beat_actors.database import Database
from beat_actors.media.urls import identity
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost, InstagramStory
from beat_actors.platforms.interface import AssetClass
from tests.observing import observe, observe_in, rows

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
EXPIRES = NOON + timedelta(days=4)
CONTENT = bytes(range(32))


def picture(name: str = "1_2_3_n.jpg", *, later: timedelta = timedelta(0), host: str = "scontent-lhr8-1") -> str:
    """A URL that works until `later` after `EXPIRES`."""
    expires = int((EXPIRES + later).timestamp())
    return f"https://{host}.cdninstagram.com/v/t51.2885-19/{name}?stp=dst-jpg_s150x150&_nc_ohc={expires}&oh=00_{expires}&oe={expires:X}"


def account(url: str, key: str = "1") -> InstagramAccount:
    return InstagramAccount(profile_id=key, handle=f"creator_{key}", profile_pic_url=url)


async def see(database: Database, url: str, hours: int = 0, **whose: Any) -> None:
    """The account 1 has this picture, `hours` after noon."""
    await observe(database, "instagram", account(url), at=NOON + hours * HOUR, fetch=hours + 1, **whose)


async def put(database: Database, **values: object) -> None:
    """Bring all assets into a state."""
    columns = ", ".join(f"{name} = %s" for name in values)
    await rows(database, f"UPDATE asset_log SET {columns} RETURNING 1", list(values.values()))


async def asset(database: Database, *names: str) -> tuple[Any, ...]:
    (found,) = await rows(
        database, f"SELECT {', '.join(f'{name} AS c{n}' for n, name in enumerate(names))} FROM asset_log"
    )
    return found


async def test_s7_3_a_picture_that_was_never_seen_is_pending(database: Database) -> None:
    await see(database, picture(), account_id="acme")
    names = ("platform", "entity", "entity_key", "field", "owner", "account_id", "status", "url", "class", "identity", "observed_at", "expires_at", "deadline", "parent_kind", "parent_key")  # fmt: skip
    assert await asset(database, *names) == (
        "instagram", "instagram_account", "1", "profile_pic_url", "", "acme", "PENDING", picture(), AssetClass.AVATAR,
        identity(picture()), NOON, EXPIRES, EXPIRES, "profiles", "1",
    )  # fmt: skip
    assert await asset(database, "public_id IS NOT NULL", "content", "attempts", "fence") == (True, None, 0, 0)


async def test_s7_3_what_is_listed_under_a_profile_is_brought_by_the_profile(database: Database) -> None:
    for key, profile in (("SC1", "7"), ("SC2", None)):
        post = InstagramPost(shortcode=key, profile_id=profile, thumbnail_url=picture(f"{key[2:]}_2_3_n.jpg"))
        await observe(database, "instagram", post, at=NOON)
    found = await rows(
        database, "SELECT entity_key, class AS of_class, parent_kind, parent_key FROM asset_log ORDER BY entity_key"
    )
    assert found == [
        ("SC1", AssetClass.THUMBNAIL, "profiles", "7"),
        ("SC2", AssetClass.THUMBNAIL, "posts", "SC2"),
    ]


@pytest.mark.parametrize(
    ("taken", "url", "ends"),
    [
        (-5, picture(), 19),
        (-5, "https://cdn.example/a.jpg", 19),
        (-5, picture(later=timedelta(hours=2) - timedelta(days=4)), 2),
        (None, picture(), 24),
        # A highlight: its author keeps it for longer than a day.
        (-500, picture(), 24),
    ],
)
async def test_s7_3_a_story_dies_a_day_after_it_was_taken(
    database: Database, taken: int | None, url: str, ends: int
) -> None:
    taken_at = None if taken is None else NOON + taken * HOUR
    story = InstagramStory(story_id="1", profile_id="7", thumbnail_url=url, media_url=url, taken_at=taken_at)
    await observe(database, "instagram", story, at=NOON)
    assert await rows(
        database, "SELECT field, class AS of_class, deadline, parent_kind FROM asset_log ORDER BY field"
    ) == [(field, AssetClass.STORY, NOON + ends * HOUR, "profiles") for field in ("media_url", "thumbnail_url")]


async def test_s7_3_a_url_that_does_not_say_when_it_dies_is_expected_to_work_for_a_day(database: Database) -> None:
    await see(database, "https://cdn.example/a.jpg")
    assert await asset(database, "expires_at", "deadline") == (None, NOON + 24 * HOUR)


@pytest.mark.parametrize(
    "url", ["a.jpg", "data:image/png;base64,AA==", "ftp://cdn.example/a.jpg", "https://cdn.example/" + "a" * 9000]
)
async def test_what_cannot_be_fetched_is_no_asset(database: Database, url: str) -> None:
    await see(database, url)
    assert await rows(database, "SELECT 1 FROM asset_log") == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PENDING", "PENDING"),
        ("WAITING", "WAITING"),
        ("REFETCH", "PENDING"),
        ("EXPIRED", "PENDING"),
        ("GONE", "PENDING"),
    ],
)
async def test_s7_3_a_fresher_url_of_the_same_picture_moves_to_the_later_expiry(
    database: Database, before: str, after: str
) -> None:
    await see(database, picture())
    tried = NOON + 3 * HOUR
    await put(database, status=before, attempts=3, not_before=tried if before == "WAITING" else None, failure="x")
    fresh = picture(later=HOUR, host="scontent-fra3-2")
    await see(database, fresh, 1)
    assert await asset(database, "status", "url", "expires_at", "deadline") == (
        after,
        fresh,
        EXPIRES + HOUR,
        EXPIRES + HOUR,
    )
    is_new = after != before
    assert await asset(database, "attempts", "failure") == (
        (0, None) if is_new else (3, "x" if before == "WAITING" else None)
    )
    # Of a URL that dies earlier nothing is taken over.
    await see(database, picture(later=-HOUR), 2)
    assert await asset(database, "url", "expires_at") == (fresh, EXPIRES + HOUR)


WRITTEN = "xmin::text"


@pytest.mark.parametrize("status", ["COMPLETE", "FAILED"])
async def test_s7_3_another_edge_host_and_signature_of_a_stored_picture_writes_nothing(
    database: Database, status: str
) -> None:
    await see(database, picture())
    await put(database, status=status, content=CONTENT if status == "COMPLETE" else None)
    before = await asset(database, WRITTEN)
    await see(database, picture(later=HOUR, host="scontent-fra3-2"), 1)
    assert await asset(database, WRITTEN) == before


@pytest.mark.parametrize("status", ["COMPLETE", "FAILED", "EXPIRED", "GONE", "REFETCH", "WAITING", "PENDING"])
async def test_s7_3_another_picture_is_pending_and_the_last_good_one_stays(database: Database, status: str) -> None:
    await see(database, picture())
    await put(
        database,
        status=status,
        content=CONTENT,
        content_identity=identity(picture()),
        failure="x",
        attempts=4,
        not_before=NOON,
    )
    other = picture("9_2_3_n.jpg")
    await see(database, other, 1)
    names = ("status", "url", "identity", "content", "content_identity", "failure", "attempts", "not_before")
    assert await asset(database, *names) == (
        "PENDING", other, identity(other), CONTENT, identity(picture()), None, 0, None,
    )  # fmt: skip
    # The first picture is there again: it is stored already.
    await see(database, picture(), 2)
    assert await asset(database, "status", "identity", "content") == ("COMPLETE", identity(picture()), CONTENT)


async def test_s7_3_another_version_under_the_same_name_is_another_picture(database: Database) -> None:
    await see(database, "https://cdn.example/files/a.jpg?v=1700000000")
    await put(database, status="COMPLETE")
    await see(database, "https://cdn.example/files/a.jpg?v=1700000001", 1)
    assert (await asset(database, "status", "url"))[0] == "PENDING"


async def test_s7_3_an_upload_keeps_its_claim_and_the_row_gets_the_fresh_url(database: Database) -> None:
    await see(database, picture())
    await put(database, status="PROCESSING", fence=7, attempts=2, lease_until=NOON + HOUR)
    for hours, url in ((1, picture(later=HOUR)), (2, picture("9_2_3_n.jpg", later=2 * HOUR))):
        await see(database, url, hours)
        names = ("status", "fence", "attempts", "lease_until", "url", "identity")
        assert await asset(database, *names) == ("PROCESSING", 7, 2, NOON + HOUR, url, identity(url))


async def test_an_older_observation_does_not_replace_a_newer_picture(database: Database) -> None:
    await see(database, picture("9_2_3_n.jpg"), 2)
    await see(database, picture(), 1)
    # Another account's row of the account is new, its observation is not.
    await see(database, picture(), 0, account_id="acme")
    assert await asset(database, "url", "account_id") == (picture("9_2_3_n.jpg"), None)


async def test_accounts_share_an_asset_and_owners_do_not(database: Database) -> None:
    await see(database, picture(), account_id="acme")
    await see(database, picture(), 1, account_id="other")
    await see(database, picture(), 2, owner="shop", account_id="other")
    assert await rows(database, "SELECT owner, account_id FROM asset_log ORDER BY owner") == [
        ("", "acme"),
        ("shop", "other"),
    ]


async def test_an_unchanged_url_is_not_looked_up(database: Database) -> None:
    await see(database, picture())
    await put(database, status="EXPIRED")
    await see(database, picture(), 1)
    assert await asset(database, "status", "observed_at") == ("EXPIRED", NOON)


async def test_the_pictures_of_a_denied_subject_are_left_out(database: Database) -> None:
    await rows(
        database,
        "INSERT INTO asset_denied (subject) VALUES (sha256('instagram\\000instagram_account\\0001'::bytea)) RETURNING 1",
    )
    for n, key in enumerate(("1", "2")):
        await observe(database, "instagram", account(picture(), key), at=NOON, fetch=n)
    assert await asset(database, "entity_key") == ("2",)


async def test_rows_of_older_processes_are_completed_when_they_are_seen_again(database: Database) -> None:
    await rows(
        database,
        """INSERT INTO asset_log (platform, entity, entity_key, field, url, public_id)
        VALUES ('instagram', 'instagram_account', '1', 'profile_pic_url', %s, NULL) RETURNING 1""",
        (picture(),),
    )
    await see(database, picture(later=HOUR), 1, account_id="acme")
    names = ("status", "class", "identity", "deadline", "account_id", "public_id IS NULL")
    assert await asset(database, *names) == ("PENDING", 0, identity(picture()), EXPIRES + HOUR, "acme", False)


async def test_batches_with_the_same_assets_and_commits_of_uploads_do_not_deadlock(database: Database) -> None:
    rng = Random(7)
    keys = [f"SC{n}" for n in range(12)]

    async def visit(n: int) -> None:
        posts = [
            InstagramPost(shortcode=key, thumbnail_url=picture(f"{n % 2}_2_3_n.jpg", later=n * HOUR))
            for key in rng.sample(keys, 8)
        ]
        stories = [
            InstagramStory(story_id=key, media_url=picture(f"{n % 2}_4_5_n.jpg", later=n * HOUR)) for key in keys[:4]
        ]
        async with database.transaction() as transaction:
            await observe_in(transaction, "instagram", *posts, at=NOON + n * HOUR, fetch=2 * n)
        await observe(database, "instagram", *stories, at=NOON + n * HOUR, fetch=2 * n + 1)

    async def commit() -> None:
        async with database.transaction() as transaction:
            held = await transaction.rows("SELECT public_id FROM asset_log ORDER BY public_id FOR NO KEY UPDATE")
            # No row that was added meanwhile: it would be locked out of order.
            await transaction.run(
                "UPDATE asset_log SET status = 'COMPLETE' WHERE public_id = ANY(%s)", ([row[0] for row in held],)
            )

    await asyncio.gather(*(step for n in range(12) for step in (visit(n), commit())))
    assert await rows(database, "SELECT count(*) FROM asset_log") == [(16,)]
