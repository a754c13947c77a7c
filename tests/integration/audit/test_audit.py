"""What operators change is on record, and only if it was done."""

import pytest

from beat_actors import audit
from beat_actors.database import Database

ROWS = "SELECT actor, action, target, detail, at <= clock_timestamp() AS past FROM audit_log ORDER BY id"


async def test_a_record_says_who_did_what_to_what_and_when(database: Database) -> None:
    async with database.transaction() as transaction:
        await audit.record(
            transaction, actor="ana", action="queue.purge", target="queue/ingest", detail={"messages": 3}
        )
        await audit.record(transaction, actor="ben", action="key.revoke", target="key/7")
    async with database.statements() as alone:
        rows = await alone.rows(ROWS)
    assert [tuple(row) for row in rows] == [
        ("ana", "queue.purge", "queue/ingest", {"messages": 3}, True),
        ("ben", "key.revoke", "key/7", {}, True),
    ]


async def test_what_was_not_done_is_not_on_record(database: Database) -> None:
    async def undone() -> None:
        async with database.transaction() as transaction:
            await audit.record(transaction, actor="ana", action="queue.purge", target="queue/ingest")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    async with database.statements() as alone:
        assert await alone.rows(ROWS) == []


async def test_entries_are_found_by_target_and_by_actor(database: Database) -> None:
    async with database.transaction() as transaction:
        for actor, target in (("ana", "key/1"), ("ben", "key/1"), ("ana", "key/11")):
            await audit.record(transaction, actor=actor, action="key.revoke", target=target)
        assert [(one.actor, one.target) for one in await audit.entries(transaction)] == [
            ("ana", "key/11"),
            ("ben", "key/1"),
            ("ana", "key/1"),
        ]
        assert [one.actor for one in await audit.entries(transaction, target="key/1")] == ["ben", "ana"]
        assert [one.target for one in await audit.entries(transaction, actor="ana", limit=1)] == ["key/11"]
