"""What assets cost, and the limits of a day, over rows of `asset_usage`."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.assets.upkeep import caps, costs
from beat_actors.assets.upkeep.caps import ALL, Caps
from beat_actors.database import Database
from beat_actors.errors import BadInput
from beat_actors.settings import Settings
from tests.integration.assets.backlog_rows import USED


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def limited(settings: Settings, **limits: int) -> Database:
    return Database(settings.model_copy(update=limits), name="test")


async def test_a_limit_counts_what_all_processes_took_today(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    database = limited(settings, asset_daily_requests=1_000)
    admin.execute("INSERT INTO asset_usage (day, account_id, class, requests) SELECT current_date - 1, 'a', 0, 5000")
    assert await caps.share(database) == 0
    admin.execute(USED, (200, 0, 0))
    assert await caps.share(database) == 0.8
    assert (await Caps(database).allowed()).classes == (0, 1, 2)
    await database.close()
    both = limited(settings, asset_daily_requests=10**6, asset_daily_bytes=10_000)
    admin.execute(USED, (0, 0, 2_500))
    assert await Caps(both).allowed() == caps.Allowed((), readers=False)
    await both.close()


async def test_without_a_limit_nothing_is_read_and_with_one_it_is_kept_for_seconds(
    settings: Settings, database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(USED, (10**9, 0, 0))
    assert await Caps(database).allowed() == ALL
    one = limited(settings, asset_daily_requests=100)
    process = Caps(one)
    first = await process.allowed()
    admin.execute("DELETE FROM asset_usage")
    assert await process.allowed() == first != ALL
    process._read_at = (process._read_at or 0.0) - caps.LOOKS_EVERY
    assert await process.allowed() == ALL
    await one.close()


async def test_costs_are_summed_by_account_and_class(database: Database, admin: psycopg.Connection[Any]) -> None:
    admin.execute(
        "INSERT INTO asset_usage (day, account_id, class, requests, puts, stored)"
        " SELECT (now() AT TIME ZONE 'UTC')::date - d, a, 0, 10, 1000, 1000000000 FROM generate_series(0, 40) d, unnest(ARRAY['', 'acme']) a"
    )
    found = await costs.costs(database, 30)
    assert [(one.account_id, one.requests, one.once, one.per_month) for one in found.costs] == [
        (None, 300, 0.15, 0.69),
        ("acme", 300, 0.15, 0.69),
    ]
    assert (found.once, found.per_month, found.cut) == (0.3, 1.38, False)
    for days in (0, 93):
        with pytest.raises(BadInput):
            await costs.costs(database, days)
