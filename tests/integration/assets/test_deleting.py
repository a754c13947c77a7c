"""Objects without an asset are deleted from the bucket and the CDN, and no asset keeps a picture that is deleted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from beat_actors.assets import commits
from beat_actors.assets.claims import claim
from beat_actors.assets.commits import End, How, State
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.upkeep.deleting import Deleter, condemn
from beat_actors.database import Database
from beat_actors.errors import ObjectsUnavailable
from beat_actors.transport.objects import ObjectStore
from tests.integration.assets.rows import asset, insert
from tests.integration.assets.stored import Stored

AT_ONCE = Deleter(seconds=0.0, stays=0.0)
UNUSED = "UPDATE asset_object SET unused_since = now() - interval '1 hour'"


@pytest.fixture
async def cdn() -> AsyncIterator[dict[str, Any]]:
    """A hook that notes which paths it is told, and answers `status`."""
    heard: dict[str, Any] = {"paths": [], "status": 200, "tokens": set()}

    async def purge(request: web.Request) -> web.Response:
        heard["tokens"].add(request.headers.get("Authorization"))
        if heard["status"] == 200:
            heard["paths"] += (await request.json())["paths"]
        return web.Response(status=heard["status"])

    application = web.Application()
    application.router.add_post("/purge", purge)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    heard["url"] = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/purge"  # type: ignore[attr-defined]
    yield heard
    await runner.cleanup()


async def test_what_no_asset_has_is_deleted_and_what_one_has_stays(stored: Stored) -> None:
    kept = await stored.asset("instagram_post", "a", b"kept")
    gone = await stored.asset("instagram_post", "b", b"gone")
    smaller = await stored.variant(gone, b"smaller")
    stored.rows.execute("DELETE FROM asset_log WHERE entity_key = 'b'")
    stored.rows.execute(UNUSED)
    assert (await AT_ONCE.run(stored.database)).count == 2
    assert await stored.keys() == {key_of(kept)}
    assert stored.one("SELECT unused_since IS NULL FROM asset_object WHERE content = %s", kept) is True
    await AT_ONCE.run(stored.database)
    assert stored.one("SELECT count(*) FROM asset_object") == 1
    assert stored.one("SELECT count(*) FROM asset_variant") == 0
    assert gone != smaller


async def test_an_object_is_unused_for_some_time_before_it_is_deleted(stored: Stored) -> None:
    gone = await stored.asset("instagram_post", "b", b"gone")
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute("UPDATE asset_object SET unused_since = now() - interval '9 minutes'")
    assert (await Deleter().run(stored.database)).count == 0
    assert await stored.keys() == {key_of(gone)}
    stored.rows.execute("UPDATE asset_object SET unused_since = now() - interval '11 minutes'")
    assert (await Deleter().run(stored.database)).count == 1
    assert await stored.keys() == set()
    # The row stays for a while, so that a late upload is refused.
    assert stored.one("SELECT deleted_at IS NOT NULL FROM asset_object WHERE content = %s", gone) is True


async def test_a_smaller_picture_that_another_object_has_too_stays(stored: Stored) -> None:
    first, second = [await stored.asset("instagram_post", name, name.encode()) for name in ("a", "b")]
    both = await stored.variant(first, b"the same")
    stored.rows.execute(
        "INSERT INTO asset_variant SELECT %s, width, media_type, variant, bytes, created_at FROM asset_variant",
        (second,),
    )
    stored.rows.execute("DELETE FROM asset_log WHERE entity_key = 'a'")
    stored.rows.execute(UNUSED)
    assert (await AT_ONCE.run(stored.database)).count == 1
    assert await stored.keys() == {key_of(second), key_of(both)}


async def test_an_object_that_is_used_again_under_the_lock_is_not_deleted(stored: Stored) -> None:
    content = await stored.asset("instagram_post", "a", b"picture")
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)
    async with stored.database.transaction() as commit:
        # As the commit of an upload does it.
        await commit.run(
            "SELECT FROM asset_object WHERE content = %s AND deleting_since IS NULL FOR NO KEY UPDATE", (content,)
        )
        assert (await AT_ONCE.run(stored.database)).count == 0
        await commit.run("UPDATE asset_object SET unused_since = NULL WHERE content = %s", (content,))
        await commit.run(
            "INSERT INTO asset_log (platform, entity, entity_key, field, url, status, content) VALUES ('i', 'e', 'k', 'f', 'u', 'COMPLETE', %s)",
            (content,),
        )
    assert (await AT_ONCE.run(stored.database)).count == 0
    assert await stored.keys() == {key_of(content)}


async def test_a_deletion_waits_for_a_commit_that_has_the_object_and_sees_its_asset(stored: Stored) -> None:
    content = await stored.asset("instagram_post", "a", b"picture")
    stored.rows.execute("DELETE FROM asset_log")

    async def begin() -> list[bytes]:
        async with stored.database.transaction() as transaction:
            return await condemn(transaction, [content])

    async with stored.database.transaction() as commit:
        await commit.run("SELECT FROM asset_object WHERE content = %s FOR SHARE", (content,))
        deletion = asyncio.create_task(begin())
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not stored.one(waits):  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)
        await commit.run(
            "INSERT INTO asset_log (platform, entity, entity_key, field, url, status, content) VALUES ('i', 'e', 'k', 'f', 'u', 'COMPLETE', %s)",
            (content,),
        )
    assert await deletion == []
    assert stored.one("SELECT deleting_since FROM asset_object") is None


async def test_a_cdn_is_told_until_it_has_deleted_its_copies(stored: Stored, cdn: dict[str, Any]) -> None:
    content = await stored.asset("instagram_post", "a", b"picture")
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)
    told = {"asset_purge_url": cdn["url"], "asset_purge_token": "secret"}
    told["asset_base_url"] = "https://cdn.example.com/media/"
    database = Database(
        type(stored.database.settings).model_validate(stored.database.settings.model_dump() | told), name="cdn"
    )
    cdn["status"] = 503
    with pytest.raises(ObjectsUnavailable, match="answered 503"):
        await AT_ONCE.run(database)
    assert stored.one("SELECT deleted_at FROM asset_object") is None
    assert stored.one("SELECT removed_at IS NOT NULL AND retry_at > now() FROM asset_object") is True
    cdn["status"] = 200
    assert (await AT_ONCE.run(database)).count == 0
    stored.rows.execute("UPDATE asset_object SET retry_at = now()")
    assert (await AT_ONCE.run(database)).count == 1
    assert (cdn["paths"], cdn["tokens"]) == ([f"/media/{key_of(content)}"], {"Bearer secret"})
    assert (await AT_ONCE.run(database)).count == 0
    await database.close()


async def test_a_run_that_was_killed_between_bucket_and_row_is_repeated(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(7):
        await stored.asset("instagram_post", str(n), b"%d" % n)
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    small = replace(AT_ONCE, most=3)
    with monkeypatch.context() as dying:
        dying.setattr("beat_actors.assets.upkeep.deleting.purge", killed)
        with pytest.raises(asyncio.CancelledError):
            await small.run(stored.database)
    assert len(await stored.keys()) == 4
    assert (await small.run(stored.database)).count == 7
    assert await stored.keys() == set()


async def test_a_deposed_leader_deletes_nothing(stored: Stored) -> None:
    content = await stored.asset("instagram_post", "a", b"picture")
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)
    assert (await AT_ONCE.run(stored.database, epoch=7)).count == 0
    assert await stored.keys() == {key_of(content)}


@pytest.mark.parametrize("how", list(How))
async def test_no_upload_ends_with_an_object_that_is_being_deleted(stored: Stored, database_url: str, how: How) -> None:
    """Whatever it found in the bucket or put there before: it waits until the row of the deletion is gone, and is uploaded anew."""
    content = await stored.asset("instagram_post", "a", b"picture")
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)
    insert(database_url, [asset("late")])
    (late,) = await claim(stored.database, 1, urgent=60)
    await Deleter(seconds=0.0).run(stored.database)
    assert await commits.known(stored.database, [content]) == set()
    await stored.put(b"picture")
    end = End(late, State.COMPLETE, commits.Stored(content, how, 7, "image/png", 1, 1))
    (ended,) = await commits.commit(stored.database, [end])
    assert (ended.status, ended.stored) == ("WAITING", False)
    assert stored.one("SELECT content IS NULL AND not_before > now() FROM asset_log") is True
    # A run that had been interrupted before it noted the deletion deletes the object once more, and nobody has it.
    stored.rows.execute("UPDATE asset_object SET deleted_at = NULL, removed_at = NULL")
    await AT_ONCE.run(stored.database)
    await AT_ONCE.run(stored.database)
    assert (await stored.keys(), stored.one("SELECT count(*) FROM asset_object")) == (set(), 0)
    stored.rows.execute("UPDATE asset_log SET not_before = now()")
    (late,) = await claim(stored.database, 1, urgent=60, tidies=True)
    await stored.put(b"picture")
    end = End(late, State.COMPLETE, commits.Stored(content, How.MADE, 7, "image/png", 1, 1))
    assert [one.status for one in await commits.commit(stored.database, [end])] == ["COMPLETE"]
    assert await commits.known(stored.database, [content]) == {content}


async def test_what_a_late_process_stored_is_not_taken_for_known(stored: Stored, database_url: str) -> None:
    """Its object may have been deleted since: only a PUT of the next upload says that it is there."""
    insert(database_url, [asset("a")])
    (late,) = await claim(stored.database, 1, urgent=60)
    stored.rows.execute("UPDATE asset_log SET fence = fence + 1")
    end = End(late, State.COMPLETE, commits.Stored(b"x" * 32, How.MADE, 7, "image/png", 1, 1))
    assert await commits.commit(stored.database, [end]) == []
    assert await commits.known(stored.database, [b"x" * 32]) == set()


async def test_a_key_that_the_bucket_does_not_delete_holds_up_no_other(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [await stored.asset("instagram_post", str(n), b"%d" % n) for n in range(6)]
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)
    locked = {key_of(content) for content in contents[:3]}
    really = ObjectStore.delete_each

    async def refusing(store: ObjectStore, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """As a bucket whose objects are under a legal hold."""
        refused = {key: ("AccessDenied", "it is held") for key in keys if key in locked}
        return refused | await really(store, [key for key in keys if key not in refused])

    one = replace(AT_ONCE, most=3)
    with monkeypatch.context() as held:
        held.setattr(ObjectStore, "delete_each", refusing)
        for _ in range(3):
            await one.run(stored.database)
        assert await stored.keys() == locked
        assert stored.one("SELECT count(*) FROM asset_object WHERE retry_at > now() AND removed_at IS NULL") == 3
    stored.rows.execute("UPDATE asset_object SET retry_at = now()")
    await one.run(stored.database)
    assert await stored.keys() == set()


async def test_what_a_frozen_leader_deletes_late_is_stored_again(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = await stored.asset("instagram_post", "a", b"picture")
    stored.rows.execute("DELETE FROM asset_log")
    stored.rows.execute(UNUSED)
    really = ObjectStore.delete_each

    async def thawed(store: ObjectStore, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Meanwhile another leader has deleted it and forgotten its row, and an upload has made it anew."""
        if stored.one("SELECT count(*) FROM asset_log") == 0:
            stored.rows.execute("DELETE FROM asset_object")
            await stored.asset("instagram_post", "b", b"picture")
        return await really(store, keys)

    monkeypatch.setattr(ObjectStore, "delete_each", thawed)
    await AT_ONCE.run(stored.database)
    assert stored.one("SELECT status FROM asset_log WHERE content IS NULL") == "PENDING"
    assert await commits.known(stored.database, [content]) == set()
