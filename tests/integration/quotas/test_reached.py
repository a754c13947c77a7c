"""`beat.limit.reached`: once for each level and window, and again in the next one."""

from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.events.payloads import LimitReached
from beat_actors.quotas.overview import LimitView
from beat_actors.quotas.reached import publish

DAY = 86_400
MIDNIGHT = datetime(2026, 5, 2, tzinfo=UTC)


def limit(
    used: int, *, window: str = "calendar", renews_at: datetime | None = MIDNIGHT, seconds: int = DAY
) -> LimitView:
    return LimitView(
        name="daily", key="k", platform="instagram", calls=100, seconds=seconds, window=window, per_handle=False, spares_customers=False, used=used,
        renews_at=renews_at,
    )  # fmt: skip


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)


def told(connection: psycopg.Connection) -> list[LimitReached]:
    found = connection.execute("SELECT data::text FROM event WHERE type = 'beat.limit.reached' ORDER BY id").fetchall()
    return [msgspec.json.decode(data, type=LimitReached) for (data,) in found]


async def levels(database: Database, *views: LimitView) -> list[int]:
    return [one.percent for one in await publish(database, views)]


async def test_each_level_is_told_once_in_a_window(database: Database, rows: psycopg.Connection) -> None:
    assert await levels(database, limit(49)) == []
    assert await levels(database, limit(50)) == [50]
    assert await levels(database, limit(79)) == []
    assert await levels(database, limit(100)) == [80, 100]
    assert await levels(database, limit(120)) == []
    (first, second, third) = told(rows)
    assert (first.limit, first.platform, first.percent, first.used, first.calls) == ("daily", "instagram", 50, 50, 100)
    assert first.resets_at == MIDNIGHT
    assert (second.percent, third.percent, third.used) == (80, 100, 100)


async def test_levels_are_told_again_in_the_next_window(database: Database) -> None:
    assert await levels(database, limit(80)) == [50, 80]
    assert await levels(database, limit(60, renews_at=MIDNIGHT + timedelta(days=1))) == [50]
    assert await levels(database, limit(60, renews_at=MIDNIGHT + timedelta(days=1))) == []


async def test_a_window_that_slides_is_another_one_after_its_length(
    database: Database, rows: psycopg.Connection
) -> None:
    async def sliding(used: int) -> list[int]:
        return await levels(database, limit(used, window="sliding", renews_at=datetime.now(UTC)))

    assert await sliding(85) == [50, 80]
    assert await sliding(40) == []
    assert await sliding(85) == []
    rows.execute("UPDATE limit_level SET at = at - interval '25 hours'")
    assert await sliding(55) == [50]


async def test_a_limit_of_minutes_is_not_told(database: Database) -> None:
    assert await levels(database, limit(100, seconds=60)) == []


async def test_a_leader_that_was_replaced_tells_nothing(database: Database) -> None:
    assert await publish(database, [limit(100)], epoch=7) == []
