"""Listings through the stages, with a provider that pages badly: they end, they say what was not read, and no mark passes a hole."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.payloads.structure import structure
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.records import unpack
from beat_actors.platforms.interface import Answer, Call, Source
from beat_actors.platforms.registry import platforms
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.transport.http import Exchange
from tests.stages import retrieve
from tests.worlds import Unbounded, engine_with

USER, STORE = "17841400000000001", "one-store.myshopify.com"
Pages = Callable[[Call], Answer]


class Provider(Unbounded):
    """Answers each call by `pages`, and counts them."""

    def __init__(self) -> None:
        self.pages: Pages = lambda _call: Answer(500, {}, b"")
        self.asked: list[Call] = []

    async def exchange(self, _source: Source, call: Call) -> Exchange:
        self.asked.append(call)
        return Exchange(call.path, "GET", 1.0, self.pages(call))

    async def close(self) -> None:
        pass


@pytest.fixture
async def provider() -> Provider:
    return Provider()


@pytest.fixture
async def engine(settings: Settings, provider: Provider) -> AsyncIterator[Engine]:
    engine = engine_with(settings, provider)
    await engine.credentials.add("graphapi", {"token": "token-1", "user_id": USER})
    await engine.credentials.add("shopify", {"shop": STORE, "token": "shpat_1"})
    yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def run(engine: Engine, platform: str, flow: str, **params: Any) -> tuple[str, int, dict[str, Any]]:
    """A request from its acceptance to its end: its status, its items, and what is said of it."""
    (accepted,) = await intake.accept(engine.database, [NewRequest(platform, flow, params)])
    for _ in range(60):
        retrieved = await retrieve(engine, (await turn(engine.database, platforms()[platform])).leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
        found = await rows(engine, "SELECT status, items, data FROM scrape_request_log WHERE id = %s", accepted.id)
        if found[0][0] not in ("PENDING", "PROCESSING"):
            return found[0]
    raise AssertionError(f"{flow} has not ended")


def stories(*ids: str, after: str | None = None, named: bool = True) -> Answer:
    paging = {"paging": {"cursors": {"after": after}, "next": "https://graph.facebook.com/x"}} if after else {}
    return Answer(200, {}, json.dumps({"data": [{"id": each} for each in ids], **(paging if named else {})}).encode())


def order(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "updated_at": "2026-11-01T00:00:00Z", "total_price": "10.00", "currency": "EUR"} | fields


def orders(*found: dict[str, Any], link: str = "") -> Answer:
    return Answer(200, {"link": link} if link else {}, json.dumps({"orders": found}).encode())


def link(cursor: str) -> str:
    return f'<https://{STORE}/admin/api/2025-10/orders.json?limit=250&page_info={cursor}>; rel="next"'


async def mark(engine: Engine) -> Any:
    found = await rows(engine, "SELECT orders_synced_to FROM shopify_store WHERE store = %s", STORE)
    return found[0][0] if found else None


SHOP = Answer(200, {}, json.dumps({"shop": {"name": "One", "currency": "EUR", "myshopify_domain": STORE}}).encode())


async def test_cursors_in_a_circle_end_with_what_was_found_and_a_word_about_it(
    engine: Engine, provider: Provider
) -> None:
    circle = {None: ("1000001", "A"), "A": ("1000002", "B"), "B": ("1000003", "A")}

    def pages(call: Call) -> Answer:
        number, after = circle[call.query.get("after")]
        return stories(number, after=after)

    provider.pages = pages
    status, items, data = await run(engine, "instagram", "refresh_own_stories", user_id=USER)
    assert (status, items, len(provider.asked)) == ("COMPLETE", 3, 3)
    assert (data["partial"]["code"], data["partial"]["page"]) == ("cycle", 3)
    ((told,),) = await rows(engine, "SELECT data FROM event WHERE type = 'beat.scrape_request.complete'")
    assert told["data"]["partial"]["code"] == "cycle"


async def test_an_empty_page_in_the_middle_is_not_the_last(engine: Engine, provider: Provider) -> None:
    pages = {
        None: stories("1000001", after="A"),
        "A": stories(after="B"),
        "B": stories("1000002"),
    }
    provider.pages = lambda call: pages[call.query.get("after")]
    status, items, data = await run(engine, "instagram", "refresh_own_stories", user_id=USER)
    assert (status, items, "partial" in data) == ("COMPLETE", 2, False)


async def test_pages_that_bring_nothing_new_are_not_followed_for_ever(engine: Engine, provider: Provider) -> None:
    provider.pages = lambda _call: stories("1000001", after=f"c{len(provider.asked)}")
    status, items, data = await run(engine, "instagram", "refresh_own_stories", user_id=USER)
    assert (status, items, data["partial"]["code"]) == ("COMPLETE", 1, "empty")
    assert len(provider.asked) < 10


async def test_no_mark_passes_what_a_circle_hides(engine: Engine, provider: Provider) -> None:
    circle = {None: (1001, "A"), "A": (1002, "B"), "B": (1003, "A")}

    def pages(call: Call) -> Answer:
        if call.path == "/shop.json":
            return SHOP
        number, cursor = circle[call.query.get("page_info")]
        return orders(order(number), link=link(cursor))

    provider.pages = pages
    status, items, data = await run(engine, "shopify", "refresh_orders_by_store", store=STORE)
    assert (status, items, data["partial"]["code"]) == ("COMPLETE", 3, "cycle")
    assert await mark(engine) is None


async def test_an_expired_cursor_starts_the_listing_anew_and_not_for_ever(engine: Engine, provider: Provider) -> None:
    refused = Answer(400, {}, b'{"errors":{"page_info":"Invalid value."}}')
    refusals = 0

    def pages(call: Call) -> Answer:
        nonlocal refusals
        if call.path == "/shop.json":
            return SHOP
        if "page_info" not in call.query:
            return orders(order(1001), link=link("A"))
        refusals += 1
        return refused if refusals <= most else orders(order(1002))

    provider.pages, most = pages, 1
    status, _, _ = await run(engine, "shopify", "refresh_orders_by_store", store=STORE)
    assert status == "COMPLETE"
    assert await rows(engine, 'SELECT count(*) FROM "order"') == [(2,)]
    assert await mark(engine) is not None
    most = 1_000
    status, _, data = await run(engine, "shopify", "refresh_orders_by_store", store=STORE)
    assert (status, data["error"]["code"]) == ("FAILED", "exhausted")
    assert refusals < 8


async def test_a_record_that_cannot_be_read_is_set_aside_and_its_neighbours_are_kept(
    engine: Engine, provider: Provider
) -> None:
    page = orders(order(1001), order(1002, updated_at=None), order(1003), order(1004, total_price="much"))
    provider.pages = lambda call: SHOP if call.path == "/shop.json" else page
    status, items, data = await run(engine, "shopify", "refresh_orders_by_store", store=STORE)
    assert (status, items) == ("COMPLETE", 2)
    assert data["partial"]["code"] == "holes"
    assert await rows(engine, 'SELECT platform_order_id FROM "order" ORDER BY 1') == [("1001",), ("1003",)]
    found = await rows(
        engine,
        "SELECT kind, path, q.source, shape, body FROM quarantine q JOIN raw_payload p USING (fetch_id) ORDER BY path",
    )
    records = json.loads(unpack(found[0][4]))["orders"]
    assert [row[:4] for row in found] == [
        ("malformed", "$.orders[1].updated_at", "shopify", structure(records[1])),
        ("malformed", "$.orders[3].total_price", "shopify", structure(records[3])),
    ]
    assert await mark(engine) is None


async def test_a_page_without_any_good_record_cannot_be_read(engine: Engine, provider: Provider) -> None:
    provider.pages = lambda _call: orders(order(1002, updated_at=None), order(1003, updated_at=None))
    status, _, data = await run(engine, "shopify", "refresh_orders_by_store", store=STORE)
    assert (status, data["error"]["code"]) == ("FAILED", "malformed")
    assert await rows(engine, "SELECT path FROM quarantine") == [("$.orders[0].updated_at",)]
