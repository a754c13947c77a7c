"""What is read of the things that a batch has observed: each with its own row, and no more than is needed."""

import json
from collections.abc import Iterator
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
    assert {row.i for row in rows if row.observed_at is not None} == {1, 4}
    assert {row.i for row in public if row.observed_at is not None} == {1}


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
