"""Whole runs through the stages, against the simulated provider: what is in the tables, and from where the next run goes on."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.records import unpack
from beat_actors.platforms.interface import Answer, Call, Source
from beat_actors.platforms.shopify import platform
from beat_actors.platforms.shopify.simulator import store_of
from beat_actors.platforms.shopify.sources.shopify import Shopify
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import Exchange, ProviderClient
from tests.observing import granted
from tests.stages import retrieve
from tests.worlds import engine_with

TOKENS = ("shpat_store-000007", "shpat_store-000008")
STORE, OTHER = (store_of(token) for token in TOKENS)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=10, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def engine(settings: Settings, url: str) -> AsyncIterator[Engine]:
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    for token in TOKENS:
        await engine.credentials.add("shopify", {"shop": store_of(token).domain, "token": token})
    yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def stages(engine: Engine) -> None:
    """One round through all stages."""
    retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)


async def run(
    engine: Engine, what: str, store: str = STORE.domain, account: str | None = None, **params: str
) -> dict[str, Any]:
    """A request from its acceptance to its end; its parameters as they were filled in."""
    (accepted,) = await intake.accept(
        engine.database, [NewRequest("shopify", f"refresh_{what}", {"store": store, **params}, account_id=account)]
    )
    for _ in range(4):
        await stages(engine)
    ((status, filled),) = await rows(engine, "SELECT status, params FROM scrape_request_log WHERE id = %s", accepted.id)
    assert status == "COMPLETE"
    return filled


async def mark(engine: Engine, what: str = "orders") -> Any:
    found = await rows(engine, f"SELECT {what}_synced_to FROM shopify_store WHERE store = %s", STORE.domain)
    return found[0][0] if found else None


@pytest.mark.parametrize(
    ("what", "table"), [("orders", '"order"'), ("products", "shopify_product"), ("customers", "shopify_customer")]
)
async def test_a_run_keeps_everything_and_the_next_goes_on_from_there(engine: Engine, what: str, table: str) -> None:
    first = await run(engine, f"{what}_by_store")
    assert await rows(engine, f"SELECT count(*) FROM {table} WHERE store = %s", STORE.domain) == [
        (getattr(STORE, what),)
    ]
    ended = await mark(engine, what)
    assert first["updated_at_min"] is None
    assert first["updated_at_max"].startswith(f"{ended:%Y-%m-%dT%H:%M:%S}")
    second = await run(engine, f"{what}_by_store")
    assert second["updated_at_min"].startswith(f"{ended:%Y-%m-%dT%H:%M:%S}")
    assert await mark(engine, what) >= ended
    assert await rows(engine, f"SELECT count(*) FROM {table}") == [(getattr(STORE, what),)]


async def test_orders_are_kept_to_the_cent_and_without_the_buyers(engine: Engine) -> None:
    await run(engine, "orders_by_store")
    ((wrong, lists),) = await rows(
        engine,
        """SELECT count(*) FILTER (WHERE total_price <> subtotal_price + total_tax) AS wrong,
            count(*) FILTER (WHERE jsonb_typeof(line_items) = 'array' AND jsonb_typeof(refunds) = 'array') AS lists FROM "order" """,
    )
    assert (wrong, lists) == (0, STORE.orders)
    ((text,),) = await rows(engine, """SELECT string_agg(o::text, ' ') FROM "order" o""")
    for personal in ("@example.com", "Ada", "Example Street", "1Z0", "ring twice"):
        assert personal not in text


async def test_a_run_with_bounds_of_its_own_leaves_the_mark(engine: Engine) -> None:
    await run(engine, "orders_by_store", updated_at_min="2025-09-01T00:00:00Z", updated_at_max="2025-09-10T00:00:00Z")
    assert await mark(engine) is None
    ((least, most),) = await rows(engine, 'SELECT min(updated_at)::text, max(updated_at)::text FROM "order"')
    assert least >= "2025-09-01"
    assert most <= "2025-09-10"


async def test_a_run_that_breaks_off_leaves_the_mark(engine: Engine, url: str) -> None:
    wanted = NewRequest("shopify", "refresh_orders_by_store", {"store": STORE.domain})
    (accepted,) = await intake.accept(engine.database, [wanted])
    await stages(engine)
    assert await rows(engine, 'SELECT count(*) FROM "order"') == [(250,)]
    async with SimulatorClient(url) as admin:
        await admin.add_fault("rate_limit", "shopify", status=400)
    for _ in range(5):  # its cursor is refused, the listing is begun anew, and that is refused too, twice
        await rows(engine, "UPDATE scrape_fetch SET not_before = NULL RETURNING 1")
        await stages(engine)
    assert await rows(engine, "SELECT status FROM scrape_request_log WHERE id = %s", accepted.id) == [("FAILED",)]
    assert await mark(engine) is None


async def test_each_store_is_asked_with_its_own_token(engine: Engine) -> None:
    for store in (STORE, OTHER):
        await run(engine, "store", store.domain)
        await run(engine, "products_by_store", store.domain)
    found = await rows(engine, "SELECT store, count(*) FROM shopify_product GROUP BY 1 ORDER BY 1")
    assert found == [(STORE.domain, STORE.products), (OTHER.domain, OTHER.products)]
    assert await rows(engine, "SELECT store, plan FROM shopify_store ORDER BY 1") == [
        (STORE.domain, "basic"),
        (OTHER.domain, "basic"),
    ]
    used = await rows(
        engine,
        "SELECT count(*) FROM trace_log t JOIN scrape_fetch f ON f.id = t.fetch_id JOIN credential c ON c.id = t.credential_id WHERE c.owner <> f.owner",
    )
    assert used == [(0,)]


async def test_a_store_that_redirects_holds_up_no_other_store(engine: Engine, url: str) -> None:
    """As a store does that was renamed or locked: it answers every call with a redirect to its login."""
    async with SimulatorClient(url) as admin:
        await admin.add_fault("redirect", "shopify", credential=TOKENS[0])
    wanted = [{"store": STORE.domain, "updated_at_min": f"2025-09-0{n}T00:00:00Z"} for n in range(1, 7)]
    await intake.accept(engine.database, [NewRequest("shopify", "refresh_orders_by_store", each) for each in wanted])
    for _ in range(4):
        await rows(engine, "UPDATE scrape_fetch SET not_before = NULL RETURNING 1")
        await stages(engine)
    opened = "SELECT owner, kind FROM owner_breaker WHERE open_until > clock_timestamp()"
    assert await rows(engine, opened) == [(STORE.domain, "upstream")]
    assert await rows(engine, "SELECT 1 FROM breaker WHERE open_until IS NOT NULL") == []
    await run(engine, "orders_by_store", OTHER.domain)


async def test_a_repeated_key_is_the_same_request_although_what_it_left_open_was_filled_in(engine: Engine) -> None:
    wanted = NewRequest("shopify", "refresh_orders_by_store", {"store": STORE.domain}, idempotency_key="nightly")
    (first,) = await intake.accept(engine.database, [wanted])
    (again,) = await intake.accept(engine.database, [wanted])
    assert (again.id, again.created) == (first.id, False)


async def test_an_older_observation_does_not_overwrite_a_newer_one(engine: Engine) -> None:
    await run(engine, "products_by_store")
    await rows(
        engine, "UPDATE shopify_product SET title = 'newer', updated_at = updated_at + interval '1 day' RETURNING 1"
    )
    await rows(engine, "UPDATE shopify_store SET products_synced_to = NULL RETURNING 1")
    await run(engine, "products_by_store")
    assert await rows(engine, "SELECT DISTINCT title FROM shopify_product") == [("newer",)]


async def test_an_account_goes_on_from_its_own_runs_alone(engine: Engine) -> None:
    """What others listed before is not its to see: from their mark on it would have next to nothing, and be told that it is all."""
    await granted(engine.database, "acme", "shopify", STORE.domain)
    await run(engine, "orders_by_store")
    first = await run(engine, "orders_by_store", account="acme")
    assert first["updated_at_min"] is None
    kept = await rows(engine, 'SELECT account_id, owner, count(*) FROM "order" GROUP BY 1, 2 ORDER BY 1')
    everything = kept[0][2]
    assert everything > 0
    assert kept == [("", STORE.domain, everything), ("acme", STORE.domain, everything)]
    # As if it had been an hour ago.
    ((marked,),) = await rows(
        engine,
        "UPDATE shopify_store SET orders_synced_to = orders_synced_to - interval '1 hour' WHERE account_id = 'acme' RETURNING orders_synced_to",
    )
    await run(engine, "orders_by_store")
    second = await run(engine, "orders_by_store", account="acme")
    assert datetime.fromisoformat(second["updated_at_min"]) == marked
    # The installation's own requests go on from their own runs too.
    third = await run(engine, "orders_by_store")
    assert datetime.fromisoformat(third["updated_at_min"]) > marked


@pytest.mark.parametrize("what", ["orders_by_store", "customers_by_store", "store"])
async def test_no_buyer_is_in_any_table_and_a_replay_reads_the_same(engine: Engine, what: str) -> None:
    """Names, e-mail and postal addresses, phone numbers and notes of buyers are sent by the provider and never stored."""
    await run(engine, what)
    stored_bodies = "SELECT f.operation, p.body FROM raw_payload p JOIN scrape_fetch f ON f.id = p.fetch_id"
    bodies = [(operation, unpack(bytes(body))) for operation, body in await rows(engine, stored_bodies)]
    assert bodies
    stored = b"".join(body for _, body in bodies) + str(await everything(engine)).encode()
    for personal in (b"@example.com", b"Ada", b"first_name", b"address", b"phone", b"note", b"email"):
        assert personal not in stored, personal
    for operation, body in bodies:
        keep = Shopify.endpoints[operation].keeps
        assert keep is not None
        assert keep(body) == body


async def everything(engine: Engine) -> list[Any]:
    tables = (
        "trace_log",
        "quarantine",
        "settlement",
        '"order"',
        "shopify_customer",
        "event",
        "scrape_request_log",
    )
    return [await rows(engine, f"SELECT * FROM {table}") for table in tables]


async def test_a_buyer_in_a_wrong_place_is_not_in_the_quarantine_either(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = {
        "id": 1,
        "updated_at": "ada@example.com",
        "total_price": "1",
        "currency": "EUR",
        "customer": "ada@example.com",
    }

    async def exchange(source: Source, call: Call) -> Exchange:
        return Exchange(call.path, "GET", 1.0, answer=Answer(200, {}, json.dumps({"orders": [order]}).encode()))

    monkeypatch.setattr(engine.client, "exchange", exchange)
    await intake.accept(engine.database, [NewRequest("shopify", "refresh_orders_by_store", {"store": STORE.domain})])
    for _ in range(2):
        await stages(engine)
        order["customer"] = None
    set_aside = await rows(engine, "SELECT error, path FROM quarantine")
    assert set_aside
    assert "ada@example.com" not in str(set_aside + await everything(engine))
