"""Alerts about uploads: each opens, does not flap, and is resolved."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.settings import Settings
from beat_actors.watch import assets as rules
from beat_actors.watch.rule import Watch
from tests.integration.assets.backlog_rows import PENDING, SAMPLED, USED

WATCH = Watch("assets", rules.uploads)


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def looked(database: Database) -> dict[str, str]:
    """The open alerts after a look: their causes by their keys."""
    await WATCH.run(database)
    async with database.statements() as alone:
        return {one.key: one.cause for one in await list_alerts(alone)}


async def test_without_uploads_nothing_is_wrong(database: Database, admin: psycopg.Connection[Any]) -> None:
    admin.execute(PENDING, (1_000,))
    assert await looked(database) == {}


async def test_s7_9_urls_that_expire_before_their_turn_open_an_alert_that_does_not_flap(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(PENDING, (200,))
    admin.execute("UPDATE asset_log SET deadline = now() + interval '1 hour'")
    admin.execute(SAMPLED, (100,))
    admin.execute(USED, (1, 0, 0))  # 144 an hour: 56 are late

    def expiring(hours: float) -> None:
        admin.execute("UPDATE asset_log SET deadline = now() + make_interval(secs => %s)", (hours * 3600,))

    assert await looked(database) == {}
    expiring(0.5)
    found = await looked(database)
    assert list(found) == ["assets:late"]
    assert "of 200 waiting assets expire before their turn" in found["assets:late"]
    expiring(1)
    assert list(await looked(database)) == ["assets:late"]
    expiring(2)
    assert await looked(database) == {}
    expiring(1)
    assert await looked(database) == {}


async def test_fetches_that_fail_open_an_alert_that_does_not_flap(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(SAMPLED, (50,))
    admin.execute(USED, (100, 40, 0))
    assert await looked(database) == {}
    admin.execute(USED, (100, 70, 0))
    assert "55% of the fetches" in (await looked(database))["assets:failing"]
    admin.execute(USED, (100, 10, 0))
    assert list(await looked(database)) == ["assets:failing"]
    admin.execute(USED, (200, 0, 0))
    assert await looked(database) == {}


async def test_a_bucket_that_takes_nothing_is_named_with_what_it_said(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(PENDING, (40,))
    waits = "UPDATE asset_log SET status = 'WAITING', not_before = now(), failure = %s WHERE entity_key::int <= %s"
    admin.execute(waits, ("timeout: it took too long", 40))
    assert await looked(database) == {}
    admin.execute(waits, ("bucket: AccessDenied", 30))
    found = (await looked(database))["assets:bucket"]
    assert "30 assets wait for it" in found
    assert "bucket: AccessDenied" in found
    admin.execute(waits, ("timeout: it took too long", 29))
    assert "1 asset wait" in (await looked(database))["assets:bucket"]
    admin.execute("UPDATE asset_log SET status = 'COMPLETE'")
    assert await looked(database) == {}


async def test_a_limit_of_a_day_that_stops_classes_says_which(
    settings: Settings, admin: psycopg.Connection[Any]
) -> None:
    database = Database(settings.model_copy(update={"asset_daily_requests": 1_000}), name="test")
    admin.execute(USED, (100, 0, 0))
    assert await looked(database) == {}
    admin.execute(USED, (100, 0, 0))
    assert (
        "80% of what may be fetched for assets today is used (BEAT_ASSET_DAILY_REQUESTS = 1,000)"
        in ((await looked(database))["assets:cap"])
    )
    async with database.statements() as alone:
        (alert,) = await list_alerts(alone)
    assert (alert.severity, "other" in alert.impact, "avatar" in alert.impact) == ("warning", True, False)
    admin.execute(USED, (100, 0, 0))
    await looked(database)
    async with database.statements() as alone:
        (alert,) = await list_alerts(alone)
    assert (alert.severity, "readers wait" in alert.impact) == ("critical", True)
    admin.execute("DELETE FROM asset_usage")
    assert await looked(database) == {}
    await database.close()


async def test_an_object_that_is_not_deleted_in_time_is_told(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(
        "INSERT INTO asset_object (content, bytes, media_type, deleting_since)"
        " SELECT sha256(n::text::bytea), 1, 'image/png', now() - make_interval(mins => n) FROM generate_series(1, 20) n"
    )
    assert "11 objects" in (await looked(database))["assets:undeleted"]
    admin.execute("UPDATE asset_object SET deleted_at = now()")
    assert await looked(database) == {}
