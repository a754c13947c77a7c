"""The keyring: a call costs no statement, a revoked key ends within seconds, and a flood costs the database nothing."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from beat_actors.access import keyring as module
from beat_actors.access import keys
from beat_actors.access.keyring import FRESH, RENEWED, SEEN, Keyring
from beat_actors.access.keys import Created, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.access.tokens import mint
from beat_actors.database import Database, Transaction
from beat_actors.errors import StorageUnavailable, Unauthenticated
from beat_actors.settings import Settings


class Clock:
    """Stands where the module `time` stands."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Slow:
    """A database that answers when it is told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.metrics = database.metrics
        self.answers = asyncio.Event()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Transaction]:
        await self.answers.wait()
        async with self._database.statements() as alone:
            yield alone


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
async def ring(settings: Settings) -> AsyncIterator[Keyring]:
    """Over a pool of its own, whose statements can be counted."""
    database = Database(settings, name="api")
    ring = Keyring(database)
    yield ring
    await ring.close()
    await database.close()


async def statements(ring: Keyring) -> int:
    """How many it has run, all that were begun included."""
    await ring.close()
    return len(ring._database.metrics.statements)


async def made(database: Database, *scopes: Scope) -> Created:
    async with database.transaction() as transaction:
        return await keys.create(transaction, NewKey("test", scopes or (Scope.READ,)), actor="test")


async def revoke(database: Database, created: Created) -> None:
    async with database.transaction() as transaction:
        await keys.revoke(transaction, str(created.id), reason="test", actor="test")


async def test_a_key_says_who_calls_and_what_they_may(database, ring) -> None:
    created = await made(database, Scope.OPERATE)
    caller = await ring.caller(created.minted.text)
    assert (caller.key_id, caller.account_id, caller.actor) == (created.id, None, f"key:{created.id}")
    assert caller.scopes == {Scope.OPERATE, Scope.READ, Scope.SUBMIT, Scope.URGENT, Scope.METRICS}


async def test_a_thousand_calls_cost_two_statements(database, ring, clock) -> None:
    text = (await made(database)).minted.text
    await asyncio.gather(*(ring.caller(text) for _ in range(500)))
    for _ in range(500):
        await ring.caller(text)
    assert await statements(ring) == 2  # one looks it up, one notes its use


async def test_a_key_in_use_is_looked_up_again_before_anybody_has_to_wait_for_it(database, ring, clock) -> None:
    text = (await made(database)).minted.text
    await ring.caller(text)
    before = await statements(ring)
    clock.now += RENEWED
    slow = Slow(ring._database)
    ring._database = slow  # type: ignore[assignment]
    for _ in range(3):
        await ring.caller(text)  # while the database has not answered
    slow.answers.set()
    assert await statements(ring) == before + 1
    clock.now += RENEWED  # what came back is fresh again
    slow.answers.clear()
    await ring.caller(text)
    slow.answers.set()


async def test_a_revoked_key_opens_nothing_after_seconds(database, ring, clock) -> None:
    created = await made(database)
    await ring.caller(created.minted.text)
    await revoke(database, created)
    clock.now += FRESH
    with pytest.raises(Unauthenticated, match="revoked"):
        await ring.caller(created.minted.text)


async def test_a_key_that_expires_while_it_is_remembered_opens_nothing(database, ring, clock) -> None:
    created = await made(database)
    async with database.transaction() as transaction:
        await transaction.run("UPDATE api_key SET expires_at = clock_timestamp() + interval '1.5 seconds'")
    await ring.caller(created.minted.text)
    clock.now += 1.6
    with pytest.raises(Unauthenticated, match="expired"):
        await ring.caller(created.minted.text)


async def test_a_new_key_works_at_once_though_its_prefix_was_tried_before(database, ring) -> None:
    minted = mint()
    with pytest.raises(Unauthenticated):
        await ring.caller(minted.text)
    async with database.transaction() as transaction:
        values = {"prefix": minted.token.prefix, "hash": minted.token.digest, "name": "late", "account": None}
        await transaction.run(keys.CREATE, values | {"scopes": ["read"], "rate_limit": 10, "life": None})
    assert (await ring.caller(minted.text)).name == "late"


async def test_a_flood_of_invented_tokens_is_a_few_statements_and_is_forgotten(database, ring) -> None:
    good = (await made(database)).minted.text
    tried = [mint().text for _ in range(2000)]
    tried.insert(1000, good)
    answers = await asyncio.gather(*(ring.caller(text) for text in tried), return_exceptions=True)
    assert [type(answer) for answer in answers].count(Unauthenticated) == 2000
    assert answers[1000].name == "test"
    assert await statements(ring) <= 4
    assert len(ring._known) == 1
    assert ring._asked == {}


async def test_what_is_not_well_formed_costs_no_statement(ring) -> None:
    for text in (None, "", "letmein", mint().text[:-1], "beat_" + "x" * 10_000):
        with pytest.raises(Unauthenticated):
            await ring.caller(text)
    assert await statements(ring) == 0


async def test_the_last_use_is_noted_at_most_once_a_minute(database, ring, clock) -> None:
    created, other = await made(database), await made(database)

    async def last_use() -> object:
        await ring.close()
        async with database.transaction() as transaction:
            rows = {row.id: row.last_used for row in await transaction.rows("SELECT id, last_used FROM api_key")}
        assert rows[other.id] is None
        return rows[created.id]

    await ring.caller(created.minted.text)
    first = await last_use()
    assert first is not None
    clock.now += 1
    await ring.caller(created.minted.text)
    assert await last_use() == first
    clock.now += SEEN
    await ring.caller(created.minted.text)
    assert await last_use() == first  # another process may have noted it: twice within half a minute is once
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE api_key SET last_used = last_used - interval '1 minute' WHERE id = %s", (created.id,)
        )
    clock.now += SEEN
    await ring.caller(created.minted.text)
    assert await last_use() > first  # type: ignore[operator]


async def test_a_bad_secret_is_no_use(database, ring) -> None:
    created = await made(database)
    await revoke(database, created)
    with pytest.raises(Unauthenticated):
        await ring.caller(created.minted.text)
    assert await statements(ring) == 1


async def test_every_well_formed_key_is_compared_whole_in_constant_time(database, ring, monkeypatch) -> None:
    """Also one whose prefix is unknown, whose comparison fails."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    created = await made(database)
    await ring.caller(created.minted.text)
    with pytest.raises(Unauthenticated):
        await ring.caller(mint().text)
    assert compared == [(32, 32)] * 2


async def test_without_a_database_the_answer_is_not_that_the_key_is_bad(settings, database, ring, servers) -> None:
    created = await made(database)
    lost = Database(settings.model_copy(update={"database_url": "postgresql://beat@127.0.0.1:9/none"}), name="api")
    held, ring._database = ring._database, lost
    answers = await asyncio.gather(*(ring.caller(created.minted.text) for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageUnavailable}
    ring._database = held
    assert (await ring.caller(created.minted.text)).key_id == created.id
    await lost.close()


async def test_an_error_that_nobody_foresaw_hangs_nobody(database, database_url, ring) -> None:
    created = await made(database)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE api_key RENAME TO elsewhere")
    async with asyncio.timeout(10):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await ring.caller(created.minted.text)
