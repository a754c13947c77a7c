"""Rows and bucket are compared both ways; what differs is found, and made good."""

import asyncio
import uuid
from typing import Any

import pytest

from beat_actors.assets.serving.places import key_of
from beat_actors.assets.upkeep import checking
from beat_actors.assets.upkeep.checking import Check, Checked
from beat_actors.assets.upkeep.deleting import Deleter
from beat_actors.errors import Conflict
from tests.integration.assets.stored import Stored, content_of

pytestmark = pytest.mark.slow

PICTURES = 60


async def filled(stored: Stored) -> list[bytes]:
    return [await stored.asset("instagram_post", str(n), f"picture {n}".encode()) for n in range(PICTURES)]


def check(stored: Stored, **fields: Any) -> Check:
    return Check(stored.database, stored.store, **{"older": 0.0, "page": 7, **fields})


async def test_where_nothing_differs_nothing_is_changed(stored: Stored) -> None:
    contents = await filled(stored)
    await stored.variant(contents[0], b"smaller")
    found = await check(stored).run(actor="test")
    assert found == Checked(dry_run=False, rows=PICTURES + 1, objects=PICTURES + 1)
    assert found.agree
    assert stored.one("SELECT count(*) FROM asset_log WHERE status = 'COMPLETE'") == PICTURES
    seen = "SELECT count(*) FROM asset_object WHERE checked_at > now() - interval '1 minute'"
    assert stored.one(seen) == PICTURES + 1


async def test_seeded_orphans_are_found_both_ways(stored: Stored) -> None:
    contents = await filled(stored)
    missing, smaller = contents[:5], await stored.variant(contents[9], b"smaller")
    await stored.store.delete([key_of(content) for content in [*missing, smaller]])
    stored.rows.execute("UPDATE asset_log SET status = 'WAITING' WHERE content = %s", (missing[0],))
    orphans = [await stored.put(f"orphan {n}".encode()) for n in range(8)]
    await stored.store.put(f"{'0' * 2}/notes.txt", b"of somebody else")
    await stored.store.put("ff/of/somebody", b"else")
    dry = await check(stored, dry_run=True).run(actor="test")
    counted = {"rows": PICTURES + 1, "objects": PICTURES - 5 + 8 + 2, "missing": 6, "orphans": 8, "foreign": 2}
    counted["orphan_bytes"] = 8 * len(b"orphan 0")
    assert dry == Checked(dry_run=True, **counted)
    assert not dry.agree
    assert stored.one("SELECT count(*) FROM asset_log WHERE status = 'COMPLETE'") == PICTURES - 1
    found = await check(stored).run(actor="test")
    assert found == Checked(dry_run=False, again=4, **counted)
    assert stored.one("SELECT count(*) FROM asset_log WHERE status = 'PENDING' AND content IS NULL") == 4
    assert stored.one("SELECT count(*) FROM asset_log WHERE status = 'WAITING' AND content IS NULL") == 1
    assert stored.one("SELECT count(*) FROM asset_variant") == 0
    await Deleter(stays=0.0).run(stored.database)
    await Deleter(stays=0.0).run(stored.database)
    left = await stored.keys()
    assert left == {key_of(content) for content in contents[5:]} | {"00/notes.txt", "ff/of/somebody"}
    assert not left & {key_of(content) for content in orphans}
    assert (await check(stored).run(actor="test")).agree


async def test_what_may_belong_to_an_upload_in_flight_is_left_alone(stored: Stored) -> None:
    await stored.put(b"in flight")
    stored.rows.execute(
        "INSERT INTO asset_object (content, bytes, media_type, checked_at) VALUES (%s, 1, 'image/png', now())",
        (content_of(b"on its way"),),
    )
    found = await check(stored, older=3600.0).run(actor="test")
    assert (found.young, found.orphans, found.missing) == (1, 0, 0)
    assert len(await stored.keys()) == 1


