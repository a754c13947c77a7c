"""The pool's connections: one that died while it lay idle is replaced before anybody relies on it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from pydantic import PostgresDsn

from beat_actors.database import Database, migrate
from beat_actors.database import pool as module
from beat_actors.errors import StorageContended, StorageForbidden, StorageLost, StorageReadOnly, StorageUnavailable
from beat_actors.leadership import Leadership
from beat_actors.settings import Settings
from tests.conftest import Servers


@pytest.fixture
async def database(settings: Settings, process_url: str) -> AsyncIterator[Database]:
    """On PostgreSQL itself: a pooler between would hide the end of a session."""
    database = Database(settings.model_copy(update={"database_url": PostgresDsn(process_url)}), name="test")
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


async def test_the_error_of_a_connection_that_does_not_come_about_is_not_its_own_cause(settings: Settings) -> None:
    """A worker that followed its causes stood still until its watchdog ended it."""
    gone = Database(
        settings.model_copy(update={"database_url": PostgresDsn("postgresql://beat@127.0.0.1:9/beat")}), name="test"
    )
    with pytest.raises(StorageUnavailable) as caught:
        await use_all(gone, 1)
    error, seen = caught.value.__cause__, list[BaseException]()
    while error is not None:
        assert error not in seen
        seen.append(error)
        error = error.__cause__
    assert any(isinstance(one, psycopg.OperationalError) for one in seen)
    await gone.close()


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
    dialect = database.connections.engine.dialect
    ping = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda connection: (asked.append(1), ping(connection))[1])
    for _ in range(5):
        await use_all(database, 1)
    assert asked == []
    monkeypatch.setattr(module, "TRUSTED_FOR", 0.0)
    await use_all(database, 1)
    assert asked == [1]


async def test_a_connection_with_something_left_on_it_is_replaced_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was broken off leaves its query running, or a cancellation that arrives when the next call is made."""
    monkeypatch.setattr(module, "TRUSTED_FOR", 0.0)
    before = set(await use_all(database, 2))
    dialect = database.connections.engine.dialect
    ping = dialect.do_ping

    def cancelled(connection: Any) -> bool:
        monkeypatch.setattr(dialect, "do_ping", ping)
        connection.cursor().execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)")
        return True

    monkeypatch.setattr(dialect, "do_ping", cancelled)
    (one,) = await use_all(database, 1)
    assert one not in before
    assert len(before & set(await use_all(database, 2))) == 1


async def test_a_query_that_was_left_running_is_no_error_of_its_own(database: Database) -> None:
    async def broken_off() -> None:
        async with database.statements() as alone:
            alone.connection.pgconn.send_query(b"SELECT pg_sleep(5)")
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await broken_off()
    assert await use_all(database, 1)


async def test_who_is_cancelled_while_a_connection_is_asked_is_cancelled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clean-up of the driver may fail then, and its error stands where the cancellation was."""
    monkeypatch.setattr(module, "TRUSTED_FOR", 0.0)
    await use_all(database, 1)

    def broken_off(_connection: Any) -> bool:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise psycopg.ProgrammingError("can't change 'autocommit' now: connection in transaction status ACTIVE")

    monkeypatch.setattr(database.connections.engine.dialect, "do_ping", broken_off)
    task = asyncio.create_task(use_all(database, 1))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_transaction_is_one_wherever_a_statement_before_it_was_cancelled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection commits each statement by itself for as long as it runs them alone, and never after."""
    # The driver lets others run between any two of its steps, as it does in a busy loop.
    monkeypatch.setattr(psycopg.waiting, "MAX_BUSY_TIME", -1.0)

    async def alone() -> None:
        async with database.statements() as statements:
            await statements.value("SELECT 1 FROM pg_sleep(0.002)")

    await use_all(database, 1)
    for steps in range(60):
        task = asyncio.create_task(alone())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.transaction() as transaction:
            first = await transaction.value("SELECT pg_current_xact_id()::text")
            assert await transaction.value("SELECT pg_current_xact_id()::text") == first, (
                f"cancelled after {steps} steps"
            )


async def test_s2_9_and_s7_5_a_pool_that_is_used_up_is_said_at_once_and_never_grows(
    settings: Settings, database_url: str, process_url: str
) -> None:
    """Every connection is replaced when it is as old as it may be."""
    limits = {
        "database_pool_size": 2,
        "database_max_overflow": 1,
        "database_pool_timeout": 0.2,
        "database_pool_recycle": 1,
    }
    database = Database(settings.model_copy(update={"database_url": PostgresDsn(process_url), **limits}), name="small")
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


async def write(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO sweep (name, every, deadline, ended_at, ms) VALUES ('x', 1, 1, now(), 1) ON CONFLICT DO NOTHING"
        )


async def test_a_server_that_takes_no_writes_any_more_keeps_none_of_the_connections(database: Database) -> None:
    """As after a fail-over: the sessions that stand lead to the demoted server, new ones to its successor."""

    async def demoted() -> int:
        async with database.transaction() as transaction:
            await transaction.run("SET default_transaction_read_only = on")
            return int(await transaction.value("SELECT pg_backend_pid() FROM pg_sleep(0.05)"))

    before = await asyncio.gather(*(demoted() for _ in range(3)))
    with pytest.raises(StorageReadOnly, match="takes no writes"):
        await write(database)
    await asyncio.gather(*(write(database) for _ in range(3)))
    assert not set(before) & set(await use_all(database, 3))


