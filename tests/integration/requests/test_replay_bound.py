"""A replay stops by itself where the parser was not corrected after all."""

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.errors import BadInput
from beat_actors.quarantine import Selection, clusters, replay
from beat_actors.requests.replay import LEAST, stop_failing
from tests.integration.privacy.canary import insert

SAID = {"actor": "ann", "reason": "parser 3"}


@pytest.fixture
def admin(database_url: str) -> psycopg.Connection:
    """A hundred entries of one cluster, with their fetches."""
    connection = psycopg.connect(database_url, autocommit=True)
    insert(connection, "scrape_request_log", platform="instagram", flow="f", status="FAILED", live=False)
    insert(connection, "lane", platform="instagram", operation="o", priority=2, sources=["lama"], flow="f")
    (lane,) = connection.execute("SELECT max(id) FROM lane").fetchone() or (0,)
    of = {"platform": "instagram", "operation": "o"}
    for n in range(1, 101):
        insert(connection, "scrape_fetch", **of, lane_id=lane, stage="FAILED", is_first=False)
        insert(connection, "quarantine", kind="malformed", **of, source="lama", error="no name", fetch_id=n)
    return connection


async def begun(database: Database, stop_at: float) -> int:
    async with database.transaction() as transaction:
        wanted = Selection(kind="malformed", newest=1000)
        return (await replay(transaction, wanted, rate=50.0, stop_at=stop_at, **SAID)).count


def read(admin: psycopg.Connection, count: int, failed: int) -> None:
    """So many were read again, of which so many could not be read, and the rest is due."""
    admin.execute("UPDATE quarantine SET replay_at = clock_timestamp() - interval '1 second'")
    admin.execute(
        "UPDATE quarantine SET resolved_at = clock_timestamp(), outcome = 'reparsed' WHERE id <= %s", (count,)
    )
    admin.execute("UPDATE scrape_fetch SET stage = 'DONE' WHERE id > %s AND id <= %s", (failed, count))


@pytest.mark.parametrize(
    ("count", "failed", "left"),
    [(LEAST - 1, LEAST - 1, 0), (LEAST, LEAST // 2, 0), (LEAST, LEAST // 2 + 1, 100 - LEAST), (60, 40, 40)],
)
async def test_it_stops_where_more_than_its_share_fails(
    database: Database, admin: psycopg.Connection, count: int, failed: int, left: int
) -> None:
    assert await begun(database, 0.5) == 100
    read(admin, count, failed)
    assert await stop_failing(database, None) == left
    waiting = admin.execute(
        "SELECT count(*) FROM quarantine WHERE resolved_at IS NULL AND replay_at IS NULL"
    ).fetchone()
    assert waiting == (left,)
    told = admin.execute("SELECT detail FROM audit_log WHERE action = 'quarantine.stop'").fetchall()
    assert [row[0]["left"] for row in told] == [left] * bool(left)
    assert await stop_failing(database, None) == 0
    admin.close()


async def test_the_rest_can_be_replayed_again_and_a_bound_of_one_never_stops(
    database: Database, admin: psycopg.Connection
) -> None:
    await begun(database, 0.5)
    read(admin, 30, 30)
    assert await stop_failing(database, None) == 70
    assert await begun(database, 1.0) == 70
    read(admin, 60, 60)
    assert await stop_failing(database, None) == 0
    admin.close()


async def test_a_follower_stops_nothing_and_a_share_is_checked(database: Database, admin: psycopg.Connection) -> None:
    await begun(database, 0.5)
    read(admin, 30, 30)
    assert await stop_failing(database, 7) == 0
    with pytest.raises(BadInput, match="stop_at"):
        await begun(database, 0.0)
    admin.close()


async def test_a_cluster_says_which_share_of_the_calls_it_is(database: Database, admin: psycopg.Connection) -> None:
    async with database.transaction() as transaction:
        assert [one.share for one in await clusters(transaction)] == [None]
    admin.execute(
        "INSERT INTO source_score (week, platform, source, operation, calls, times) "
        "VALUES (date_trunc('week', clock_timestamp() AT TIME ZONE 'UTC')::date, 'instagram', 'lama', 'o', 400, '{}')"
    )
    async with database.transaction() as transaction:
        assert [one.share for one in await clusters(transaction)] == [0.25]
    admin.close()