async def test_an_object_that_an_upload_adopts_meanwhile_is_not_deleted(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = await stored.put(b"adopted")

    class Adopting(Check):
        async def _settle(self, *given: Any) -> None:
            stored.rows.execute(
                "INSERT INTO asset_object (content, bytes, media_type) VALUES (%s, 7, 'image/png') ON CONFLICT DO NOTHING",
                (content,),
            )
            await Check._settle(self, *given)

    await Adopting(stored.database, stored.store, older=0.0).run(actor="test")
    assert stored.one("SELECT deleting_since FROM asset_object WHERE content = %s", content) is None
    await Deleter().run(stored.database)
    assert await stored.keys() == {key_of(content)}


async def test_a_check_that_was_killed_goes_on_where_it_stopped(stored: Stored) -> None:
    contents = await filled(stored)
    gone = [content for content in contents if content[0] >= 128]
    await stored.store.delete([key_of(content) for content in gone])

    def dying(part: int, _found: Checked) -> None:
        if part == 127:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await check(stored, told=dying).run(actor="test")
    assert stored.one("SELECT count(*) FROM asset_log WHERE status = 'PENDING'") == 0
    found = await check(stored).run(actor="test")
    assert (found.continued, found.rows, found.missing, found.again) == (True, len(gone), len(gone), len(gone))
    assert stored.one("SELECT count(*) FROM asset_check") == 0
    whole = await check(stored).run(actor="test", anew=True)
    assert (whole.continued, whole.rows, whole.agree) == (False, PICTURES - len(gone), True)


async def test_a_bucket_of_another_page_size_is_walked_to_its_end(stored: Stored) -> None:
    """More objects of one first byte than a page of the bucket holds would take a while to make; the pages of the rows are small instead."""
    same = [f"{uuid.UUID(int=n)}".encode() for n in range(4_000)]
    same = [picture for picture in same if content_of(picture)[0] == 7]
    assert len(same) > 10
    for n, picture in enumerate(same):
        await stored.asset("instagram_post", str(n), picture)
    found = await check(stored, page=3).run(actor="test")
    assert (found.rows, found.objects, found.agree) == (len(same), len(same), True)


def test_keys_that_are_not_of_beat_are_told_from_others() -> None:
    name = content_of(b"x").hex()
    assert checking.KEY.fullmatch(key_of(content_of(b"x")))
    for key in (name, f"{name[:2]}/{name}", f"00/11/{name}", f"{name[:2]}/{name[2:4]}/{name}.jpg"):
        assert not checking.KEY.fullmatch(key)


async def test_an_object_that_nothing_needs_is_marked(stored: Stored) -> None:
    contents = await filled(stored)
    smaller = await stored.variant(contents[1], b"smaller")
    stored.rows.execute(
        "INSERT INTO asset_object (content, bytes, media_type) VALUES (%s, 7, 'image/webp') ON CONFLICT DO NOTHING",
        (smaller,),
    )
    stored.rows.execute("DELETE FROM asset_log WHERE content = %s", (contents[0],))
    await check(stored).run(actor="test")
    assert stored.rows.execute("SELECT content FROM asset_object WHERE unused_since IS NOT NULL").fetchall() == [
        (contents[0],)
    ]


async def test_an_object_of_another_size_is_deleted_and_uploaded_again(stored: Stored) -> None:
    good, bad = [await stored.asset("instagram_post", str(n), f"picture {n}".encode()) for n in range(2)]
    variant = await stored.variant(good, b"smaller")
    for content in (bad, variant):
        await stored.store.delete([key_of(content)])
        await stored.store.put(key_of(content), b"cut")
    assert (await check(stored, dry_run=True).run(actor="test")).damaged == 2
    found = await check(stored).run(actor="test")
    assert (found.damaged, found.again, found.agree) == (2, 1, False)
    assert stored.one("SELECT status FROM asset_log WHERE content IS NULL") == "PENDING"
    assert stored.one("SELECT count(*) FROM asset_variant") == 0
    await Deleter(stays=0.0).run(stored.database)
    await Deleter(stays=0.0).run(stored.database)
    assert await stored.keys() == {key_of(good)}
    assert (await check(stored).run(actor="test")).agree


async def test_a_check_of_the_wrong_bucket_stops(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "FEW", 10)
    contents = await filled(stored)
    await stored.store.delete([key_of(content) for content in contents])
    with pytest.raises(Conflict, match="another bucket"):
        await check(stored).run(actor="test")
    assert stored.one("SELECT count(*) FROM asset_log WHERE status = 'COMPLETE' AND content IS NOT NULL") >= 50
    found = await check(stored, many=True).run(actor="test", anew=True)
    assert found.missing >= 50


async def test_a_check_of_a_bucket_that_others_use_too_stops(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "FEW", 10)
    theirs = [await stored.put(f"of others {n}".encode()) for n in range(40)]
    with pytest.raises(Conflict, match="another installation"):
        await check(stored).run(actor="test")
    assert stored.one("SELECT count(*) FROM asset_object") <= 10
    assert len(await stored.keys()) == len(theirs)
