"""Shopify's simulated provider, read by the engine's own source over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from beat_actors.platforms.interface import Answer, FetchSpec, Outcome
from beat_actors.platforms.shopify import ShopifyCrawler, platform
from beat_actors.platforms.shopify.simulator import store_of
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS

SOURCE = platform.sources["shopify"]
TOKEN = "shpat_store-000007"
STORE = store_of(TOKEN)
FETCHES = {
    "orders": ShopifyCrawler.fetch_orders_by_store,
    "products": ShopifyCrawler.fetch_products_by_store,
    "customers": ShopifyCrawler.fetch_customers_by_store,
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=10, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def http(url: str) -> AsyncIterator[ProviderClient]:
    settings = Settings(
        database_url="postgresql://nobody@localhost/none",
        redis_url="redis://localhost",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        environment="rehearsal",
        simulator_url=url,
    )
    client = ProviderClient(settings)
    yield client
    await client.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


async def ask(http: ProviderClient, spec: FetchSpec, token: str = TOKEN) -> Answer:
    call = SOURCE.endpoints[spec.operation].build(spec, {"shop": store_of(token).domain, "token": token})
    exchange = await http.exchange(SOURCE, call)
    assert exchange.answer is not None, exchange.failure
    return exchange.answer


async def every_page(http: ProviderClient, spec: FetchSpec) -> list[list[Any]]:
    pages = []
    while True:
        answer = await ask(http, spec)
        assert SOURCE.classify(answer).outcome is Outcome.OK, answer.body
        pages.append(list(SOURCE.endpoints[spec.operation].parse(answer.body, spec).records))
        cursor = SOURCE.next_cursor(answer)
        if cursor is None:
            return pages
        spec = replace(spec, cursor=cursor)


@pytest.mark.parametrize("what", FETCHES)
async def test_the_pages_hold_everything_once(http: ProviderClient, what: str) -> None:
    pages = await every_page(http, FETCHES[what](STORE.domain))
    ids = [getattr(record, platform.entity_of(record).key) for page in pages for record in page]
    assert len(ids) == len(set(ids)) == getattr(STORE, what)
    assert all(len(page) == 250 for page in pages[:-1])
    assert {record.store for page in pages for record in page} == {STORE.domain}


async def test_the_bounds_hold_on_every_page(http: ProviderClient) -> None:
    whole = [record for page in await every_page(http, FETCHES["orders"](STORE.domain)) for record in page]
    times = sorted(record.updated_at for record in whole)
    since, until = times[20], times[-20]
    spec = FETCHES["orders"](STORE.domain, since.isoformat(), until.isoformat())
    pages = await every_page(http, spec)
    found = {record.platform_order_id for page in pages for record in page}
    assert found == {record.platform_order_id for record in whole if since <= record.updated_at <= until}
    assert len(pages) > 1


async def test_an_order_is_read_whole(http: ProviderClient) -> None:
    (first, *_), *_ = await every_page(http, FETCHES["orders"](STORE.domain))
    whole = [record for page in await every_page(http, FETCHES["orders"](STORE.domain)) for record in page]
    assert first.total_price == first.subtotal_price + first.total_tax
    assert {record.fulfillment_status for record in whole} == {"fulfilled", "unfulfilled"}
    assert any(record.cancelled_at for record in whole)
    assert any(record.refunds for record in whole)
    assert any(record.customer_id for record in whole)


async def test_two_tokens_open_two_stores(http: ProviderClient) -> None:
    spec = ShopifyCrawler.fetch_shop(STORE.domain)
    (shop,) = SOURCE.endpoints["shop"].parse((await ask(http, spec)).body, spec).records
    assert (shop.store, shop.timezone) == (STORE.domain, "America/New_York")
    other = store_of("shpat_store-000008")
    ids = [
        {item.platform_order_id for page in [await ask(http, FETCHES["orders"](store), token)]
         for item in SOURCE.endpoints["orders_by_store"].parse(page.body, FETCHES["orders"](store)).records}
        for store, token in ((STORE.domain, TOKEN), (other.domain, "shpat_store-000008"))
    ]  # fmt: skip
    assert not ids[0] & ids[1]
    # A store's cursor is worth nothing at another.
    cursor = SOURCE.next_cursor(await ask(http, FETCHES["orders"](STORE.domain)))
    refused = await ask(http, replace(FETCHES["orders"](other.domain), cursor=cursor), "shpat_store-000008")
    assert SOURCE.classify(refused).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("token", "what", "status", "outcome"),
    [
        ("shpat_store-000095", "customers", 403, Outcome.PERMISSION_MISSING),
        ("shpat_store-000095", "orders", 200, Outcome.OK),
        ("shpat_store-000096", "orders", 423, Outcome.RATE_LIMITED),
        ("shpat_store-000097", "products", 402, Outcome.RATE_LIMITED),
    ],
)
async def test_some_stores_are_out_of_order(
    http: ProviderClient, token: str, what: str, status: int, outcome: Outcome
) -> None:
    answer = await ask(http, FETCHES[what](store_of(token).domain), token)
    assert (answer.status, SOURCE.classify(answer).outcome) == (status, outcome)


async def test_the_bucket_is_reported_and_kept(http: ProviderClient) -> None:
    spec = ShopifyCrawler.fetch_shop(STORE.domain)
    answers = [await ask(http, spec) for _ in range(41)]
    assert answers[0].headers["x-shopify-shop-api-call-limit"] == "1/40"
    assert [answer.status for answer in answers] == [200] * 40 + [429]
    verdict = SOURCE.classify(answers[-1])
    assert (verdict.outcome, verdict.retry_after, verdict.reported.remaining) == (Outcome.RATE_LIMITED, 2.0, 0)


async def test_a_call_without_a_token_and_a_path_that_is_none_are_refused(http: ProviderClient) -> None:
    answer = await ask(http, ShopifyCrawler.fetch_shop(STORE.domain), TOKEN)
    assert answer.status == 200
    call = SOURCE.endpoints["shop"].build(ShopifyCrawler.fetch_shop(STORE.domain), {"shop": STORE.domain, "token": ""})
    refused = await http.exchange(SOURCE, call)
    assert SOURCE.classify(refused.answer).outcome is Outcome.CREDENTIAL_DEAD
    lost = await http.exchange(SOURCE, replace(call, path="/nothing.json", headers={"X-Shopify-Access-Token": TOKEN}))
    assert SOURCE.classify(lost.answer).outcome is Outcome.MISSING
