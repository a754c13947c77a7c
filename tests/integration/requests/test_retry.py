"""Running again what failed: the same request, a new run, and nothing of the old one that counts."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from beat_actors.broker.turn import turn
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import retry, sweeps
from beat_actors.requests.views import Filter
from tests.events import DONE
from tests.stages import retrieve
from tests.worlds import TOY, answer


def gone(_source, _call):
    return answer(400, b"gone")


def there(_source, _call):
    return answer()


async def test_s3_7_a_failed_request_is_run_again_under_its_id(world) -> None:
    world.client.script = gone
    asked = await world.ask(tags={"a": "b"})
    await world.run()
    world.client.script = there
    await retry.retry(world.engine.database, asked.id)
    row = await world.request(asked.id)
    assert (row.status, row.retry_count, row.data, row.scraped_at, row.tags) == ("PENDING", 1, None, None, {"a": "b"})
    await world.run()
    row = await world.request(asked.id)
    assert (row.status, row.data, row.open_fetches) == ("COMPLETE", {"items": 0, "source": "toy-second"}, 0)
    assert await world.ends() == [(asked.id, "FAILED"), (asked.id, "COMPLETE")]
    assert await world.lives() == {asked.id: ["accepted", "processing", "failed", *DONE]}
    with pytest.raises(Conflict, match="COMPLETE"):
        await retry.retry(world.engine.database, asked.id)
    with pytest.raises(NotFound):
        await retry.retry(world.engine.database, 10**9)


async def test_s3_7_failed_requests_are_retried_by_filter_and_the_same_work_is_done_once(world) -> None:
    world.client.script = gone
    failed = [
        (await world.ask(name, force=False, account_id=account)).id
        for name, account in [("a", None), ("b", None), ("c", "acme")]
    ]
    await world.run()
    failed.append((await world.ask("a")).id)
    await world.run()
    cancelled = await world.ask("d")
    await world.cancel(cancelled.id)
    flying = await world.ask("b")
    world.client.script = there
    world.client.calls.clear()
    first = await retry.retry_matching(world.engine.database, Filter(status="FAILED", error="bad_request"), limit=3)
    rest = await retry.retry_matching(world.engine.database, Filter(status="FAILED", cursor=first.next_cursor))
    assert sorted(one.id for one in [*first.outcomes, *rest.outcomes]) == sorted(failed)
    assert rest.next_cursor is None
    assert all(one.error is None for one in [*first.outcomes, *rest.outcomes])
    await world.run()
    assert await world.statuses() == {**dict.fromkeys([*failed, flying.id], "COMPLETE"), cancelled.id: "CANCELLED"}
    assert len(world.client.calls) == 3  # a for two, b for two, c
    with pytest.raises(BadInput):
        await retry.retry_matching(world.engine.database, Filter(status="COMPLETE"))


async def test_a_filter_retries_what_is_alike_in_one_go(world) -> None:
    world.client.script = gone
    failed = []
    for _ in range(3):
        failed.append((await world.ask()).id)
        await world.run()
    world.client.script = there
    await retry.retry_matching(world.engine.database, Filter(status="FAILED"))
    await world.run()
    assert await world.statuses() == dict.fromkeys(failed, "COMPLETE")
    assert len(world.client.calls) == 4


async def test_a_call_of_the_run_before_neither_ends_nor_changes_the_new_one(world, clock) -> None:
    asked = await world.ask(expires_at=datetime.now(UTC) + timedelta(minutes=1))
    leased = (await turn(world.engine.database, TOY)).leased
    original = world.client.exchange

    async def too_late(source, call):
        clock.advance(61)
        await sweeps.expired(world.engine.database)
        await retry.retry(world.engine.database, asked.id)
        world.client.exchange = original
        return await original(source, call)

    world.client.exchange = too_late
    retrieved = await retrieve(world.engine, leased)
    await process(world.engine, (await ingest(world.engine, retrieved.next)).next)
    row = await world.request(asked.id)
    assert (row.status, row.open_fetches, row.retry_count, row.expires_at) == ("PENDING", 1, 1, None)
    await world.run()
    assert (await world.request(asked.id)).status == "COMPLETE"
    fetches = await world.rows("SELECT run, stage FROM scrape_fetch ORDER BY run")
    assert [(fetch.run, fetch.stage) for fetch in fetches] == [(0, "DONE"), (1, "DONE")]
    assert await world.ends() == [(asked.id, "FAILED"), (asked.id, "COMPLETE")]
    assert await world.lives() == {asked.id: ["accepted", "processing", "failed", *DONE]}


async def test_a_call_of_the_run_before_that_comes_back_empty_is_not_made_again(world) -> None:
    asked = await world.ask()
    leased = (await turn(world.engine.database, TOY)).leased
    original = world.client.exchange

    async def cancelled_meanwhile(source, call):
        await world.cancel(asked.id)
        await retry.retry(world.engine.database, asked.id)
        world.client.exchange = original
        return await original(source, call)

    def down_once(source, call):
        world.client.script = there
        return answer(500)

    world.client.script = down_once
    world.client.exchange = cancelled_meanwhile
    await world.work(leased)
    await world.run()
    fetches = await world.rows("SELECT run, stage FROM scrape_fetch ORDER BY run")
    assert [(fetch.run, fetch.stage) for fetch in fetches] == [(0, "CANCELLED"), (1, "DONE")]
    assert (await world.request(asked.id)).status == "COMPLETE"


async def test_who_left_work_that_goes_on_has_to_join_it(world) -> None:
    first, _ = await world.ask(), await world.ask()
    await world.cancel(first.id)
    with pytest.raises(Conflict, match="goes on for others"):
        await retry.retry(world.engine.database, first.id)


async def test_a_retry_and_the_same_asked_anew_share_the_work_whoever_is_first(world) -> None:
    for _ in range(8):
        world.client.script = gone
        asked = await world.ask()
        await world.run()
        world.client.script = there
        world.client.calls.clear()
        _, *anew = await asyncio.gather(retry.retry(world.engine.database, asked.id), *(world.ask() for _ in range(4)))
        await world.run()
        statuses = await world.statuses()
        assert {statuses[one.id] for one in [asked, *anew]} == {"COMPLETE"}
        assert len(world.client.calls) == 1
        async with world.engine.database.transaction() as transaction:
            await transaction.run("DELETE FROM credential_usage")
