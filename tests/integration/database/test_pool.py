"""The pool's connections: one that died while it lay idle is replaced before anybody relies on it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import PostgresDsn

from beat_actors.database import Database
from beat_actors.database import engine as module
from beat_actors.errors import StorageLost, StorageUnavailable
from beat_actors.settings import Settings


@pytest.fixture
async def database(settings: Settings, database_url: str) -> AsyncIterator[Database]:
    """On PostgreSQL itself: a pooler between would hide the end of a session."""
    database = Database(settings.model_copy(update={"database_url": PostgresDsn(database_url)}), name="test")
    yield database
    await database.close()


OTHERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def end_all(database_url: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as connection:
        (row,) = connection.execute(OTHERS).fetchall()
        return int(row[0])


async def use_all(database: Database, connections: int) -> list[int]:
    """So many at once; the process ids of their backends."""

    async def one() -> int:
        async with database.transaction() as transaction:
            return int(await transaction.value("SELECT pg_backend_pid() FROM pg_sleep(0.05)"))

    return await asyncio.gather(*(one() for _ in range(connections)))


async def test_connections_that_died_while_idle_are_replaced_unseen(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRUSTED_FOR", 0.0)
    before = await use_all(database, 3)
    assert await asyncio.to_thread(end_all, database_url) >= 3
    after = await use_all(database, 3)
    assert not set(before) & set(after)


async def test_one_that_was_just_used_is_relied_on_and_fails_once(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRUSTED_FOR", 60.0)
    (before,) = await use_all(database, 1)
    await asyncio.to_thread(end_all, database_url)
    with pytest.raises(StorageUnavailable):
        await use_all(database, 1)
    (after,) = await use_all(database, 1)
    assert after != before


async def test_nobody_is_asked_twice_in_a_busy_pool(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRUSTED_FOR", 60.0)
    asked = []
    dialect = database.engine.dialect
    ping = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda connection: (asked.append(1), ping(connection))[1])
    for _ in range(5):
        await use_all(database, 1)
    assert asked == []
    monkeypatch.setattr(module, "TRUSTED_FOR", 0.0)
    await use_all(database, 1)
    assert asked == [1]


async def test_s2_9_a_pool_that_is_used_up_is_said_at_once_and_never_grows(
    settings: Settings, database_url: str
) -> None:
    """Also S7.5: every connection is replaced when it is as old as it may be."""
    limits = {
        "database_pool_size": 2,
        "database_max_overflow": 1,
        "database_pool_timeout": 0.2,
        "database_pool_recycle": 1,
    }
    database = Database(settings.model_copy(update={"database_url": PostgresDsn(database_url), **limits}), name="small")
    try:
        held = asyncio.gather(*(_hold(database) for _ in range(20)), return_exceptions=True)
        with psycopg.connect(database_url, autocommit=True) as connection:
            most = 0
            while not held.done():
                (row,) = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'beat small'"
                ).fetchall()
                most = max(most, row[0])
                await asyncio.sleep(0.02)
        refused = [error for error in await held if error is not None]
        assert most == 3
        assert len(refused) == 17
        assert all(isinstance(error, StorageUnavailable) for error in refused)
        assert all("no database connection came free within 0.2 s" in str(error) for error in refused)
        before = await use_all(database, 1)
        await asyncio.sleep(1.1)
        assert await use_all(database, 1) != before
    finally:
        await database.close()


async def _hold(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.rows("SELECT pg_sleep(1)")


async def test_a_commit_whose_answer_is_lost_is_said_to_be_unknown(database: Database) -> None:
    async def lose_the_line() -> None:
        async with database.transaction() as transaction:
            await transaction.value("SELECT 1")
            with socket.socket(fileno=os.dup(transaction.connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    with pytest.raises(StorageLost):
        await lose_the_line()


async def test_what_the_server_refuses_is_known_not_to_be_done(database_url: str, database: Database) -> None:
    async def be_ended() -> None:
        async with database.transaction() as transaction:
            await transaction.value("SELECT 1")
            await asyncio.to_thread(end_all, database_url)
            await transaction.value("SELECT 2")

    with pytest.raises(StorageUnavailable) as refused:
        await be_ended()
    assert type(refused.value) is StorageUnavailable
