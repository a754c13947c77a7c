"""What is read of the things that a batch has observed: each with its own row, and no more than is needed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from beat_actors.database import Composed, Database
from beat_actors.holds import remembering
from beat_actors.holds.gates import Judge, judge_of
from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.registry import platform
from tests.observing import observe

INSTAGRAM = platform("instagram")
ACCOUNT = INSTAGRAM.entity_in("instagram_account")
THINGS = [("1", "", ""), ("2", "", ""), ("3", "", "")]


def judge() -> Judge:
    found = judge_of(INSTAGRAM, ACCOUNT)
    assert found is not None
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_each_thing_is_remembered_for_its_account_and_owner(database: Database) -> None:
    for account in ("", "acme"):
        of = "1" if not account else "2"
        await observe(
            database,
            "instagram",
            InstagramAccount(profile_id=of, handle=f"creator_{of}", followers=100),
            account_id=account or None,
        )
    things = [("1", "", ""), ("1", "acme", ""), ("2", "", ""), ("2", "acme", "")]
    values = remembering.asked("instagram", ACCOUNT, things, [None] * 4)
    alone = remembering.asked("instagram", ACCOUNT, things[::2], [None] * 2)
    async with database.transaction() as transaction:
        rows = await transaction.rows(remembering.remember(ACCOUNT, judge()), values, binary=True)
        public = await transaction.rows(remembering.remember(ACCOUNT, judge()), alone, binary=True)
    assert {row.of for row in rows if row.observed_at is not None} == {1, 4}
    assert {row.of for row in public if row.observed_at is not None} == {1}


async def test_a_handle_is_searched_only_where_the_thing_does_not_have_it(database: Database) -> None:
    for key, name in (("1", "ada"), ("2", "grace")):
        await observe(database, "instagram", InstagramAccount(profile_id=key, handle=name, followers=100))
    statement = remembering.remember(ACCOUNT, judge())
    values = remembering.asked("instagram", ACCOUNT, THINGS, ["ada", "grace", "ada"])
    explained = Composed("tests.explained", f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}", str)
    async with database.transaction() as transaction:
        rows = await transaction.rows(statement, values, binary=True)
        (document,) = await transaction.rows(explained, values)
    assert [row.known_key for row in sorted(rows)] == [None, None, "1"]
    plan = json.loads(document) if isinstance(document, str) else document
    searched = sum(
        node["Actual Loops"]
        for node in nodes(plan[0]["Plan"])
        if node.get("Alias", "").startswith("k") and "Relation Name" in node
    )
    assert searched == 1


async def test_things_of_one_account_are_looked_for_together_and_the_same_is_found(database: Database) -> None:
    """Of a handle's new owner, of one that was renamed away, of one that has it still, of one that is held, and of one that nobody knows."""
    for key, name in (("1", "ada"), ("2", "grace"), ("3", "old"), ("3", "hedy"), ("4", "hedy")):
        await observe(database, "instagram", InstagramAccount(profile_id=key, handle=name, followers=100))
    await observe(database, "instagram", InstagramAccount(profile_id="1", handle="ada", followers=5), account_id="acme")
    hold = (
        "INSERT INTO held_record (platform, kind, key, fetch_id, request_id, source, operation, rules_version, priority, observed_at, record, fields, reasons,"
        " score, said, good, state)"
        " VALUES ('instagram', 'profiles', '2', 1, 1, 'lama', 'profile_by_handle', 1, 2, now(), '{}', '{}', '[]', 0, '{}', '{}', 'waiting')"
    )
    things = [(key, "", "") for key in ("1", "2", "3", "4", "5", "6")]
    handles = ["ada", "ada", "hedy", "grace", "nobody", None]
    single = remembering.asked("instagram", ACCOUNT, things, handles)
    together = remembering.asked_alike("instagram", ACCOUNT, things, handles, datetime(2020, 1, 1, tzinfo=UTC))
    async with database.transaction() as transaction:
        await transaction.run(hold)
        one_by_one = await transaction.rows(remembering.remember(ACCOUNT, judge()), single, binary=True)
        rows = await transaction.rows(remembering.remember_alike(ACCOUNT, judge()), together, binary=True)
    found: dict[str, list[object]] = {key: [None] * 5 for key, _, _ in things}
    for row in rows:
        found[str(row.of)] = [new if old is None else old for old, new in zip(found[str(row.of)], row[1:], strict=True)]
    assert found == {things[int(row.of) - 1][0]: list(row[1:]) for row in one_by_one}
    known_keys = {key: of[-1] for key, of in found.items()}
    assert known_keys == {"1": None, "2": "1", "3": None, "4": "2", "5": None, "6": None}
    assert [key for key, of in found.items() if of[3] is not None] == ["2"]


async def test_the_time_of_a_row_is_told_where_it_is_later_than_the_first_answer(database: Database) -> None:
    await observe(database, "instagram", InstagramAccount(profile_id="1", handle="ada", followers=100))
    async with database.transaction() as transaction:
        now = datetime.fromtimestamp(await transaction.now(), UTC)
        await transaction.run("UPDATE instagram_account SET trust = '\\x90', observed_at = %s", (now,))
        found = []
        for first in (now - timedelta(seconds=1), now, now + timedelta(seconds=1)):
            values = remembering.asked_alike("instagram", ACCOUNT, THINGS, [None] * 3, first)
            (row,) = await transaction.rows(remembering.remember_alike(ACCOUNT, judge()), values, binary=True)
            found.append(row.observed_at)
    assert found == [now, None, None]


async def test_a_key_may_have_any_text(database: Database) -> None:
    keys = ['a"b', "back\\slash", "{a,b}", "NULL", "", "line\nbreak", "ünï"]
    for key in keys:
        await observe(database, "instagram", InstagramAccount(profile_id=key, handle=key, followers=100))
    things = [(key, "", "") for key in [*keys, "null"]]
    values = remembering.asked_alike("instagram", ACCOUNT, things, ["none", *keys], datetime(2020, 1, 1, tzinfo=UTC))
    async with database.transaction() as transaction:
        rows = await transaction.rows(remembering.remember_alike(ACCOUNT, judge()), values, binary=True)
    assert sorted(str(row.of) for row in rows if row.known is not None) == sorted(keys)
    assert {row.of: row.known_key for row in rows if row.known_key is not None} == {
        asked: had for (asked, _, _), had in zip(things, ["none", *keys], strict=True) if had != "none"
    }
