"""Statements that meet at the same rows: they wait for one another in one order, and none is lost between two of them.

A connection beside them holds rows until both wait. So each meeting is the same in every run.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import psycopg

from beat_actors.assets import claims
from beat_actors.assets.claims import Claimed, claim
from beat_actors.assets.commits import End, How, State, Stored, commit
from beat_actors.assets.upkeep import listing
from beat_actors.database import Database
from tests.integration.assets.rows import all_of, asset, eventually, insert, run

WAITING = "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OBJECTS = "SELECT content, unused_since IS NULL FROM asset_object ORDER BY content"
X, Y = b"x" * 32, b"y" * 32


def end(one: Claimed, content: bytes, how: How = How.MADE) -> End:
    return End(one, State.COMPLETE, Stored(content, how, 5, "image/jpeg", 1, 1))


async def stored(database: Database, database_url: str, contents: dict[str, bytes]) -> dict[str, Claimed]:
    """Assets with these contents, claimed once more."""
    insert(database_url, [asset(key) for key in contents])
    for again in (True, False):
        found = {one.entity_key: one for one in await claim(database, 99, urgent=60)}
        if again:
            await commit(database, [end(one, contents[key]) for key, one in found.items()])
            run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    return found


async def meet(database_url: str, held: str, params: Any, *works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run these while a connection holds rows, and let go of the rows once all of them wait."""
    with psycopg.connect(database_url) as other:
        other.execute(held, params)
        tasks = [asyncio.create_task(work) for work in works]
        await eventually(lambda: run(database_url, WAITING) == [(len(tasks),)])
        other.commit()
        return await asyncio.gather(*tasks)


async def test_two_commits_take_an_object_that_nobody_uses(database: Database, database_url: str) -> None:
    insert(database_url, [asset("a"), asset("b")])
    first, second = await claim(database, 2, urgent=60)
    run(
        database_url,
        "INSERT INTO asset_object (content, bytes, media_type, unused_since) VALUES (%s, 5, 'i', now())",
        [X],
    )
    held = "SELECT FROM asset_object FOR SHARE"
    ended = await meet(
        database_url, held, None, *(commit(database, [end(one, X, How.THERE)]) for one in (first, second))
    )
    assert [one.status for both in ended for one in both] == ["COMPLETE", "COMPLETE"]
    assert run(database_url, OBJECTS) == [(X, True)]


async def test_two_commits_exchange_their_objects(database: Database, database_url: str) -> None:
    found = await stored(database, database_url, {"a": X, "b": Y})
    held = "SELECT FROM asset_object FOR SHARE"
    ends = ([end(found["a"], Y, How.KNOWN)], [end(found["b"], X, How.KNOWN)])
    await meet(database_url, held, None, *(commit(database, one) for one in ends))
    assert all_of(database_url, "content") == [(Y,), (X,)]
    assert run(database_url, OBJECTS) == [(X, True), (Y, True)]


async def test_two_commits_leave_the_last_uses_of_an_object(database: Database, database_url: str) -> None:
    found = await stored(database, database_url, {"a": X, "b": X})
    held = "INSERT INTO asset_usage (day, account_id, class) VALUES ((now() AT TIME ZONE 'UTC')::date, '', 0) ON CONFLICT (day, account_id, class) DO UPDATE SET puts = 0"
    ends = ([end(found["a"], b"a" * 32)], [end(found["b"], b"b" * 32)])
    await meet(database_url, held, None, *(commit(database, one) for one in ends))
    assert run(database_url, OBJECTS) == [(b"a" * 32, True), (b"b" * 32, True), (X, False)]


async def test_two_processes_enter_the_same_new_pictures(database: Database, database_url: str) -> None:
    insert(database_url, [asset(key) for key in "abcd"])
    found = await claim(database, 4, urgent=60)
    held = "INSERT INTO asset_object (content, bytes, media_type) VALUES (%s, 5, 'i')"
    ends = ([end(found[0], Y), end(found[1], X)], [end(found[2], X), end(found[3], Y)])
    await meet(database_url, held, [X], *(commit(database, one) for one in ends))
    assert {status for _, status in all_of(database_url)} == {"COMPLETE"}
    assert run(database_url, OBJECTS) == [(X, True), (Y, True)]


async def test_a_renewal_waits_for_nobody_and_gives_no_frozen_process_its_leases_back(
    database: Database, database_url: str
) -> None:
    insert(database_url, [asset(key) for key in "abc"])
    found = {one.entity_key: one for one in await claim(database, 3, urgent=60, lease=1000)}
    run(database_url, "UPDATE asset_log SET lease_until = now() WHERE entity_key = 'c'")
    before = run(database_url, "SELECT entity_key, lease_until FROM asset_log ORDER BY id")
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM asset_log WHERE entity_key = 'b' FOR NO KEY UPDATE")
        async with asyncio.timeout(60):
            await claims.renew(database, [(one.public_id, one.fence) for one in found.values()], 5000)
    after = run(database_url, "SELECT entity_key, lease_until FROM asset_log ORDER BY id")
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]
    # What the frozen process stored may have been deleted.
    assert await commit(database, [end(found["c"], X)]) == []
    assert run(database_url, OBJECTS) == [(X, False)]


async def test_retries_lock_in_the_order_of_commits(database: Database, database_url: str) -> None:
    insert(database_url, [asset("a"), asset("b")])
    # The order of ids is not the one of public ids.
    low, high = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    run(
        database_url,
        "UPDATE asset_log SET status = 'FAILED', public_id = CASE entity_key WHEN 'a' THEN %s ELSE %s END::uuid",
        [high, low],
    )

    async def again() -> int:
        async with database.transaction() as transaction:
            return await listing.again(transaction, [high, low], actor="ops", reason="test")

    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM asset_log WHERE public_id = %s FOR NO KEY UPDATE", [low])
        task = asyncio.create_task(again())
        await eventually(lambda: run(database_url, WAITING) == [(1,)])
        # As a commit of both would go on.
        other.execute("SELECT FROM asset_log WHERE public_id = %s FOR NO KEY UPDATE NOWAIT", [high])
        other.commit()
    assert await task == 2
