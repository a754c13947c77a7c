"""The rows of API keys: made, listed, revoked and followed, and on record; no secret is stored anywhere."""

from datetime import timedelta

import psycopg
import pytest

from beat_actors.access import keys
from beat_actors.access.keys import NewKey, Revoked
from beat_actors.access.scopes import Scope
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import BadInput, NotFound

FEEDER = NewKey("feeder", (Scope.SUBMIT,))
RECORDED = "SELECT actor, action, target, detail FROM audit_log ORDER BY id"


async def made(database: Database, new: NewKey = FEEDER) -> keys.Created:
    async with database.transaction() as transaction:
        return await keys.create(transaction, new, actor="ana")


async def listed(database: Database) -> list[keys.KeyView]:
    async with database.transaction() as transaction:
        return await keys.overview(transaction)


async def test_a_key_is_listed_and_its_secret_is_in_no_row(database: Database) -> None:
    created = await made(database, NewKey("shop", (Scope.SUBMIT, Scope.READ), "acme", 30, timedelta(days=1)))
    (found,) = await listed(database)
    assert (found.name, found.account_id, found.scopes, found.rate_limit) == ("shop", "acme", ["submit", "read"], 30)
    assert (found.state, found.last_used, found.prefix) == ("active", None, created.minted.token.prefix)
    assert found.expires_at == created.expires_at
    async with database.transaction() as transaction:
        stored = await transaction.rows("SELECT k::text || encode(hash, 'escape') FROM api_key k")
        (record,) = await transaction.rows(RECORDED)
    secret = created.minted.text.rpartition("_")[2]
    assert secret not in str(stored) + str(record)
    assert (record.actor, record.action, record.target) == ("ana", "key.create", f"key/{created.id}")
    assert record.detail["account_id"] == "acme"


@pytest.mark.parametrize("by", ["id", "prefix", "the whole key"])
async def test_a_key_is_revoked_once(database: Database, by: str) -> None:
    created = await made(database)
    which = {"id": str(created.id), "prefix": created.minted.token.prefix, "the whole key": created.minted.text}[by]
    async with database.transaction() as transaction:
        assert await keys.revoke(transaction, which, reason="leaked", actor="ben") == Revoked(created.id, True, [])
    async with database.transaction() as transaction:
        assert await keys.revoke(transaction, which, reason="again", actor="ben") == Revoked(created.id, False, [])
        records = await transaction.rows(RECORDED)
    assert [record.action for record in records] == ["key.create", "key.revoke"]
    assert records[1].detail["reason"] == "leaked"
    assert (await listed(database))[0].state == "revoked"


async def test_what_is_no_key_cannot_be_revoked(database: Database) -> None:
    await made(database)
    for which in ("4711", "Abcdefgh", "", "9" * 30, "beat_", "x'; DROP TABLE api_key; --"):
        with pytest.raises(NotFound):
            async with database.transaction() as transaction:
                await keys.revoke(transaction, which, reason="x", actor="ben")
    assert [key.state for key in await listed(database)] == ["active"]


async def test_a_successor_may_do_the_same_and_the_old_key_ends_after_its_grace(database: Database) -> None:
    first = await made(database, NewKey("shop", (Scope.READ,), "acme", 30, timedelta(days=30)))
    async with database.transaction() as transaction:
        rotated = await keys.rotate(
            transaction, Vault(database.settings), str(first.id), grace=timedelta(hours=1), actor="ana"
        )
    old, new = await listed(database)
    assert rotated.created.minted.text != first.minted.text
    assert (new.name, new.account_id, new.scopes, new.rate_limit) == ("shop", "acme", ["read"], 30)
    assert new.expires_at is not None
    assert old.expires_at == rotated.works_until < new.expires_at
    async with database.transaction() as transaction:
        again = await keys.rotate(transaction, Vault(database.settings), str(new.id), grace=timedelta(0), actor="ana")
    assert [key.state for key in await listed(database)] == ["active", "expired", "active"]
    with pytest.raises(BadInput, match="is revoked or expired"):
        async with database.transaction() as transaction:
            await keys.rotate(transaction, Vault(database.settings), str(again.before), actor="ana")


async def test_a_rotation_never_lengthens_a_life(database: Database) -> None:
    first = await made(database, NewKey("shop", (Scope.READ,), life=timedelta(minutes=5)))
    async with database.transaction() as transaction:
        await keys.rotate(transaction, Vault(database.settings), str(first.id), grace=timedelta(days=1), actor="ana")
    assert (await listed(database))[0].expires_at == first.expires_at


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "name cannot be empty"),
        ({"name": "a\nb"}, "U\\+000A"),
        ({"account_id": " "}, "account cannot be empty"),
        ({"account_id": "x" * 256}, "256 characters"),
        ({"scopes": ()}, "one scope at least"),
        ({"scopes": (Scope.OPERATE,), "account_id": "acme"}, "operate affects all accounts"),
        ({"scopes": (Scope.READ, Scope.ADMIN), "account_id": "acme"}, "admin affects all accounts"),
        ({"rate_limit": 0}, "calls a minute"),
        ({"rate_limit": 1_000_001}, "calls a minute"),
        ({"life": timedelta(0)}, "expires after 3650 days at most"),
        ({"life": timedelta(days=4000)}, "expires after 3650 days at most"),
    ],
)
def test_what_cannot_be_a_key_is_refused_with_a_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        NewKey(**{"name": "feeder", "scopes": (Scope.SUBMIT,), **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        "account_id = 'acme'",
        "scopes = '{root}'",
        "scopes = '{}'",
        "rate_limit = 0",
        "hash = 'short'",
    ],
)
async def test_the_table_itself_refuses_what_would_reach_too_far(
    database: Database, database_url: str, wrong: str
) -> None:
    await made(database, NewKey("operator", (Scope.OPERATE,)))
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"UPDATE api_key SET {wrong}")
