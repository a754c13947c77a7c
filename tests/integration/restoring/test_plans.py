"""What a restore costs for an entity does not depend on how many entities it has, and the cost of a blast grows with the rows alone.

PostgreSQL has no statistics here, as on a new day or after a migration.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from beat_actors.database import Composed, Database, Statement, Transaction
from beat_actors.restoring import blast, statements
from beat_actors.restoring.selection import Selection, conditions, target_of

TARGET = target_of("instagram_account")
COLUMNS = ("followers", "biography", "source")
KEYS: dict[str, Any] = {"keys": ["1", "2"], "accounts": ["", ""], "owners": ["", ""]}
CHANGES: dict[str, Any] = {
    "values": ["{}", "{}"],
    "removed": ["false", "false"],
    "before": ["{}", "{}"],
    "kept": ["[]", "[]"],
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def plan_of(transaction: Transaction, statement: Statement[Any], values: dict[str, Any]) -> list[dict[str, Any]]:
    explained = Composed("tests.explained", f"EXPLAIN (FORMAT JSON) {statement.text}", str)
    (found,) = await transaction.rows(explained, values)
    document: Sequence[Any] = json.loads(found) if isinstance(found, str) else found
    return list(nodes(document[0]["Plan"]))


@pytest.mark.parametrize(
    "statement",
    [
        statements.hold(TARGET),
        statements.held_items(TARGET),
        statements.plan(TARGET),
        statements.apply(TARGET, COLUMNS),
        statements.put_back(TARGET, (TARGET.entity.key, "account_id", "owner", *COLUMNS)),
    ],
    ids=lambda one: one.name,
)
async def test_s8_6_a_chunk_compares_no_entity_with_all_others(database: Database, statement: Statement[Any]) -> None:
    async with database.transaction() as transaction:
        await transaction.rows(statements.HASHED)
        plan = await plan_of(transaction, statement, {**KEYS, **CHANGES, "job": 1})
    compared = [node for node in plan if node["Node Type"] == "Nested Loop" and "Join Filter" in node]
    assert compared == []
    read = {
        node["Relation Name"]: node for node in plan if node["Node Type"].endswith("Scan") and "Relation Name" in node
    }
    for table in read.keys() & {"restore_item", "instagram_account"}:
        key = "key" if table == "restore_item" else TARGET.entity.key
        found = json.dumps([node.get("Index Cond") for node in plan if node.get("Relation Name", table) == table])
        assert f"{key} = ANY" in found, read[table]


async def test_s8_5_a_blast_reads_events_once_and_compares_each_with_no_request(database: Database) -> None:
    condition, values = conditions(
        Selection(since=datetime(2030, 1, 1, tzinfo=UTC), until=datetime(2030, 1, 2, tzinfo=UTC)), TARGET, None
    )
    async with database.transaction() as transaction:
        await transaction.run(blast.HASHED)
        plan = await plan_of(transaction, blast._sent(TARGET, condition), values)
    assert [node for node in plan if node["Node Type"] == "Nested Loop" and "Join Filter" in node] == []
