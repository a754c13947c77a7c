"""Entities that nobody observed for long are forgotten with their media, page by page; what may not go holds up nothing."""

import json
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platform, platforms
from beat_actors.privacy.retention import START, Entities, forget_page
from beat_actors.settings import Settings

FILL = """
INSERT INTO instagram_account (profile_id, handle, account_id, owner, source, parser_version, request_id, observed_at)
SELECT lpad(n::text, 9, '0'), 'h' || n, a, '', 'lama', 1, 1, clock_timestamp() - make_interval(days => CASE WHEN n % 5 = 0 THEN 40 ELSE 1 END)
FROM generate_series(1, 3000) n, unnest(ARRAY['', 'acme']) a
"""
ASSETS = """
INSERT INTO asset_log (platform, entity, entity_key, field, url)
SELECT 'instagram', 'instagram_account', lpad(n::text, 9, '0'), 'profile_pic_url', 'https://cdn.example.com/' || n FROM generate_series(1, 3000) n
"""
OLD = "SELECT count(*) FROM instagram_account WHERE observed_at < clock_timestamp() - interval '30 days'"


@pytest.fixture
async def keeping(settings: Settings) -> Any:
    """The database of an installation that keeps entities for 30 days."""
    database = Database(settings.model_copy(update={"entity_days": 30}), name="test")
    yield database
    await database.close()


async def fill(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.run(FILL)
        await transaction.run(ASSETS)


async def count(database: Database, sql: str) -> int:
    async with database.statements() as alone:
        return int(await alone.value(sql))


async def test_nothing_is_forgotten_unless_it_is_set(database: Database) -> None:
    await fill(database)
    assert (await Entities().forget(database)).count == 0
    assert await count(database, OLD) == 1200


async def test_what_is_too_old_goes_with_its_media_and_nothing_else(keeping: Database) -> None:
    await fill(keeping)
    async with keeping.transaction() as transaction:
        await transaction.run(
            "UPDATE instagram_account SET observed_at = clock_timestamp() WHERE profile_id = '000000005' AND account_id = 'acme'"
        )
    assert (await Entities(page=500).forget(keeping)).count == 1199
    assert await count(keeping, OLD) == 0
    assert await count(keeping, "SELECT count(*) FROM instagram_account") == 6000 - 1199
    # The media of a thing that one account still observes stays.
    assert await count(keeping, "SELECT count(*) FROM asset_log") == 2401
    assert await count(keeping, "SELECT count(*) FROM asset_log WHERE entity_key = '000000005'") == 1
    assert (await Entities().forget(keeping)).count == 0


async def test_every_kind_of_thing_is_forgotten(keeping: Database) -> None:
    async with keeping.transaction() as transaction:
        for entity in every_entity():
            needed = await transaction.rows(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s AND is_nullable = 'NO' "
                "AND column_default IS NULL AND table_schema = 'public' AND NOT column_name = ANY(%s)",
                (entity.table, [entity.key, "observed_at", "account_id", "owner"]),
            )
            names = "".join(f", {row.column_name}" for row in needed)
            values = "".join(", '2026-01-01'" if "time" in row.data_type else ", '1'" for row in needed)
            await transaction.run(
                f'INSERT INTO "{entity.table}" ({entity.key}, account_id, owner, observed_at{names}) '
                f"VALUES ('k', '', '', clock_timestamp() - interval '31 days'{values})"
            )
    assert (await Entities().forget(keeping)).count == len(every_entity())


async def test_a_run_whose_time_is_over_goes_on_the_next_time(keeping: Database) -> None:
    """Also past pages in which nothing may go."""
    await fill(keeping)
    async with keeping.transaction() as transaction:
        await transaction.run(
            "UPDATE instagram_account SET observed_at = clock_timestamp() WHERE profile_id < '000002500'"
        )
    sweep = Entities(page=100)
    gone = runs = 0
    sweep.budget = 0.0
    assert (await sweep.forget(keeping)).count == 0
    sweep.budget = 0.02
    while await count(keeping, OLD):
        gone += (await sweep.forget(keeping)).count
        runs += 1
        assert runs < 1000
    assert gone == 202


async def test_what_is_observed_meanwhile_stays_and_a_follower_forgets_nothing(keeping: Database) -> None:
    await fill(keeping)
    assert (await Entities().forget(keeping, epoch=7)).count == 0
    assert await count(keeping, OLD) == 1200


def every_entity() -> list[Entity]:
    return [entity for known in platforms().values() for entity in known.entities]


def test_a_page_reads_an_index_and_no_table(database_url: str) -> None:
    entity = platform("instagram").entity_in("instagram_account")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute(ASSETS)
        connection.execute("VACUUM ANALYZE instagram_account, asset_log")
        at = dict(zip(("key", "account", "owner"), START, strict=True))
        sql = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {forget_page('instagram', entity).text}"
        row = connection.execute(sql, {**at, "days": 30, "epoch": None, "page": 200}).fetchone()
    assert row is not None
    text, plan = json.dumps(row[0]), row[0][0]["Plan"]
    assert "Seq Scan" not in text
    assert "instagram_account_pkey" in text
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1500
