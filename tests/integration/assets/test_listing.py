"""Lists of assets: filters, pages, and another try."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.assets.upkeep import listing
from beat_actors.assets.upkeep.listing import Filter, again, one, page
from beat_actors.database import Database
from beat_actors.errors import BadInput, NotFound
from tests.integration.assets.backlog_rows import PENDING

ASSETS = 400


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(PENDING, (ASSETS,))
        connection.execute("UPDATE asset_log SET status = 'FAILED', failure = 'type' WHERE entity_key::int % 8 = 0")
        connection.execute("UPDATE asset_log SET platform = 'tiktok' WHERE entity_key::int % 16 = 0")
        yield connection


async def everything(database: Database, **fields: Any) -> list[str]:
    """The keys of all pages."""
    keys, cursor = list[str](), None
    while True:
        found = await page(database, Filter(**fields, cursor=cursor))
        keys += [asset.entity_key for asset in found.assets]
        cursor = found.next_cursor
        if cursor is None:
            return keys


FILTERS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({}, lambda n: True),
    ({"status": "FAILED"}, lambda n: n % 8 == 0),
    ({"status": "PENDING"}, lambda n: n % 8 != 0),
    ({"platform": "tiktok"}, lambda n: n % 16 == 0),
    ({"asset_class": "story"}, lambda n: n % 4 == 2),
    ({"account_id": "account3"}, lambda n: n % 5 == 3),
    ({"failure": "type", "account_id": "account0", "platform": "instagram"}, lambda n: n % 16 == 8 and n % 5 == 0),
    ({"failure": "nothing"}, lambda n: False),
)


@pytest.mark.parametrize(("fields", "fits"), FILTERS)
@pytest.mark.parametrize("limit", [7, 200])
@pytest.mark.parametrize("scan", [5, 5000])
async def test_s7_2_assets_are_filtered_and_paged(
    database: Database,
    admin: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    fits: Any,
    limit: int,
    scan: int,
) -> None:
    monkeypatch.setattr(listing, "SCAN", scan)
    wanted = [str(n) for n in range(ASSETS, 0, -1) if fits(n)]
    assert await everything(database, **fields, limit=limit) == wanted


async def test_a_page_reads_no_more_than_its_looks(
    database: Database, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCAN", 10)
    monkeypatch.setattr(listing, "LOOKS", 2)
    found = await page(database, Filter(platform="tiktok"))
    assert ([asset.entity_key for asset in found.assets], found.next_cursor is not None) == (["400", "384"], True)


@pytest.mark.parametrize(
    "fields",
    [{"status": "NOTHING"}, {"asset_class": "video"}, {"limit": 201}, {"platform": "nowhere"}, {"cursor": "x"}],
)
async def test_a_filter_that_selects_nothing_known_is_refused(database: Database, fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await page(database, Filter(**fields))


async def test_an_asset_is_shown_with_its_object_and_what_happens_next(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    ids = dict(admin.execute("SELECT entity_key, public_id::text FROM asset_log").fetchall())
    assert "waits for its turn" in (await one(database, ids["1"])).why
    failed = await one(database, ids["8"])
    assert (failed.asset_class, failed.stored) == ("avatar", None)
    assert failed.why.endswith("(type)")
    assert f"beat assets retry {ids['8']}" in failed.why
    admin.execute("UPDATE asset_log SET status = 'COMPLETE', content = sha256('a') WHERE entity_key = '1'")
    admin.execute("INSERT INTO asset_object (content, bytes, media_type) VALUES (sha256('a'), 3, 'image/png')")
    whole = await one(database, ids["1"])
    assert whole.stored is not None
    assert (whole.stored.bytes, whole.stored.key) == (3, f"ca/97/{whole.content}")
    with pytest.raises(NotFound):
        await one(database, "5f2c9e1a-6c1b-4c0e-9d7e-2f1f0a3b4c5d")
    with pytest.raises(NotFound):
        await one(database, "17")


async def test_assets_that_were_given_up_are_tried_again_and_others_left_alone(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    ids = dict(admin.execute("SELECT entity_key, public_id::text FROM asset_log").fetchall())
    admin.execute("UPDATE asset_log SET status = 'PROCESSING', fence = 3 WHERE entity_key = '1'")
    async with database.transaction() as transaction:
        done = await again(transaction, [ids["1"], ids["2"], ids["8"], ids["16"]], actor="test", reason="fixed")
    assert done == 2
    rows = admin.execute(
        "SELECT entity_key, status, fence, failure FROM asset_log WHERE entity_key IN ('1', '2', '8', '16') ORDER BY id"
    ).fetchall()
    assert rows == [
        ("1", "PROCESSING", 3, None),
        ("2", "PENDING", 0, None),
        ("8", "PENDING", 1, None),
        ("16", "PENDING", 1, None),
    ]
    (entry,) = admin.execute("SELECT action, target, detail ->> 'assets' FROM audit_log").fetchall()
    assert entry == ("asset.retry", "assets", "2")
    with pytest.raises(BadInput):
        async with database.transaction() as transaction:
            await again(transaction, [], actor="test", reason="fixed")
