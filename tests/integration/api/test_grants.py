"""Owners: who may ask for what needs an owner's credential, and who may read what that brings."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from beat_actors.access.scopes import Scope
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.shopify.entities import ShopifyOrder, ShopifyStore
from beat_actors.platforms.shopify.simulator import store_of
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.integration.api.conftest import bearer
from tests.observing import granted, observe, rows
from tests.stages import retrieve
from tests.worlds import engine_with

TOKEN = "shpat_store-000007"
STORE = store_of(TOKEN).domain
USER = "17841400000000001"
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
BOTH = (Scope.SUBMIT, Scope.READ)
ORDERS = {"platform": "shopify", "flow": "refresh_orders_by_store", "params": {"store": STORE}}
INSIGHTS = {"platform": "instagram", "flow": "refresh_profile_insights", "params": {"user_id": USER}}
ORDER = ShopifyOrder(
    platform_order_id="5001",
    store=STORE,
    currency="EUR",
    total_price=Decimal("19.90"),
    created_at=NOON,
    updated_at=NOON,
)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    async with running(SimulatorConfig(profiles=10, drift_seconds=0)) as url:
        settings = settings.model_copy(update={"simulator_url": url})
        engine = engine_with(settings, ProviderClient(settings))
        yield engine
        await engine.close()


async def work(engine: Engine, platform: str = "shopify") -> None:
    """Rounds through all stages until nothing is leased any more."""
    while leased := (await turn(engine.database, platform_named(platform))).leased:
        await process(engine, (await ingest(engine, (await retrieve(engine, leased)).next)).next)


@pytest.mark.parametrize("wanted", [ORDERS, INSIGHTS], ids=["store", "business account"])
async def test_an_account_cannot_ask_for_an_owner_that_it_was_not_granted(bare, database, new_key, wanted) -> None:
    """The refusal is the same whether the owner is connected for somebody else or for nobody."""
    acme = bearer(await new_key(*BOTH, account_id="acme"))
    before = await bare.simulate_post("/v1/scrape-requests", json=wanted, headers=acme)
    await granted(database, "globex", "shopify", STORE)
    await granted(database, "globex", "instagram", USER)
    refused = await bare.simulate_post("/v1/scrape-requests", json=wanted, headers=acme)
    assert (refused.status_code, refused.json["type"]) == (404, "urn:beat:problem:owner_not_granted")
    assert refused.json == before.json
    assert await rows(database, "SELECT id FROM scrape_request_log") == []
    await granted(database, "acme", "shopify", STORE)
    await granted(database, "acme", "instagram", USER)
    assert (await bare.simulate_post("/v1/scrape-requests", json=wanted, headers=acme)).status_code == 202


async def test_of_a_list_only_what_uses_an_owner_of_another_is_refused(bare, database: Database, new_key) -> None:
    acme = bearer(await new_key(Scope.SUBMIT, account_id="acme"))
    public = {"platform": "instagram", "flow": "refresh_profile_basic", "params": {"handle": "creator"}}
    answer = await bare.simulate_post("/v1/scrape-requests", json={"requests": [public, ORDERS, public]}, headers=acme)
    assert (answer.status_code, answer.json["accepted"], answer.json["refused"]) == (202, 2, 1)
    assert answer.json["outcomes"][1]["type"] == "urn:beat:problem:owner_not_granted"


async def test_the_installations_own_keys_need_operate_for_an_owner(bare, database: Database, new_key) -> None:
    unbound, operates = bearer(await new_key(*BOTH)), bearer(await new_key(Scope.OPERATE))
    for body in (ORDERS, ORDERS | {"account_id": "acme"}):
        refused = await bare.simulate_post("/v1/scrape-requests", json=body, headers=unbound)
        assert refused.status_code == 403
    assert (await bare.simulate_post("/v1/scrape-requests", json=ORDERS, headers=operates)).status_code == 202
    # In an account's name, the account has to hold the grant.
    named = ORDERS | {"account_id": "acme"}
    assert (await bare.simulate_post("/v1/scrape-requests", json=named, headers=operates)).status_code == 404
    await granted(database, "acme", "shopify", STORE)
    assert (await bare.simulate_post("/v1/scrape-requests", json=named, headers=operates)).status_code == 202


async def test_what_an_owner_has_is_read_while_the_grant_is_held_and_not_after(bare, database, new_key) -> None:
    await granted(database, "acme", "shopify", STORE)
    await granted(database, "globex", "shopify", STORE)
    await observe(database, "shopify", ShopifyStore(store=STORE), account_id="acme", owner=STORE)
    await observe(database, "shopify", ORDER, account_id="acme", owner=STORE)
    acme, globex = [bearer(await new_key(Scope.READ, account_id=name)) for name in ("acme", "globex")]
    reads, operates = bearer(await new_key(Scope.READ)), bearer(await new_key(Scope.OPERATE))
    paths = ("/v1/orders/shopify/5001", f"/v1/stores/shopify/{STORE}", f"/v1/stores/shopify/{STORE}/orders")

    async def statuses(headers: dict[str, str]) -> list[int]:
        return [(await bare.simulate_get(path, headers=headers)).status_code for path in paths]

    async def told(headers: dict[str, str]) -> list[str]:
        return [one["id"] for one in (await bare.simulate_get("/v1/changes", headers=headers)).json["changes"]]

    assert await statuses(acme) == [200] * 3
    assert await told(acme) == [STORE, "5001"]
    # The other account holds the grant too, and has not asked for anything yet: it sees no trace of acme's requests.
    assert await statuses(globex) == [404] * 3
    assert await told(globex) == []
    # The installation's own keys read owners' data with `operate` only.
    assert (await statuses(reads), await told(reads)) == ([404] * 3, [])
    assert (await statuses(operates), await told(operates)) == ([200] * 3, [STORE, "5001"])
    revoked = await bare.simulate_delete(
        "/v1/accounts/acme/grants",
        params={"platform": "shopify", "owner": STORE, "reason": "left us"},
        headers=operates,
    )
    assert revoked.status_code == 200
    assert (await statuses(acme), await told(acme)) == ([404] * 3, [])


async def test_an_owners_numbers_never_become_part_of_the_public_row(bare, database: Database, new_key) -> None:
    await granted(database, "acme", "instagram", USER)
    public = InstagramAccount(profile_id="42", handle="creator", graph_id=USER, followers=10, biography="public")
    await observe(database, "instagram", public, account_id="acme", source="lama")
    own = InstagramAccount(profile_id="42", handle="creator", graph_id=USER, followers=99)
    await observe(database, "instagram", own, account_id="acme", owner=USER)
    hidden = InstagramPost(shortcode="HIDDEN", profile_id="42", taken_at=NOON, likes=3)
    await observe(database, "instagram", hidden, account_id="acme", owner=USER)
    acme, reads = bearer(await new_key(Scope.READ, account_id="acme")), bearer(await new_key(Scope.READ))
    path = "/v1/profiles/instagram/creator"
    mine = (await bare.simulate_get(f"{path}?posts=5", headers=acme)).json
    # The newest observation stands in front; what it does not tell is taken from the one before it.
    assert (mine["metrics"], mine["dimensions"]["biography"]) == ({"followers": 99}, "public")
    assert [one["id"] for one in mine["posts"]] == ["HIDDEN"]
    everybodys = (await bare.simulate_get(f"{path}?posts=5", headers=reads)).json
    assert (everybodys["metrics"], everybodys["posts"]) == ({"followers": 10}, [])
    snapshots = (await bare.simulate_get(f"{path}/history", headers=reads)).json["snapshots"]
    assert [one["metrics"] for one in snapshots] == [{"followers": 10}]
    assert len((await bare.simulate_get(f"{path}/history", headers=acme)).json["snapshots"]) == 2
    # A public observation that is newer stands in front again, also in lists, each thing once.
    await observe(
        database,
        "instagram",
        InstagramPost(shortcode="HIDDEN", profile_id="42", taken_at=NOON, views=7),
        account_id="acme",
    )
    (listed,) = (await bare.simulate_get(f"{path}/posts", headers=acme)).json["items"]
    assert listed["metrics"] == {"likes": 3, "views": 7}


async def test_reading_starts_no_refresh_with_an_owners_credential_without_the_grant(bare, database, new_key) -> None:
    profile = InstagramAccount(profile_id="42", handle="creator", graph_id=USER)
    for account in ("acme", None):
        await observe(database, "instagram", profile, account_id=account)
    acme, unbound = bearer(await new_key(*BOTH, account_id="acme")), bearer(await new_key(*BOTH))
    paths = ("/v1/profiles/instagram/creator/insights", f"/v1/stores/shopify/{STORE}")
    for headers in (acme, unbound):
        for path, status in zip(paths, (503, 404), strict=True):
            answer = await bare.simulate_get(path, params={"allow_stale": "false"}, headers=headers)
            assert answer.status_code == status
    assert await rows(database, "SELECT id FROM scrape_request_log WHERE flow <> 'test'") == []
    await granted(database, "acme", "instagram", USER)
    await granted(database, "acme", "shopify", STORE)
    for path in paths:
        answer = await bare.simulate_get(path, params={"allow_stale": "false"}, headers=acme)
        assert answer.status_code == 202
    started = await rows(database, "SELECT account_id, flow FROM scrape_request_log WHERE flow <> 'test' ORDER BY id")
    assert started == [("acme", "refresh_profile_insights"), ("acme", "refresh_store")]


async def test_the_broker_leases_an_owners_credential_only_while_the_grant_is_held(
    bare, engine: Engine, database, new_key
) -> None:
    await engine.credentials.add("shopify", {"shop": STORE, "token": TOKEN}, account_id="acme")
    acme, operates = bearer(await new_key(*BOTH, account_id="acme")), bearer(await new_key(Scope.OPERATE))
    first = (await bare.simulate_post("/v1/scrape-requests", json=ORDERS, headers=acme)).json["id"]
    where = {"platform": "shopify", "owner": STORE, "reason": "left us"}
    await bare.simulate_delete("/v1/accounts/acme/grants", params=where, headers=operates)
    await work(engine)
    ended = (await bare.simulate_get(f"/v1/scrape-requests/{first}", headers=acme)).json
    assert (ended["status"], ended["data"]["error"]["code"]) == ("FAILED", "owner_not_granted")
    assert await rows(database, "SELECT fetch_id FROM trace_log") == []  # nothing was called
    again = await bare.simulate_post(f"/v1/scrape-requests/{first}/retry", headers=acme)
    assert (again.status_code, again.json["type"]) == (404, "urn:beat:problem:owner_not_granted")
    many = await bare.simulate_post("/v1/scrape-requests/retry", json={"status": "FAILED"}, headers=acme)
    assert (many.json["retried"], many.json["refused"]) == (0, 1)
    await bare.simulate_post("/v1/accounts/acme/grants", json=where, headers=operates)
    assert (await bare.simulate_post(f"/v1/scrape-requests/{first}/retry", headers=acme)).status_code == 202
    await work(engine)
    done = (await bare.simulate_get(f"/v1/scrape-requests/{first}", headers=acme)).json
    assert (done["status"], done["items"] > 0) == ("COMPLETE", True)
    orders = (await bare.simulate_get(f"/v1/stores/shopify/{STORE}/orders?limit=1000", headers=acme)).json["items"]
    kept = await rows(database, 'SELECT account_id, owner, count(*) FROM "order" GROUP BY 1, 2')
    assert kept == [("acme", STORE, len(orders))]


async def test_an_owners_token_serves_its_owner_alone_unless_it_is_shared(engine: Engine, database: Database) -> None:
    """Public calls, such as business discovery, can be made with any account's token."""
    token = {"token": "EAAGtoken-00000001", "user_id": USER}
    number, _ = await engine.credentials.add("graphapi", token, account_id="acme")
    usable = engine.credentials.fetch_enabled_sources
    assert await usable("instagram", "profile_by_handle") == []
    await engine.credentials.share(number, reason="agreed")
    assert await usable("instagram", "profile_by_handle") == ["graphapi"]
    await engine.credentials.unshare(number, reason="ended")
    assert await usable("instagram", "profile_by_handle") == []
    other = {"token": "EAAGtoken-00000002", "user_id": "17841400000000002"}
    await engine.credentials.add("graphapi", other)  # for nobody: it is the installation's own
    assert await usable("instagram", "profile_by_handle") == ["graphapi"]
    assert await rows(database, "SELECT account_id, owner FROM owner_grant") == [("acme", USER)]


async def test_grants_are_listed_page_by_page_and_on_record(api, database: Database) -> None:
    route = "/v1/accounts/acme/grants"
    for n in range(5):
        body = {"platform": "shopify", "owner": f"shop-{n}.myshopify.com", "reason": "signed up"}
        assert (await api.simulate_post(route, json=body)).status_code == 201
    assert (await api.simulate_post(route, json=body)).status_code == 200
    found: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = (await api.simulate_get(route, params=params)).json
        found += [one["owner"] for one in page["grants"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert found == [f"shop-{n}.myshopify.com" for n in range(5)]
    gone = {"platform": "shopify", "owner": "shop-0.myshopify.com", "reason": "left"}
    assert (await api.simulate_delete(route, params=gone)).status_code == 200
    assert (await api.simulate_delete(route, params=gone)).status_code == 404
    for bad in ({**body, "platform": "myspace"}, {**body, "owner": " "}, {**body, "owner": "a\u0000b"}):
        assert (await api.simulate_post(route, json=bad)).status_code == 400
    actions = await rows(
        database, "SELECT action, count(*) FROM audit_log WHERE target = 'account/acme' GROUP BY 1 ORDER BY 1"
    )
    assert actions == [("account.grant", 5), ("account.revoke", 1)]
