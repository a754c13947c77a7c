"""What befalls one platform is not felt on the others."""

import asyncio
from collections import Counter
from typing import Any

import pytest
import redis

from beat_actors.platforms.registry import platforms
from beat_actors.platforms.shopify.simulator import store_of
from tests.integration.engine.conftest import System, engine_of

pytestmark = pytest.mark.timeout(240)

TOKENS = ("shpat_store-000007", "shpat_store-000008")
EACH = 15
# Enough that each source's credentials are all asked at once, and each fetch changes its credential as seldom as can be.
FIRST, FLOOD = 30, 120


async def others(system: System, start: int) -> dict[str, list[int]]:
    """Requests to YouTube and Shopify, each of one call of its own."""
    names = [f"creator_{n:06d}" for n in range(start, start + EACH)]
    youtube = [await submit_one(system, "youtube", "refresh_profile_by_handle", {"handle": name}) for name in names]
    stores = [store_of(TOKENS[n % len(TOKENS)]).domain for n in range(EACH)]
    shopify = [await submit_one(system, "shopify", "refresh_store", {"store": store}) for store in stores]
    return {"youtube": youtube, "shopify": shopify}


async def submit_one(system: System, platform: str, flow: str, params: dict[str, str]) -> int:
    # Each a fetch of its own: two for one store would share it when they meet.
    (number,) = await system.submit(1, platform=platform, flow=flow, params=params, force=True)
    return number


def what_it_took(system: System, ids: list[int]) -> Counter[Any]:
    """How each request came to its end, and how many came so: its status, its turns with the broker, its calls, what they came to."""
    rows = system.rows(
        "SELECT r.status, f.stage, f.attempt, f.fence, f.rotations, f.retries, "
        "(SELECT array_agg(t.outcome ORDER BY t.at) FROM trace_log t WHERE t.request_id = r.id) AS calls "
        "FROM scrape_request_log r JOIN scrape_fetch f ON f.request_id = r.id WHERE r.id = ANY(%s)",
        ids,
    )
    return Counter((*row[:-1], tuple(row.calls)) for row in rows)


@pytest.mark.exhaustive
async def test_s3_4_and_s3_5_a_storm_on_every_instagram_credential_is_not_felt_by_youtube_and_shopify(
    system: System,
) -> None:
    """Instagram's requests wait, hold nothing, and go on when the storm is over."""
    engine = engine_of(system.stack)
    for n in range(2):
        await engine.credentials.add("ytapi", {"key": f"test-youtube-{n}"})
    for token in TOKENS:
        await engine.credentials.add("shopify", {"shop": store_of(token).domain, "token": token})
    before = await others(system, 0)
    await system.all_ended([*before["youtube"], *before["shopify"]])

    for source in platforms()["instagram"].sources:
        await system.with_simulator(lambda s, name=source: s.add_fault("rate_limit", name, retry_after=3600))
    waiting = await system.submit(FIRST)
    awake = "SELECT count(*) FROM credential WHERE platform = 'instagram' AND (disabled_till IS NULL OR disabled_till < now())"
    await system.until(lambda: system.value(awake) == 0)
    await system.all_settled()
    called = "SELECT count(*) FROM trace_log WHERE platform = 'instagram'"
    paid = system.value(called)

    async def flood() -> None:
        for start in range(FIRST, FIRST + FLOOD, 20):
            waiting.extend(await system.submit(20, start=start))

    during, _ = await asyncio.gather(others(system, EACH), flood())
    await system.all_ended([*during["youtube"], *during["shopify"]])

    for platform, ids in during.items():
        assert what_it_took(system, ids) == what_it_took(system, before[platform])
        assert {status for status, *_ in what_it_took(system, ids)} == {"COMPLETE"}
    assert system.ended(waiting) == 0
    fetches = system.rows("SELECT DISTINCT stage, lease_until FROM scrape_fetch WHERE request_id = ANY(%s)", waiting)
    assert [tuple(row) for row in fetches] == [("WAITING", None)]
    lanes = system.rows(
        "SELECT platform, count(*) AS n, bool_and(blocked_until > clock_timestamp() + interval '1 minute') AS long FROM lane "
        "WHERE reasons IS NOT NULL GROUP BY platform"
    )
    assert [(row.platform, row.long) for row in lanes] == [("instagram", True)]
    assert system.value(called) == paid  # who waits asks nobody
    with redis.Redis.from_url(system.stack.valkey.url) as client:
        # No message is on a worker's hands, and none stands in a queue.
        await system.until(lambda: not client.keys("*:__acks__.*"))
        assert client.keys("*.msgs") == []

    await system.with_simulator(lambda simulator: simulator.clear_faults())
    for row in system.rows("SELECT id FROM credential WHERE platform = 'instagram'"):
        await engine.credentials.reset(row.id, reason="the storm is over")
    await engine.close()
    await system.all_ended(waiting)
    system.assert_nothing_lost_or_doubled(waiting)
    await system.assert_the_books_agree()
