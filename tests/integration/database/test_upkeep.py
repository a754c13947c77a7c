"""Dead rows are seen and removed; the busy tables are vacuumed earlier than PostgreSQL would."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import PostgresDsn

from beat_actors.database import Database, upkeep
from beat_actors.database.vacuum import vacuum
from beat_actors.errors import BadInput
from beat_actors.settings import Settings


@pytest.fixture
async def database(settings: Settings, process_url: str) -> AsyncIterator[Database]:
    """On PostgreSQL itself: a setting of a session is not one of a pooler's."""
    database = Database(settings.model_copy(update={"database_url": PostgresDsn(process_url)}), name="test")
    yield database
    await database.close()


@pytest.mark.parametrize(
    "table",
    ["scrape_request_log", "scrape_fetch", "lane", "credential_usage", "credential_call", "settlement", "sweep"],
)
async def test_s2_13_what_changes_often_has_settings_of_its_own(database: Database, table: str) -> None:
    (found,) = [one for one in await upkeep.tables(database) if one.name == table]
    assert "autovacuum_vacuum_scale_factor" in found.settings
    assert "fillfactor" in found.settings


async def test_s2_13_dead_rows_are_counted_and_vacuumed_by_hand(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("ALTER TABLE lane SET (autovacuum_enabled = false)")
    async with database.statements() as alone:
        await alone.run(
            "INSERT INTO lane (platform, flow, operation, priority, sources) "
            "SELECT 'toy', 'f' || n, 'look', 1, '{a}' FROM generate_series(1, 500) n"
        )
        await alone.run("DELETE FROM lane")
        await alone.run("SELECT pg_stat_force_next_flush()")
    assert (await of(database, "lane")).dead >= 500
    assert "lane" in await vacuum(database)
    found = await of(database, "lane")
    assert (found.dead, found.vacuums) == (0, 1)
    assert found.vacuumed_at is not None
    assert await vacuum(database, "alert") == ["alert"]


@pytest.mark.parametrize("name", ["nothing", "lane; DROP TABLE lane", 'lane"'])
async def test_what_is_no_table_is_refused(database: Database, name: str) -> None:
    with pytest.raises(BadInput, match="there is no table"):
        await vacuum(database, name)


async def of(database: Database, name: str) -> upkeep.Table:
    (found,) = [one for one in await upkeep.tables(database) if one.name == name]
    return found
