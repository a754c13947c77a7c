"""A turn looks at as many lanes as it can serve, however many have work, and in the end at all of them."""

from collections.abc import AsyncIterator
from random import Random

import psycopg
import pytest

from beat_actors.broker.lanes import LEAST_LANES, MOST_LANES, ask_lanes, choose_lanes
from beat_actors.broker.loading import MOST_OF_GROUP, load_served, load_snapshot
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.settings import Settings
from tests.observing import rows

SHOPIFY = platform_named("shopify")
OWNERS = 3 * MOST_LANES
# Each owner has a credential, a lane and so many fetches; every third credential is in its cooldown.
WORLD = f"""
INSERT INTO flow_setting (platform, flow, workers, concurrency) VALUES ('shopify', 'refresh_orders_by_store', 1000, 10);
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, owner, check_at, disabled_till)
SELECT 'shopify', 'shopify', 'test', convert_to(n::text, 'UTF8'), 'test', '', 'shop' || n, now() + interval '1 day',
       CASE WHEN n % 3 = 0 THEN now() + interval '1 hour' END FROM generate_series(1, {OWNERS}) n;
INSERT INTO lane (platform, flow, operation, priority, sources, owner)
SELECT 'shopify', 'refresh_orders_by_store', 'orders_by_store', 3, '{{shopify}}', 'shop' || n FROM generate_series(1, {OWNERS}) n;
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params) SELECT 'shopify', 'refresh_orders_by_store', '{{}}'
    FROM generate_series(1, {2 * OWNERS}) RETURNING id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, owner)
SELECT r.id, l.id, 'shopify', 'orders_by_store', '{{}}', 3, l.owner
FROM (SELECT id, row_number() OVER () AS n FROM request) r JOIN lane l ON l.owner = 'shop' || (1 + r.n % {OWNERS});
"""


@pytest.fixture
async def database(settings: Settings, servers, database_url: str) -> AsyncIterator[Database]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(WORLD)
        connection.execute("ANALYZE")
    bounds = {"broker_in_flight": 10_000, "broker_in_flight_per_source": 10_000, "broker_batch": 2000}
    database = Database(settings.model_copy(update=bounds), name="test")
    yield database
    await database.close()


async def test_each_lane_is_served_or_says_why_not_after_a_few_turns(database: Database) -> None:
    turns = 0
    while (await turn(database, SHOPIFY)).more:
        turns += 1
        assert turns < 20, "the turns do not come to an end"
    blocked = await rows(database, "SELECT count(*) FROM lane WHERE reasons IS NOT NULL AND blocked_until > now()")
    assert blocked == [(OWNERS // 3,)]
    assert turns > 1
    waiting = "SELECT count(DISTINCT lane_id) FROM scrape_fetch WHERE stage = 'WAITING'"
    assert await rows(database, waiting) == [(OWNERS // 3,)]


async def test_a_turn_reads_no_more_lanes_and_fetches_than_it_can_serve(database: Database) -> None:
    first = await turn(database, SHOPIFY)
    looked_at = len(first.blocked) + len(
        await rows(database, "SELECT DISTINCT lane_id FROM scrape_fetch WHERE stage = 'LEASED'")
    )
    assert 0 < looked_at <= MOST_LANES
    assert first.more


async def test_a_lane_without_work_keeps_no_reasons(database: Database) -> None:
    while (await turn(database, SHOPIFY)).more:
        pass
    await rows(database, "DELETE FROM scrape_fetch WHERE stage = 'WAITING' RETURNING 1")
    await turn(database, SHOPIFY)
    assert await rows(database, "SELECT count(*) FROM lane WHERE reasons IS NOT NULL") == [(0,)]


async def test_a_less_urgent_class_is_looked_at_beside_many_urgent_lanes(database: Database) -> None:
    urgent = f"UPDATE lane SET priority = 1 WHERE id <= (SELECT min(id) FROM lane) + {2 * MOST_LANES} RETURNING 1"
    await rows(database, urgent)
    first = await turn(database, SHOPIFY)
    assert first.more
    leased = "SELECT l.priority, count(DISTINCT l.id) FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.stage = 'LEASED' GROUP BY 1 ORDER BY 1"
    (most, of_urgent), (least, of_others) = await rows(database, leased)
    assert (most, least) == (1, 3)
    assert 0 < of_others <= LEAST_LANES < of_urgent <= MOST_LANES
    while (await turn(database, SHOPIFY)).more:
        pass
    waiting = "SELECT count(DISTINCT lane_id) FROM scrape_fetch WHERE stage = 'WAITING'"
    assert await rows(database, waiting) == [(OWNERS // 3,)]


async def test_a_turn_loads_the_breakers_of_the_owners_that_it_looks_at(database: Database) -> None:
    opened = f"""
    INSERT INTO owner_breaker (platform, source, operation, kind, owner, recent, calls, failures, trips, open_until)
    SELECT 'shopify', 'shopify', 'orders_by_store', 'upstream', 'shop' || n, '[]', 5, 5, 1, now() + interval '1 minute'
    FROM generate_series(1, {OWNERS}) n RETURNING 1
    """
    await rows(database, opened)
    async with database.transaction() as transaction:
        snapshot = await load_snapshot(transaction, SHOPIFY)
        assert not snapshot.breakers
        async with transaction.pipeline() as pipeline:
            lanes = await ask_lanes(pipeline, "shopify", snapshot, 2000, Random(1))
        choose_lanes(snapshot, lanes.rows, 2000, 2000, Random(1))
        await load_served(transaction, "shopify", snapshot, 2000)
    assert {key[3] for key in snapshot.breakers} == {lane.owner for lane in snapshot.lanes}
    result = await turn(database, SHOPIFY)
    assert not result.leased
    assert len(result.blocked) == MOST_LANES


async def test_a_lane_whose_time_has_passed_and_that_is_blocked_all_the_same_asks_for_no_turn_at_once(
    database: Database,
) -> None:
    """The probes of an owner's credentials are out, more of them than a turn loads: their cooldowns are over."""
    await rows(database, "DELETE FROM scrape_fetch WHERE owner <> 'shop1' RETURNING 1")
    crowd = f"""
    INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, owner, check_at, probing, disabled_till)
    SELECT 'shopify', 'shopify', 'test', convert_to('crowd' || n, 'UTF8'), 'test', '', 'shop1', now() + interval '1 day', true,
           now() - interval '1 hour' FROM generate_series(1, {MOST_OF_GROUP + 1}) n RETURNING 1
    """
    await rows(database, crowd)
    await rows(
        database,
        "UPDATE credential SET probing = true, disabled_till = now() - interval '1 hour' WHERE owner = 'shop1' RETURNING 1",
    )
    result = await turn(database, SHOPIFY)
    (blocked,) = result.blocked
    assert blocked.until is not None
    assert result.clears_in is None or result.clears_in > 0
