"""The schema: it comes up, goes down, and says what the code expects."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from beat_actors.database import Database, migrate
from beat_actors.database.urls import DRIVER, connect_args
from beat_actors.errors import StorageUnavailable
from tests.conftest import Servers


def test_s2_14_the_statement_timeout_is_the_databases_default(servers):
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE migrated")
    url = servers.postgres.url_of("migrated")
    assert migrate.upgrade(url, statement_timeout=3.5) == migrate.head()
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("3500ms",)
        assert connection.execute("SHOW lock_timeout").fetchone() == ("2s",)
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("5s",)
    assert migrate.upgrade(url) == migrate.head()  # a second time changes nothing


async def test_the_databases_of_tests_have_the_limits_of_production(database: Database):
    async with database.transaction() as transaction:
        found = [
            await transaction.value(f"SHOW {name}")
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        ]
    assert found == ["5s", "2s", "5s"]


async def test_the_pool_has_its_settings_and_gives_rows(database: Database):
    async with database.transaction() as transaction:
        row = await transaction.row("SELECT 1 AS one, '{\"a\": [1]}'::jsonb AS document")
    assert row is not None
    assert (row.one, row.document) == (1, {"a": [1]})


async def test_a_transaction_that_raises_leaves_no_trace(database: Database):
    try:
        async with database.transaction() as transaction:
            await transaction.run("INSERT INTO leader (name) VALUES ('x')")
            raise RuntimeError
    except RuntimeError:
        pass
    async with database.transaction() as transaction:
        assert await transaction.value("SELECT count(*) FROM leader") == 0


async def test_prepared_statements_that_a_pooler_mixes_up_are_named(database: Database) -> None:
    """The server forgets what the session prepared, as when another session is given out in its place."""

    async def mixed_up() -> None:
        async with database.transaction() as transaction:
            transaction.connection.prepare_threshold = 0
            await transaction.value("SELECT 1")
            await transaction.run("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
            await transaction.value("SELECT 1")

    with pytest.raises(StorageUnavailable, match="BEAT_DATABASE_PREPARED_STATEMENTS=false"):
        await mixed_up()


def test_0018_takes_what_waits_into_lanes_of_its_flow_and_back(database_url: str) -> None:
    """Also what is out: it is counted by its lane. Ended fetches do not matter, and their lane is not taken from them."""
    lanes = "SELECT f.id, l.flow, l.operation FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id ORDER BY 1"
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    engine = create_engine(DRIVER, connect_args=connect_args(database_url))

    def move(to: Callable[[Config, str], None], revision: str) -> None:
        with engine.connect() as connection:  # each migration commits by itself, as `migrate.upgrade` has it
            config.attributes["connection"] = connection
            to(config, revision)
            connection.commit()

    with psycopg.connect(database_url, autocommit=True) as connection:
        move(command.downgrade, "0016")
        connection.execute("""
        INSERT INTO lane (platform, operation, priority, sources) VALUES ('toy', 'look', 2, '{first}');
        INSERT INTO scrape_request_log (platform, flow, params) SELECT 'toy', 'flow' || n % 2, '{}' FROM generate_series(0, 4) n;
        INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, stage)
        SELECT r.id, (SELECT id FROM lane), 'toy', 'look', '{}', 2, (ARRAY['WAITING', 'LEASED', 'SETTLING', 'INGESTED', 'DONE'])[r.id]
        FROM scrape_request_log r ORDER BY r.id;
        """)
        move(command.upgrade, "0018")
        flows = ["flow0", "flow1", "flow0", "flow1", ""]
        assert connection.execute(lanes).fetchall() == [(n, flow, "look") for n, flow in enumerate(flows, 1)]
        move(command.downgrade, "0016")
        assert connection.execute("SELECT count(*), count(DISTINCT lane_id) FROM scrape_fetch").fetchone() == (5, 1)
        assert connection.execute("SELECT count(*) FROM lane").fetchone() == (1,)
        move(command.upgrade, "head")
    engine.dispose()


@pytest.mark.exhaustive
def test_0033_keys_that_could_ask_for_customer_keep_it_and_back(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    engine = create_engine(DRIVER, connect_args=connect_args(database_url))

    def move(to: Callable[[Config, str], None], revision: str) -> None:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            to(config, revision)
            connection.commit()

    held = "SELECT scopes, revoked_at IS NOT NULL FROM api_key ORDER BY id"
    with psycopg.connect(database_url, autocommit=True) as connection:
        move(command.downgrade, "0032")
        connection.execute("""
        INSERT INTO api_key (prefix, hash, name, account_id, scopes, rate_limit)
        SELECT 'key' || n, decode(repeat(md5(n::text), 2), 'hex'), '', CASE WHEN n < 3 THEN 'acme' END,
               (ARRAY['{submit}', '{submit,read}', '{read}', '{operate}']::text[])[n]::text[], 1 FROM generate_series(1, 4) n
        """)
        move(command.upgrade, "0033")
        now = [["submit", "urgent"], ["submit", "read", "urgent"], ["read"], ["operate"]]
        assert connection.execute(held).fetchall() == [(scopes, False) for scopes in now]
        connection.execute("UPDATE api_key SET scopes = '{urgent}' WHERE scopes = '{submit,urgent}'")
        move(command.downgrade, "0032")
        before = [(["read"], True), (["submit", "read"], False), (["read"], False), (["operate"], False)]
        assert connection.execute(held).fetchall() == before
        move(command.upgrade, "head")
    engine.dispose()


async def test_s2_5_a_request_is_one_row_with_all_that_is_known_of_it(database: Database):
    """And its fetches carry the fence and the lease, so that no write of a zombie passes."""
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    async with database.transaction() as transaction:
        request = {row.column_name for row in await transaction.rows(columns, ("scrape_request_log",))}
        fetch = {row.column_name for row in await transaction.rows(columns, ("scrape_fetch",))}
    assert request >= {
        "id", "status", "flow", "platform", "params", "priority", "retry_count", "created_at", "picked_at", "scraped_at", "expires_at",
        "data", "account_id", "idempotency_key",
    }  # fmt: skip
    assert fetch >= {"request_id", "stage", "fence", "lease_until", "claimed_at", "attempt", "stage_attempts"}


@pytest.fixture
def before_tenants(servers: Servers) -> Iterator[str]:
    """A database that a migration with a lock of `scrape_fetch` is next for."""
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE behind")
        url = servers.postgres.url_of("behind")
        migrate.upgrade(url, revision="0031")
        try:
            yield url
        finally:
            admin.execute("DROP DATABASE behind WITH (FORCE)")


@pytest.mark.exhaustive
def test_a_migration_waits_for_a_lock_in_turns_and_says_for_whom(before_tenants: str) -> None:
    said: list[str] = []
    with psycopg.connect(before_tenants, options="-c idle_in_transaction_session_timeout=0") as holder:
        holder.execute("SELECT count(*) FROM scrape_fetch")
        with pytest.raises(StorageUnavailable, match="got no lock"):
            migrate.upgrade(before_tenants, revision="0032", timeout=0, waits=said.append)
        assert f"waits for session {holder.info.backend_pid}" in said[0]
        assert "SELECT count(*) FROM scrape_fetch" in said[0]
        # Longer than one try waits, so that it is the second one that gets the lock.
        threading.Timer(7, holder.rollback).start()
        assert migrate.upgrade(before_tenants, revision="0032") == "0032"
