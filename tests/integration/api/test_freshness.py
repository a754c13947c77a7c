"""Fresh, partial and stale: what is answered, what is refreshed, by whom, how often, and what is said of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis.asyncio

from beat_actors.access.scopes import Scope
from beat_actors.data.refreshing import Refresher
from beat_actors.database import Database
from beat_actors.platforms.instagram import (
    InstagramAccount,
    InstagramPost,
    InstagramPostInsight,
    InstagramProfileInsight,
    InstagramStory,
)
from beat_actors.platforms.shopify.entities import ShopifyOrder, ShopifyStore
from beat_actors.settings import LimitChange, Settings
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised
from tests.observing import age, observe, rows

CREATOR = InstagramAccount(profile_id="42", handle="creator", graph_id="1784", followers=1200)
PROFILE = "/v1/profiles/instagram/creator"
STORE = "shop.myshopify.com"
DAY = 86_400
REQUESTS = "SELECT id, flow, params FROM scrape_request_log WHERE flow <> 'test' ORDER BY id"


@pytest.fixture
async def old(database: Database) -> None:
    """A profile that was observed two days ago."""
    await observe(database, "instagram", CREATOR)
    await age(database, 2 * DAY, "instagram_account")


async def end(database: Database, status: str, *, ago: float = 0, error: dict[str, Any] | None = None) -> None:
    """All requests that are underway end like this, so many seconds ago."""
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_request_log SET status = %s, scraped_at = clock_timestamp() - make_interval(secs => %s), "
            "data = CASE WHEN %s::text IS NULL THEN data ELSE jsonb_build_object('error', "
            "jsonb_build_object('code', %s::text, 'message', 'it is gone')) END WHERE status = 'PENDING'",
            (status, ago, *([error["code"]] * 2 if error else (None, None))),
        )


async def forget_limits(settings: Settings) -> None:
    """As if the seconds had passed in which a handle may be refreshed but once."""
    async with redis.asyncio.from_url(str(settings.redis_url)) as valkey:
        async for key in valkey.scan_iter(f"{settings.limit_prefix}*"):
            await valkey.delete(key)


async def test_what_is_old_is_answered_and_refreshed_once(api, database, wake_ups, old) -> None:
    first = await api.simulate_get(PROFILE)
    freshness = first.json["freshness"]
    assert (first.status_code, first.json["metrics"]) == (200, {"followers": 1200})
    assert (freshness["mode"], freshness["source"], freshness["refresh_started"]) == ("stale", "graphapi", True)
    ((request, flow, params),) = await rows(database, REQUESTS)
    assert (flow, params) == ("refresh_profile_by_handle", {"handle": "creator", "posts": 0})
    assert freshness["refresh"] == f"/v1/scrape-requests/{request}"
    again = (await api.simulate_get("/v1/profiles/instagram/42")).json["freshness"]
    assert again == freshness | {"refresh_started": False}
    assert len(await rows(database, REQUESTS)) == 1
    assert wake_ups.asked == ["instagram"]


async def test_as_of_is_when_it_was_observed(api, database, old) -> None:
    ((observed_at,),) = await rows(database, "SELECT observed_at FROM instagram_account")
    found = (await api.simulate_get(PROFILE)).json["freshness"]
    assert datetime.fromisoformat(found["as_of"]) == observed_at


async def test_the_reader_says_how_old_is_too_old(api, database, old) -> None:
    for max_age, mode in ((3 * DAY, "fresh"), (DAY, "stale"), (0, "stale")):
        found = (await api.simulate_get(PROFILE, params={"max_age": max_age})).json["freshness"]
        assert (found["mode"], found["max_age"]) == (mode, max_age)


async def test_many_at_once_start_one_refresh(api, database, wake_ups, old) -> None:
    answers = await asyncio.gather(*(api.simulate_get(PROFILE) for _ in range(12)))
    blocks = [answer.json["freshness"] for answer in answers]
    assert [block["refresh_started"] for block in blocks].count(True) == 1
    assert len({block["refresh"] for block in blocks}) == len(await rows(database, REQUESTS)) == 1
    limits = {one["name"]: one["used"] for one in (await api.simulate_get("/v1/limits")).json["limits"]}
    assert limits["refresh_profile_insta_daily"] == 1


async def test_who_looked_before_another_process_started_the_refresh_is_informed_of_it(
    api, settings, wake_ups, database, new_key, old, monkeypatch
) -> None:
    async with Promised(app_over(settings, wake_ups), headers=bearer(await new_key(Scope.ADMIN))) as other:
        look = Refresher._look

        async def and_be_overtaken(self: Refresher, plan: Any) -> Any:
            row = await look(self, plan)
            monkeypatch.setattr(Refresher, "_look", look)
            assert (await other.simulate_get(PROFILE)).json["freshness"]["refresh_started"]
            return row

        monkeypatch.setattr(Refresher, "_look", and_be_overtaken)
        found = (await api.simulate_get(PROFILE)).json["freshness"]
    ((request, *_),) = await rows(database, REQUESTS)
    assert (found["refresh"], found["refresh_started"]) == (f"/v1/scrape-requests/{request}", False)


async def test_who_wants_nothing_stale_gets_the_place_to_wait(api, database, old) -> None:
    answer = await api.simulate_get(PROFILE, params={"allow_stale": "false"})
    assert answer.status_code == 202
    ((request, *_),) = await rows(database, REQUESTS)
    assert answer.headers["location"] == f"/v1/scrape-requests/{request}"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json["freshness"]["refresh_started"]
    await observe(database, "instagram", CREATOR)
    assert (await api.simulate_get(PROFILE, params={"allow_stale": "false"})).status_code == 200


async def test_what_is_not_known_is_fetched_for_who_will_wait(api, database) -> None:
    missing = "/v1/profiles/instagram/@Nobody"
    assert (await api.simulate_get(missing)).status_code == 404
    assert await rows(database, REQUESTS) == []
    answers = [await api.simulate_get(missing, params={"allow_stale": "false"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    ((_, flow, params),) = await rows(database, REQUESTS)
    assert (flow, params["handle"]) == ("refresh_profile_by_handle", "nobody")
    await end(database, "FAILED", error={"code": "missing"})
    gone = await api.simulate_get(missing, params={"allow_stale": "false"})
    assert gone.status_code == 503
    assert "the last refresh failed: it is gone" in gone.json["detail"]
    strange = await api.simulate_get("/v1/profiles/instagram/not a handle", params={"allow_stale": "false"})
    assert strange.status_code == 404


async def test_a_key_that_only_reads_starts_nothing(bare, database, new_key, old) -> None:
    reader = bearer(await new_key(Scope.READ))
    found = (await bare.simulate_get(PROFILE, headers=reader)).json["freshness"]
    assert (found["mode"], found["refresh_started"], found["refresh"]) == ("stale", False, None)
    refused = await bare.simulate_get(PROFILE, params={"allow_stale": "false"}, headers=reader)
    assert refused.status_code == 403
    assert await rows(database, REQUESTS) == []
    both = bearer(await new_key(Scope.READ, Scope.SUBMIT))
    assert (await bare.simulate_get(PROFILE, headers=both)).json["freshness"]["refresh_started"]
    # Now there is one to wait for, whoever started it.
    waits = await bare.simulate_get(PROFILE, params={"allow_stale": "false"}, headers=reader)
    assert waits.status_code == 202


async def test_an_account_has_its_own_refresh(bare, settings, database, new_key) -> None:
    for account in ("acme", "zeta"):
        await observe(database, "instagram", CREATOR, account_id=account)
    await age(database, 2 * DAY, "instagram_account")
    for account in ("acme", "zeta"):
        await forget_limits(settings)
        who = bearer(await new_key(Scope.READ, Scope.SUBMIT, account_id=account))
        found = (await bare.simulate_get(PROFILE, headers=who)).json["freshness"]
        assert found["refresh_started"]
        assert (await bare.simulate_get(found["refresh"], headers=who)).json["account_id"] == account


async def test_a_refresh_that_failed_is_not_begun_again_at_once(api, settings, database, old) -> None:
    await api.simulate_get(PROFILE)
    await end(database, "FAILED", ago=30, error={"code": "no_available_sources"})
    found = (await api.simulate_get(PROFILE)).json["freshness"]
    assert (found["mode"], found["refresh"], found["refresh_started"]) == ("stale", None, False)
    assert "the last refresh failed: it is gone" in found["why"]
    ((ended,),) = await rows(database, "SELECT scraped_at FROM scrape_request_log WHERE flow <> 'test'")
    assert datetime.fromisoformat(found["next_attempt_at"]) == ended + timedelta(seconds=60)
    refused = await api.simulate_get(PROFILE, params={"allow_stale": "false"})
    assert refused.status_code == 503
    assert refused.json["type"] == "urn:beat:problem:not_fresh"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    await rows(database, "UPDATE scrape_request_log SET scraped_at = scraped_at - interval '31 s' RETURNING 1")
    await forget_limits(settings)
    assert (await api.simulate_get(PROFILE)).json["freshness"]["refresh_started"]


async def test_what_does_not_exist_is_not_asked_for_again_before_it_is_due(api, settings, database, old) -> None:
    await api.simulate_get(PROFILE)
    await end(database, "FAILED", ago=3600, error={"code": "missing"})
    assert not (await api.simulate_get(PROFILE)).json["freshness"]["refresh_started"]
    await forget_limits(settings)
    assert (await api.simulate_get(PROFILE, params={"max_age": 3000})).json["freshness"]["refresh_started"]


async def test_a_refresh_counts_against_the_limits_of_what_is_on_demand(settings, wake_ups, database, new_key) -> None:
    await observe(database, "instagram", CREATOR, InstagramAccount(profile_id="43", handle="other"))
    await age(database, 2 * DAY, "instagram_account")
    settings = settings.model_copy(update={"limits": {"refresh_profile_insta_daily": LimitChange(calls=1, reserve=0)}})
    headers = bearer(await new_key(Scope.READ, Scope.SUBMIT))
    async with Promised(app_over(settings, wake_ups), headers=headers) as api:
        assert (await api.simulate_get(PROFILE)).json["freshness"]["refresh_started"]
        other = "/v1/profiles/instagram/other"
        found = (await api.simulate_get(other)).json["freshness"]
        assert (found["mode"], found["refresh_started"]) == ("stale", False)
        assert "refresh_profile_insta_daily has no room" in found["why"]
        assert datetime.fromisoformat(found["next_attempt_at"]) > datetime.now(UTC)
        assert (await api.simulate_get(other, params={"allow_stale": "false"})).status_code == 503
    assert len(await rows(database, REQUESTS)) == 1


async def test_a_list_is_refreshed_by_the_flow_that_its_platform_names(api, database) -> None:
    await observe(database, "instagram", CREATOR)
    for name, flow, params in (
        ("stories", "refresh_stories_posts", {"profile_id": "42"}),
        ("insights", "refresh_profile_insights", {"user_id": "1784"}),
        ("followers", "refresh_followers", {"profile_id": "42", "limit": 50}),
    ):
        found = (await api.simulate_get(f"{PROFILE}/{name}")).json
        assert (found["items"], found["freshness"]["as_of"]) == ([], None)
        assert (await rows(database, REQUESTS))[-1][1:] == (flow, params)
        assert found["freshness"]["why"] == "it was never observed; its refresh is on its way"


async def test_a_list_that_turned_out_to_be_empty_is_fresh(api, database) -> None:
    await observe(database, "instagram", CREATOR)
    await api.simulate_get(f"{PROFILE}/stories")
    await end(database, "COMPLETE")
    found = (await api.simulate_get(f"{PROFILE}/stories")).json
    assert (found["items"], found["freshness"]["mode"]) == ([], "fresh")
    ((began,),) = await rows(database, "SELECT created_at FROM scrape_request_log WHERE flow <> 'test'")
    assert datetime.fromisoformat(found["freshness"]["as_of"]) == began


async def test_a_list_of_which_some_is_old_is_partial_and_says_so(api, database) -> None:
    await observe(database, "instagram", CREATOR)
    await observe(database, "instagram", InstagramPost(shortcode="OLD", profile_id="42", likes=1))
    await age(database, 2 * DAY, "instagram_post")
    await observe(database, "instagram", InstagramPost(shortcode="NEW", profile_id="42", likes=1), source="lama")
    found = (await api.simulate_get(f"{PROFILE}/posts")).json
    freshness = found["freshness"]
    assert (freshness["mode"], freshness["source"]) == ("partial", None)
    assert freshness["as_of"] == next(one["as_of"] for one in found["items"] if one["id"] == "OLD")
    # What a refresh does not reach would have it refreshed for ever.
    assert not freshness["refresh_started"]
    assert await rows(database, REQUESTS) == []


async def test_orders_that_did_not_change_are_as_fresh_as_the_last_run(api, database) -> None:
    await observe(database, "shopify", ShopifyStore(store=STORE))
    order = ShopifyOrder(
        platform_order_id="1",
        store=STORE,
        currency="EUR",
        total_price=Decimal(5),
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    await observe(database, "shopify", order)
    await age(database, DAY, "order")
    started = (await api.simulate_get("/v1/orders/shopify/1")).json["freshness"]
    assert (started["mode"], started["refresh_started"]) == ("stale", True)
    ((_, flow, params),) = await rows(database, REQUESTS)
    assert (flow, params["store"], params["moves_mark"]) == ("refresh_orders_by_store", STORE, True)
    await end(database, "COMPLETE")
    for path in ("/v1/orders/shopify/1", f"/v1/stores/shopify/{STORE}/orders"):
        found = (await api.simulate_get(path)).json["freshness"]
        assert (found["mode"], found["refresh_started"]) == ("fresh", False)
    assert len(await rows(database, REQUESTS)) == 1


async def test_insights_of_a_post_are_asked_with_its_owners_id(api, database) -> None:
    post = InstagramPost(shortcode="SC0001", post_id="38", graph_id="901", profile_id="42", post_type="reels")
    await observe(database, "instagram", post)
    path = "/v1/posts/instagram/SC0001/insights"
    alone = (await api.simulate_get(path)).json["freshness"]
    assert "does not suffice" in alone["why"]
    assert (await api.simulate_get(path, params={"allow_stale": "false"})).status_code == 503
    await observe(database, "instagram", CREATOR)
    assert (await api.simulate_get(path)).json["freshness"]["refresh_started"]
    assert (await rows(database, REQUESTS))[-1][1:] == (
        "refresh_post_insights",
        {"media_id": "901", "media_type": "reels", "user_id": "1784"},
    )
    await observe(database, "instagram", InstagramStory(story_id="7", graph_id="1790", profile_id="42"))
    await observe(database, "instagram", InstagramPostInsight(insight_id="x", post_id="1790", metric="reach", value=1))
    await age(database, 2 * DAY, "instagram_post_insight")
    assert (await api.simulate_get("/v1/stories/instagram/7/insights")).json["freshness"]["refresh_started"]
    assert (await rows(database, REQUESTS))[-1][2]["media_type"] == "story"


async def test_every_flow_that_is_to_refresh_something_takes_what_it_is_given(api) -> None:
    """What a platform declares of its entities fits its flows, its entities and one another."""
    from beat_actors.platforms.registry import platforms

    for platform in platforms().values():
        kinds = {entity.kind: entity for entity in platform.entities}
        assert len(kinds) == len(platform.entities)
        for entity in platform.entities:
            given = [(entity, refetch) for refetch in entity.refetch]
            fields = set(entity.record.__struct_fields__)
            assert {*entity.names, *([entity.newest] if entity.newest else [])} <= fields
            for listed in entity.lists:
                other = kinds[listed.under]
                assert listed.field in fields
                assert (listed.theirs or other.key) in other.record.__struct_fields__
                assert (listed.name or entity.kind) not in ("history", "refresh")
                given += [(other, refetch) for refetch in listed.refetch]
            for owner, refetch in given:
                wanted = platform.flow(refetch.flow).params.__struct_fields__
                assert {*refetch.params, *refetch.fixed} <= set(wanted)
                for path in refetch.params.values():
                    kind, dot, name = path.rpartition(".")
                    thing = kinds[kind] if dot else owner
                    assert name in thing.record.__struct_fields__
                    assert not dot or any(listed.under == kind for listed in owner.lists)


async def test_a_history_is_as_fresh_as_what_it_is_of(api, database, old, wake_ups) -> None:
    """To read what is stale starts its refresh here too, and who wants nothing stale is sent to wait for it."""
    path = f"{PROFILE}/history"
    wait = await api.simulate_get(path, params={"allow_stale": "false"})
    assert (wait.status_code, wait.json["freshness"]["refresh_started"]) == (202, True)
    assert wait.headers["location"] == wait.json["freshness"]["refresh"]
    assert wake_ups.asked == ["instagram"]
    stale = await api.simulate_get(path)
    assert (stale.status_code, stale.json["freshness"]["mode"]) == (200, "stale")
    assert stale.json["freshness"]["refresh"] == wait.headers["location"]
    assert "older than" in stale.json["freshness"]["why"]
    assert len(await rows(database, REQUESTS)) == 1


async def test_a_history_of_a_list_is_as_fresh_as_its_newest(api, database) -> None:
    await observe(database, "instagram", CREATOR)
    insight = InstagramProfileInsight(
        insight_id="1784|reach|DE", profile_id="1784", metric="reach", breakdown="country", dimension="DE", value=1
    )
    await observe(database, "instagram", insight)
    path = f"{PROFILE}/insights/history"
    assert (await api.simulate_get(path)).json["freshness"]["mode"] == "fresh"
    await age(database, 2 * DAY, "instagram_profile_insight")
    wait = await api.simulate_get(path, params={"allow_stale": "false"})
    assert (wait.status_code, wait.json["freshness"]["refresh_started"]) == (202, True)
    ((_, flow, _),) = await rows(database, REQUESTS)
    assert flow == "refresh_profile_insights"


async def test_what_is_partial_is_answered_to_who_wants_nothing_stale(api, database) -> None:
    """A refresh reaches the newest of a list: to wait until all of it is fresh would be to wait for ever."""
    await observe(database, "instagram", CREATOR)
    await observe(database, "instagram", InstagramPost(shortcode="A", profile_id="42"))
    await age(database, 40 * DAY, "instagram_post")
    await observe(database, "instagram", InstagramPost(shortcode="B", profile_id="42"))
    answer = await api.simulate_get(f"{PROFILE}/posts", params={"allow_stale": "false"})
    assert (answer.status_code, answer.json["freshness"]["mode"]) == (200, "partial")


async def test_what_only_a_person_can_change_is_looked_for_in_a_minute(api, database, old) -> None:
    asked = {"allow_stale": "false"}
    assert (await api.simulate_get(PROFILE, params=asked)).status_code == 202
    reasons = '[{"source": "lama", "why": "it has no credential that works"}]'
    await rows(database, f"UPDATE lane SET blocked_until = NULL, reasons = '{reasons}' RETURNING 1")
    answer = await api.simulate_get(PROFILE, params=asked)
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "60")
    assert "no credential that works" in answer.json["freshness"]["why"]