async def test_a_privilege_that_lacks_is_said_to_lack(database_url: str, database: Database) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("REVOKE INSERT ON sweep FROM beat_process")
    with pytest.raises(StorageForbidden, match="permission denied for table sweep"):
        await write(database)


async def test_a_login_that_is_refused_is_said_to_be(settings: Settings, process_url: str) -> None:
    wrong = process_url.replace("beat_process", "nobody_at_all")
    database = Database(settings.model_copy(update={"database_url": PostgresDsn(wrong)}), name="test")
    with pytest.raises(StorageForbidden, match="refuses the login"):
        await write(database)
    await database.close()


async def test_what_values_are_read_by_is_not_left_to_the_database(database_url: str, settings: Settings) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        for name, value in (
            ("datestyle", "German, DMY"),
            ("timezone", "Asia/Kathmandu"),
            ("client_encoding", "latin1"),
            ("default_transaction_isolation", "serializable"),
        ):
            admin.execute(f"ALTER DATABASE {admin.info.dbname} SET {name} = '{value}'")
    database = Database(settings, name="test")
    async with database.transaction() as transaction:
        row = await transaction.row(
            "SELECT make_timestamptz(2026, 2, 3, 4, 5, 6, 'UTC') AS at, current_setting('transaction_isolation') AS isolation, chr(8364) AS euro"
        )
    assert (row.at.isoformat(), row.isolation, row.euro) == ("2026-02-03T04:05:06+00:00", "read committed", "€")
    async with database.statements() as alone:
        assert await alone.value("SHOW timezone") == "UTC"
    await database.close()


@pytest.mark.parametrize(("default", "used"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
async def test_a_commit_waits_for_the_disk_whatever_the_database_says(
    database_url: str, settings: Settings, default: str, used: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET synchronous_commit = '{default}'")
    database = Database(settings, name="test")
    async with database.transaction() as transaction:
        assert await transaction.value("SHOW synchronous_commit") == used
    async with database.statements() as alone:
        assert await alone.value("SHOW synchronous_commit") == used
    await database.close()


async def test_of_several_hosts_the_one_that_answers_is_used(
    settings: Settings, servers: Servers, database_url: str
) -> None:
    def both(url: str) -> str:
        at = url.index("@") + 1
        return f"{url[:at]}127.0.0.1:1,{url[at:]}?target_session_attrs=read-write"

    update = {
        "database_url": PostgresDsn(both(servers.process_url(database_url))),
        "database_owner_url": PostgresDsn(both(servers.owner_url(database_url))),
    }
    settings = settings.model_copy(update=update)
    database = Database(settings, name="test")
    await write(database)
    await database.close()
    assert await asyncio.to_thread(migrate.upgrade, settings.owner_url, str(settings.database_url)) == migrate.head()
    elected = asyncio.Event()
    async with Leadership(settings, holder="test", on_elected=elected.set):
        await asyncio.wait_for(elected.wait(), 20)


PAIR = "INSERT INTO served_tenant (platform, priority, tenant) VALUES ('toy', 1, ''), ('toy', 2, '')"
ADD = "UPDATE served_tenant SET tenant = tenant || 'x' WHERE platform = 'toy' AND priority = %s"


async def test_a_deadlock_is_tried_again_and_harms_neither(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(PAIR)
    both, tries = asyncio.Barrier(2), []

    async def add(first: int, second: int) -> None:
        async with database.transaction() as transaction:
            await transaction.run(ADD, (first,))
            tries.append(first)
            if len(tries) <= 2:
                await both.wait()
            await transaction.run(ADD, (second,))

    await asyncio.gather(database.again(lambda: add(1, 2)), database.again(lambda: add(2, 1)))
    assert len(tries) == 3
    async with database.transaction() as transaction:
        assert [row.tenant for row in await transaction.rows("SELECT tenant FROM served_tenant")] == ["xx", "xx"]


async def test_a_lock_that_is_never_free_is_given_up_as_contended(database: Database) -> None:
    async def wait_for_it() -> None:
        async with database.transaction() as transaction:
            await transaction.run("SET LOCAL lock_timeout = '20ms'")
            await transaction.run(ADD, (1,))

    async with database.transaction() as holder:
        await holder.run(PAIR)
    async with database.transaction() as holder:
        await holder.run(ADD, (1,))
        with pytest.raises(StorageContended, match="broke the transaction off"):
            await database.again(wait_for_it)


async def idle_after_a_pipeline(database: Database) -> None:
    """In a transaction, until its session has ended."""
    async with database.transaction() as transaction:
        async with transaction.pipeline() as pipeline:
            await pipeline.run("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            own = await pipeline.run("SELECT pg_backend_pid(), pg_sleep(0.2)")
        async with database.statements() as other:
            while await other.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (own.only[0],)):
                pass
        await transaction.run("SELECT")


async def test_a_transaction_that_is_idle_after_a_pipeline_is_ended_by_the_server(database: Database) -> None:
    """The answers come after all has been sent, when psycopg would ask for a flush: PostgreSQL then counts no idle time any more."""
    with pytest.raises(StorageUnavailable):
        await idle_after_a_pipeline(database)
