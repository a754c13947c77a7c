"""Whole runs through the stages, against the double: what is in the tables, and from where the next run goes on."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from beat_actors.credentials.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.retrieve import retrieve
from beat_actors.platforms.shopify import platform
from beat_actors.platforms.shopify.simulator import store_of
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
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
    await stages(engine)
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
    seen = "SELECT count(*) FROM account_seen WHERE account_id = 'acme' AND kind = 'orders'"
    ((known,),) = await rows(engine, 'SELECT count(*) FROM "order"')
    await run(engine, "orders_by_store")
    first = await run(engine, "orders_by_store", account="acme")
    assert first["updated_at_min"] is None
    ((everything,),) = await rows(engine, 'SELECT count(*) FROM "order"')
    assert await rows(engine, seen) == [(everything,)]
    assert everything > known
    # As if it had been an hour ago.
    ((marked,),) = await rows(engine, "UPDATE account_mark SET at = at - interval '1 hour' RETURNING at")
    await run(engine, "orders_by_store")
    assert await mark(engine) > marked
    second = await run(engine, "orders_by_store", account="acme")
    assert datetime.fromisoformat(second["updated_at_min"]) == marked
    # Whose there is no account is shown all, and goes on from the last run of all.
    assert (await run(engine, "orders_by_store"))["updated_at_min"] is not None
