"""An observation is of the time at which its answer came, in whichever order the stages come to write it."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest

from beat_actors import quarantine
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.errors import Malformed
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import InstagramAccount, platform
from beat_actors.platforms.shopify.entities import ShopifyProduct
from beat_actors.requests import intake, replay
from beat_actors.requests.intake import NewRequest
from beat_actors.simulator import SimulatorClient
from tests.integration.stages.test_stages import FLOW
from tests.observing import observe, rows
from tests.stages import retrieve

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
HANDLE = "creator_000001"
CHANGES = "SELECT count(*) FROM event WHERE type = 'beat.data.changed'"


async def ask(engine: Engine) -> int:
    wanted = NewRequest("instagram", FLOW, {"handle": HANDLE, "posts": 0}, force=True)
    (accepted,) = await intake.accept(engine.database, [wanted])
    return accepted.id


async def called(engine: Engine, request: int) -> list[int]:
    """The request's fetch with its answer kept, and nothing read of it yet."""
    for _ in range(10):
        await retrieve(engine, (await turn(engine.database, platform)).leased)
        sql = "SELECT id FROM scrape_fetch WHERE request_id = %s AND stage = 'RETRIEVED'"
        if found := [row[0] for row in await rows(engine.database, sql, (request,))]:
            return found
    raise AssertionError("no source answered")


async def state(database: Database) -> Any:
    return await rows(database, "SELECT followers, observed_at FROM instagram_account")


# The first answer's two stages in order, the second's in order, and whichever goes on first: six ways.
ORDERS = sorted(set(permutations(("first", "first", "second", "second"))))


@pytest.mark.parametrize("order", ORDERS, ids=["".join(name[0] for name in order) for order in ORDERS])
async def test_of_two_answers_the_newer_one_stands_whichever_is_written_last(
    engine: Engine, admin: SimulatorClient, order: tuple[str, ...]
) -> None:
    fetches = {"first": await called(engine, await ask(engine))}
    await admin.let_happen("viral", HANDLE, size=1.02)  # the profile has other numbers from here on
    fetches["second"] = await called(engine, await ask(engine))
    at = dict(await rows(engine.database, "SELECT id, payload_at FROM scrape_fetch"))
    ingested: set[str] = set()
    for name in order:
        if name in ingested:
            await process(engine, fetches[name])
        else:
            await ingest(engine, fetches[name])
            ingested.add(name)
    log = await rows(engine.database, "SELECT metrics->'followers', observed_at FROM profile_log ORDER BY observed_at")
    assert [when for _, when in log] == [at[fetches["first"][0]], at[fetches["second"][0]]]
    assert len({followers for followers, _ in log}) == 2
    assert await state(engine.database) == [log[-1]]


async def test_a_replay_does_not_bring_an_old_value_back_as_the_newest(
    engine: Engine, admin: SimulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise Malformed("the id is missing", path="$.id")

    with monkeypatch.context() as patched:
        for source in platform.sources.values():
            if endpoint := source.endpoints.get("profile_by_handle"):
                patched.setitem(source.endpoints, "profile_by_handle", dataclasses.replace(endpoint, parse=broken))
        old = await ask(engine)
        while (await rows(engine.database, "SELECT status FROM scrape_request_log WHERE id = %s", (old,))) != [
            ("FAILED",)
        ]:
            await ingest(engine, (await retrieve(engine, (await turn(engine.database, platform)).leased)).next)
    await rows(engine.database, "DELETE FROM breaker RETURNING 1")
    await admin.let_happen("viral", HANDLE, size=1.02)
    fetch = await called(engine, await ask(engine))
    await process(engine, (await ingest(engine, fetch)).next)
    newest = await state(engine.database)
    async with engine.database.transaction() as transaction:
        everything = quarantine.Selection(kind="malformed", newest=10**9)
        await quarantine.replay(transaction, everything, actor="test", reason="corrected", rate=50.0)
    async with asyncio.timeout(60):
        while (await rows(engine.database, "SELECT status FROM scrape_request_log WHERE id = %s", (old,))) != [
            ("COMPLETE",)
        ]:
            for _, ids in (await replay.due(engine.database)).send:
                await process(engine, (await ingest(engine, ids)).next)
    assert await state(engine.database) == newest
    kept = await rows(
        engine.database,
        "SELECT l.observed_at = p.created_at FROM profile_log l JOIN raw_payload p ON p.fetch_id = l.fetch_id AND p.created_at = l.observed_at",
    )
    assert kept == [(True,)] * 2


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_the_order_of_writing_the_state_is_the_newest_observation(database: Database, seed: int) -> None:
    rng = Random(seed)
    told = [
        (
            NOON + timedelta(seconds=n),
            InstagramAccount(profile_id="1", handle="creator", followers=n, biography=f"at {n}"),
        )
        for n in range(12)
    ]
    rng.shuffle(told)
    for n, (at, record) in enumerate(told):
        await observe(database, "instagram", record, at=at, fetch=n)
    sql = "SELECT followers, biography, observed_at FROM instagram_account"
    assert await rows(database, sql) == [(11, "at 11", NOON + timedelta(seconds=11))]
    logged = await rows(database, "SELECT (metrics->>'followers')::int FROM profile_log ORDER BY observed_at")
    assert logged == [(n,) for n in range(12)]


async def test_an_older_observation_adds_what_no_newer_one_has_reported(database: Database) -> None:
    newer = InstagramAccount(profile_id="1", handle="creator", followers=5)
    older = InstagramAccount(profile_id="1", handle="before", followers=4, biography="about me")
    await observe(database, "instagram", newer, at=NOON, source="graphapi")
    await observe(database, "instagram", older, at=NOON - timedelta(hours=1), source="lama")
    found = await rows(
        database, "SELECT handle, followers, biography, source, observed_at, changed_at FROM instagram_account"
    )
    assert found == [("creator", 5, "about me", "graphapi", NOON, NOON)]
    ((told,),) = await rows(database, CHANGES)
    assert told == 2
    await observe(database, "instagram", older, at=NOON - timedelta(hours=2), source="lama")
    assert await rows(database, CHANGES) == [(2,)]  # it adds nothing any more


async def test_the_providers_own_version_goes_before_the_time_of_the_answer(database: Database) -> None:
    """Two pages of one listing may be answered in either order; a product says by itself which of its states is the newer one."""
    new = ShopifyProduct(product_id="1", store="shop.myshopify.com", title="new", updated_at=NOON)
    old = ShopifyProduct(product_id="1", store="shop.myshopify.com", title="old", updated_at=NOON - timedelta(days=1))
    await observe(database, "shopify", new, at=NOON, owner="shop.myshopify.com")
    await observe(database, "shopify", old, at=NOON + timedelta(hours=1), owner="shop.myshopify.com")
    assert await rows(database, "SELECT title, updated_at FROM shopify_product") == [("new", NOON)]
