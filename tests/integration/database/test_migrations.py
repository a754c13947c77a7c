"""The schema: it comes up, goes down, and says what the code expects."""

import psycopg
import pytest

from beat_actors.database import Database, migrate
from beat_actors.errors import StorageUnavailable


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
