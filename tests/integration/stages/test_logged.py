"""What is logged of an observation: its dimensions once, however often they are the same, and a history that shows none of that."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from beat_actors.data import reading
from beat_actors.database import Database
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost, platform
from beat_actors.platforms.instagram.entities import ACCOUNT
from tests.observing import observe, observe_in, rows

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
WHOLE = "SELECT (metrics->>'followers')::int FROM profile_log WHERE dimensions <> '{}' ORDER BY observed_at"
CREATOR = InstagramAccount(profile_id="1", handle="creator", biography="about me", followers=1)


async def history(database: Database) -> list[tuple[datetime, dict[str, Any], dict[str, Any]]]:
    """All of the account 1, page by page, newest first."""
    found, cursor = [], None
    async with database.transaction() as transaction:
        while True:
            page = await reading.history(
                transaction, platform, ACCOUNT, "1", since=None, until=None, limit=7, cursor=cursor
            )
            found += [(one.as_of, one.dimensions, one.metrics) for one in page.snapshots]
            cursor = page.next_cursor
            if cursor is None:
                return found


def told(record: InstagramAccount) -> tuple[dict[str, Any], dict[str, Any]]:
    fields = {name: value for name in ACCOUNT.fields if (value := getattr(record, name)) is not None}
    return reading.split(ACCOUNT, {n: v for n, v in fields.items() if n not in {"profile_id", "profile_pic_url"}})


@pytest.mark.parametrize("seed", range(6))
async def test_a_history_has_each_observation_as_it_was_reported(database: Database, seed: int) -> None:
    rng = Random(seed)
    observations = []
    for n in range(40):
        records = [
            InstagramAccount(
                profile_id="1",
                handle=rng.choice(["creator", "creator", "other"]),
                biography=rng.choice(["about me", "about me", None]),
                is_private=rng.choice([False, False, False, None]),
                profile_pic_url=f"https://cdn.example/{n}.jpg?oh={n}",
                followers=rng.randrange(3),
            )
            for _ in range(rng.choice([1, 1, 1, 1, 2]))
        ]
        whose = {"account_id": rng.choice([None, None, None, "acme"]), "owner": rng.choice([None, None, None, "shop"])}
        observations.append((NOON + timedelta(hours=n), n, records, whose))
    # Most are written in the order in which they were made.
    written = sorted(observations, key=lambda one: one[1] + rng.choice([0, 0, 0, 6]))
    for at, n, records, whose in written:
        await observe(database, "instagram", *records, **whose, at=at, fetch=n, source=rng.choice(["lama", "graphapi"]))
    expected = [(at, *told(record)) for at, _, records, _ in observations for record in records]
    shown = await history(database)
    assert [at for at, *_ in shown] == sorted((at for at, *_ in expected), reverse=True)
    assert sorted(shown, key=repr) == sorted(expected, key=repr)
    (((whole,),), ((logged,),)) = (
        await rows(database, "SELECT count(*) FROM profile_log WHERE dimensions <> '{}'"),
        await rows(database, "SELECT count(*) FROM profile_log"),
    )
    assert logged == len(expected)
    assert whole < logged


async def test_dimensions_are_logged_once_until_they_change_or_grow_old(database: Database) -> None:
    days = database.settings.log_days / 10
    moments = {0: 0.0, 1: 0.1, 2: days * 0.99, 3: days * 1.01, 4: days * 1.02}
    for followers, day in moments.items():
        record = msgspec.structs.replace(CREATOR, followers=followers)
        await observe(database, "instagram", record, at=NOON + timedelta(days=day), fetch=followers)
    assert await rows(database, WHOLE) == [(0,), (3,)]
    changed = msgspec.structs.replace(CREATOR, biography="anew", followers=5)
    await observe(database, "instagram", changed, at=NOON + timedelta(days=days * 1.03), fetch=5)
    await observe(database, "instagram", CREATOR, at=NOON + timedelta(days=days * 1.04), fetch=6)
    assert await rows(database, WHOLE) == [(0,), (3,), (5,), (1,)]


async def test_what_an_older_process_wrote_is_read_and_referred_to_by_nothing(database: Database) -> None:
    await observe(database, "instagram", CREATOR, at=NOON)
    for table in ("profile_log", "instagram_account"):
        async with database.transaction() as transaction:
            await transaction.run(f"UPDATE {table} SET dimensions_at = NULL, dimensions_fetch = NULL")
    async with database.transaction() as transaction:
        await transaction.run("UPDATE instagram_account SET dimensions_hash = NULL")
    for n in (1, 2):
        record = msgspec.structs.replace(CREATOR, followers=n + 1)
        await observe(database, "instagram", record, at=NOON + timedelta(hours=n), fetch=n)
    assert await rows(database, WHOLE) == [(1,), (2,)]
    assert [dimensions for _, dimensions, _ in await history(database)] == [told(CREATOR)[0]] * 3


async def test_numbers_outlive_dimensions_that_were_dropped_with_their_day(database: Database) -> None:
    for n in (0, 1):
        await observe(database, "instagram", CREATOR, at=NOON + timedelta(days=n), fetch=n)
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM profile_log WHERE observed_at = %s", (NOON,))
    assert await history(database) == [(NOON + timedelta(days=1), {}, {"followers": 1})]


async def test_media_become_due_by_their_path(database: Database) -> None:
    due = "SELECT owner, url, status FROM asset_log ORDER BY owner"
    for n, (url, owner) in enumerate(
        [
            ("a.jpg?oh=1", None),
            ("a.jpg?oh=2", None),
            ("a.jpg?oh=3", "shop"),
            ("b.jpg?oh=4", None),
            ("a.jpg?oh=5", "shop"),
        ]
    ):
        if n == 3:
            await rows(database, "UPDATE asset_log SET status = 'COMPLETE' RETURNING 1")
        record = msgspec.structs.replace(CREATOR, profile_pic_url=f"https://cdn.example/{url}")
        await observe(database, "instagram", record, owner=owner, at=NOON + timedelta(hours=n), fetch=n)
    assert await rows(database, due) == [
        ("", "https://cdn.example/b.jpg?oh=4", "PENDING"),
        ("shop", "https://cdn.example/a.jpg?oh=3", "COMPLETE"),
    ]


async def test_a_page_of_posts_is_written_again_without_a_word_to_any_index(database: Database) -> None:
    posts = [
        InstagramPost(
            shortcode=f"SC{n:02d}", post_id=str(n), profile_id="1", caption=f"{n} " * 200, likes=n, taken_at=NOON
        )
        for n in range(24)
    ]
    hot = "SELECT pg_stat_get_xact_tuples_hot_updated('instagram_post'::regclass)"
    async with database.transaction() as transaction:
        await observe_in(transaction, "instagram", *posts, at=NOON, fetch=1)
        others = [msgspec.structs.replace(post, likes=99) for post in posts]
        await observe_in(transaction, "instagram", *others, at=NOON + timedelta(hours=1), fetch=2)
        assert await transaction.value(hot) == len(posts)
