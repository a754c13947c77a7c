"""The media of a subject are forgotten: no row, no object and no smaller picture of it is left, and others keep theirs."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from beat_actors.assets import intake
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.upkeep import forgetting
from beat_actors.assets.upkeep.deleting import Deleter
from beat_actors.assets.upkeep.forgetting import allow, forget
from beat_actors.errors import BadInput, NotFound, StorageUnavailable
from tests.integration.assets.stored import Stored

SAID = {"actor": "test", "reason": "asked for"}
POSTS = 12


@pytest.fixture
async def two(stored: Stored) -> Stored:
    """Two profiles with posts. Their first posts have the same picture."""
    for key, handle in (("1", "mine"), ("2", "other")):
        stored.profile(key, handle, POSTS)
        avatar = await stored.asset("instagram_account", key, f"avatar {key}".encode(), "profile_pic_url")
        await stored.variant(avatar, f"small avatar {key}".encode())
        for n in range(POSTS):
            picture = b"shared" if n == 0 else f"{key} {n}".encode()
            await stored.asset("instagram_post", f"{key}-post-{n}", picture)
    # The first profile has one of its pictures twice.
    await stored.asset("instagram_post", "1-post-3", b"1 4", "media_url")
    return stored


def hits(stored: Stored) -> int:
    return int(
        stored.one("SELECT count(*) FROM asset_log WHERE entity_key = '1' OR entity_key LIKE '1-post-%%'")
        + stored.one(
            "SELECT count(*) FROM asset_object o WHERE NOT EXISTS (SELECT FROM asset_log a WHERE a.content = o.content)"
            " AND NOT EXISTS (SELECT FROM asset_variant v WHERE v.variant = o.content)"
        )
    )


@pytest.mark.parametrize("page", [4, 500])
async def test_forgetting_leaves_no_trace_in_tables_and_bucket(
    two: Stored, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(forgetting, "PAGE", page)
    before = await two.keys()
    counted = (POSTS + 2, POSTS, 1, 1)
    dry = await forget(two.database, "instagram", "@Mine", dry_run=True, **SAID)
    assert (dry.assets, dry.objects, dry.variants, dry.shared, dry.denied) == (*counted, False)
    assert (await two.keys(), two.one("SELECT count(*) FROM asset_denied")) == (before, 0)
    done = await forget(two.database, "instagram", "mine", **SAID)
    assert (done.assets, done.objects, done.variants, done.shared, done.denied) == (*counted, True)
    await Deleter(stays=0.0).run(two.database)
    await Deleter(stays=0.0).run(two.database)
    assert hits(two) == 0
    theirs = {
        key_of(row[0])
        for row in two.rows.execute("SELECT content FROM asset_log UNION SELECT variant FROM asset_variant")
    }
    assert await two.keys() == theirs < before
    assert len(theirs) == POSTS + 2
    (entry,) = two.rows.execute("SELECT action, target, detail ->> 'reason' FROM audit_log").fetchall()
    assert entry == ("asset.forget", "instagram/profiles/1", "asked for")


async def test_forgetting_twice_is_as_good_as_once_and_allowing_lifts_it(two: Stored) -> None:
    await forget(two.database, "instagram", "1", **SAID)
    again = await forget(two.database, "instagram", "1", **SAID)
    assert (again.assets, again.objects, again.denied) == (0, 0, False)
    two.rows.execute("DELETE FROM instagram_account")
    # Its row is gone, and it is known as one that is denied.
    assert (await allow(two.database, "instagram", "1", **SAID)).was_denied is True
    assert two.one("SELECT count(*) FROM asset_denied") == 0
    with pytest.raises(NotFound):
        await allow(two.database, "instagram", "1", **SAID)


async def test_one_post_is_forgotten_and_the_profile_stays(two: Stored) -> None:
    done = await forget(two.database, "instagram", "1-post-2", kind="posts", **SAID)
    assert (done.assets, done.objects) == (1, 1)
    assert two.one("SELECT count(*) FROM asset_log") == 2 * (POSTS + 1)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("instagram", "nobody"), NotFound),
        (("instagram", ""), BadInput),
        (("nowhere", "mine"), BadInput),
    ],
)
async def test_what_is_not_known_is_refused(two: Stored, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await forget(two.database, *given, **SAID)
    assert two.one("SELECT count(*) FROM asset_denied") == 0


async def test_the_next_scrape_does_not_bring_back_what_was_forgotten(two: Stored) -> None:
    """Neither the profile's picture nor that of a post which is new; until it is allowed again."""
    now = datetime.now(UTC)

    async def scraped() -> list[str]:
        seen = [
            ("instagram_account", "1", "1"),
            ("instagram_post", "1-post-3", "1"),
            ("instagram_post", "1-post-new", "1"),
            ("instagram_post", "2-post-new", "2"),
        ]
        rows = [
            intake.Row(
                "instagram",
                table,
                key,
                "thumbnail_url",
                "",
                None,
                f"https://cdn.example.com/{key}.jpg",
                1,
                key.encode(),
                now,
                None,
                now,
                "profiles",
                parent,
            )
            for table, key, parent in seen
        ]
        two.rows.execute("DELETE FROM asset_log")
        async with two.database.transaction() as transaction:
            await intake.observe(transaction, rows)
        return [row[0] for row in two.rows.execute("SELECT entity_key FROM asset_log ORDER BY entity_key")]

    await forget(two.database, "instagram", "mine", **SAID)
    assert await scraped() == ["2-post-new"]
    await allow(two.database, "instagram", "mine", **SAID)
    assert await scraped() == ["1", "1-post-3", "1-post-new", "2-post-new"]


async def test_an_intake_that_looked_before_the_denial_brings_nothing_back(two: Stored) -> None:
    now = datetime.now(UTC)
    post = ("instagram", "instagram_post", "1-post-late", "thumbnail_url", "", None, "https://cdn.example.com/late.jpg")
    late = intake.Row(*post, 1, b"late", now, None, now, "profiles", "1")
    async with two.database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO instagram_post (shortcode, profile_id, account_id, owner, source, parser_version, request_id, observed_at)"
            " VALUES ('1-post-late', '1', '', '', 'lama', 1, 1, now())"
        )
        await intake.observe(transaction, [late])
        forgetting_it = asyncio.create_task(forget(two.database, "instagram", "mine", **SAID))
        while not two.one("SELECT count(*) FROM asset_denied"):  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)
        # It does not end before the intake does.
        done, _ = await asyncio.wait({forgetting_it}, timeout=1.0)
        assert not done
    assert (await forgetting_it).assets == POSTS + 3
    assert two.one("SELECT count(*) FROM asset_log WHERE entity_key LIKE '1%%'") == 0


async def test_a_transaction_that_does_not_end_is_reported(two: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "WAITS", 0.2)
    async with two.database.transaction() as transaction:
        await transaction.run("DELETE FROM instagram_account WHERE profile_id = '2'")
        with pytest.raises(StorageUnavailable, match="repeat"):
            await forget(two.database, "instagram", "mine", **SAID)
    assert two.one("SELECT count(*) FROM asset_log WHERE entity_key LIKE '1%%'") == 0
