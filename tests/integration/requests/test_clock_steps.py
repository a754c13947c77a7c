"""A step of the database's clock, of a second, an hour or a day: nothing is given out twice, and nothing waits longer than it was to wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.broker.windows import AHEAD
from beat_actors.credentials import upkeep
from beat_actors.database import Database
from beat_actors.database.reporting import Reporter
from beat_actors.fetches.leasing import USE_WITHIN
from beat_actors.pipeline.leases import claim
from beat_actors.pipeline.stage import StageResult
from beat_actors.requests import sweeps
from beat_actors.requests.steps import StepsBack
from beat_actors.settings import Settings
from beat_actors.webhooks import deliveries
from scheduler.daemon import JOBS
from tests.integration.requests.conftest import World
from tests.stages import retrieve
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, toy_engine

SECOND, HOUR, DAY = 1.0, 3600.0, 86_400.0
STAGES = "SELECT stage FROM scrape_fetch ORDER BY id"


@pytest.fixture
async def world(settings: Settings, clock: MovableClock) -> AsyncIterator[World]:
    del clock
    async with toy_engine(settings, ScriptedClient(lambda *_: answer()), "a") as engine:
        yield World(engine)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The database, as another process has it."""
    database = Database(settings, name="worker")
    yield database
    await database.close()


async def leased(world: World, asked: int = 1) -> list[int]:
    for i in range(asked):
        await world.ask(f"n{i}")
    return (await turn(world.engine.database, TOY)).leased


async def looked(world: World) -> None:
    async with world.engine.database.statements() as alone:
        await alone.now()


async def set_right(world: World) -> None:
    await looked(world)
    await StepsBack()(world.engine.database)


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_p4_a_cooldown_lasts_as_long_though_the_clock_steps_forth(
    world: World, clock: MovableClock, step: float
) -> None:
    world.client.script = lambda *_: answer(429, retry_after=7000)
    await retrieve(world.engine, await leased(world))
    await turn(world.engine.database, TOY)
    clock.step(step)
    assert (await turn(world.engine.database, TOY)).leased == []
    assert (await turn(world.engine.database, TOY)).leased == []  # it was written down, and is not moved again
    clock.advance(6900)
    assert (await turn(world.engine.database, TOY)).leased == []
    clock.advance(200)
    assert len((await turn(world.engine.database, TOY)).leased) == 1


async def test_p4_a_process_that_starts_after_a_step_forth_learns_of_it_from_those_that_found_it(
    world: World, clock: MovableClock
) -> None:
    settings = world.engine.settings
    world.client.script = lambda *_: answer(429, retry_after=7000)
    await retrieve(world.engine, await leased(world))
    await turn(world.engine.database, TOY)
    async with opened(settings) as other, opened(settings) as started:
        for database in (world.engine.database, other):
            await Reporter(database, name="worker").report()
        clock.step(DAY)
        for database in (world.engine.database, other):  # both find it, and each says so
            await Reporter(database, name="worker").report()
        assert (await turn(started, TOY)).leased == []
        clock.advance(6900)
        assert (await turn(started, TOY)).leased == []
        clock.advance(200)
        assert len((await turn(started, TOY)).leased) == 1


async def test_p4_what_a_provider_says_to_be_left_holds_though_the_clock_steps_forth(
    world: World, clock: MovableClock
) -> None:
    await leased(world, 0)
    await world.rows(
        "UPDATE credential SET reported_remaining = 0, reported_reset_at = clock_timestamp() + interval '10 minutes', "
        "updated_at = clock_timestamp() RETURNING id"
    )
    clock.step(HOUR)
    assert await leased(world) == []
    clock.advance(601)
    assert len((await turn(world.engine.database, TOY)).leased) == 1


@pytest.mark.parametrize("step", [0.5, SECOND, 5.0])
async def test_p4_a_lease_for_a_moment_later_is_not_used_before_though_the_clock_steps_forth(
    world: World, clock: MovableClock, step: float
) -> None:
    ids = await leased(world)
    await world.rows(
        "UPDATE scrape_fetch SET use_until = 'epoch', use_from = clock_timestamp() + interval '0.2 seconds' RETURNING id"
    )
    clock.step(step)
    (one,) = await claim(world.engine, ids, StageResult())
    assert 0 < one.use_from - one.claimed_at <= AHEAD
    assert one.use_until - one.claimed_at > AHEAD


@pytest.mark.parametrize("step", [SECOND, HOUR, DAY])
async def test_p2_a_lease_lasts_no_longer_after_a_step_back(world: World, clock: MovableClock, step: float) -> None:
    """Else a worker that freezes for long makes the call of a fetch that was given up meanwhile."""
    ids = await leased(world, 2)
    await world.rows(
        "UPDATE scrape_fetch SET use_until = 'epoch', use_from = clock_timestamp() + interval '0.2 seconds' WHERE id = %s RETURNING id",
        ids[1],
    )
    clock.step(-step)
    claims = await claim(world.engine, ids, StageResult())
    assert [one.use_from is None for one in claims] == [True, False]
    for one in claims:
        assert one.use_until - one.claimed_at <= USE_WITHIN
        assert (one.use_from or 0.0) - one.claimed_at <= AHEAD


async def test_p7_a_call_that_is_out_is_not_given_up_for_a_step_forth(world: World, clock: MovableClock) -> None:
    ids = await leased(world)
    database = world.engine.database
    await claim(world.engine, ids, StageResult())
    await sweeps.orphaned(database)
    clock.step(HOUR)
    assert (await sweeps.orphaned(database)).count == 0  # also where it is the first to see the clock after the step
    assert (await sweeps.due(database)).wake == set()
    assert (await sweeps.orphaned(database)).count == 0
    assert (await sweeps.check_and_cancel_long_running_tasks(database)).count == 0
    clock.advance(world.engine.settings.stage_lease + 1)
    assert (await sweeps.orphaned(database)).count == 1


async def test_p7_a_check_that_is_out_is_not_given_up_for_a_step_forth(world: World, clock: MovableClock) -> None:
    database = world.engine.database
    assert len(await upkeep.lease_checks(database, TOY, [1])) == 1
    clock.step(HOUR)
    await looked(world)
    assert (await upkeep.due(database)).wake == set()
    clock.advance(upkeep.lease_seconds(database.settings) + 1)
    assert (await upkeep.due(database)).wake == {"toy"}


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_a_step_back_leaves_no_work_of_the_dead(world: World, clock: MovableClock, step: float) -> None:
    """Of a worker that died before the step: a call, a lease that nobody claimed, and an answer that nobody read."""
    database = world.engine.database
    ids = await leased(world, 3)
    await claim(world.engine, ids[:1], StageResult())
    await retrieve(world.engine, ids[2:])
    await upkeep.lease_checks(database, TOY, [1])
    clock.step(-step)
    await set_right(world)
    clock.advance(world.engine.settings.stage_lease + 2)
    assert (await sweeps.orphaned(database)).count == 1
    found = dict((await sweeps.unsent(database, grace=5)).send)
    assert found == {"retrieve": [ids[1]], "ingest": [ids[2]]}
    clock.advance(upkeep.lease_seconds(database.settings))
    await upkeep.due(database)
    assert await world.rows("SELECT FROM credential_call") == []


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_a_cooldown_lasts_no_longer_after_a_step_back(world: World, clock: MovableClock, step: float) -> None:
    world.client.script = lambda *_: answer(429, retry_after=600)
    await retrieve(world.engine, await leased(world))
    await turn(world.engine.database, TOY)
    clock.step(-step)
    await set_right(world)
    await set_right(world)  # another leader, perhaps
    assert (await turn(world.engine.database, TOY)).leased == []
    clock.advance(599)
    assert (await turn(world.engine.database, TOY)).leased == []
    clock.advance(130)
    assert len((await turn(world.engine.database, TOY)).leased) == 1


async def test_p4_a_cooldown_that_may_be_of_after_the_step_is_not_shortened(world: World, clock: MovableClock) -> None:
    ids = await leased(world)
    clock.step(-HOUR)
    world.client.script = lambda *_: answer(429, retry_after=7200)
    await retrieve(world.engine, ids)
    await turn(world.engine.database, TOY)
    await set_right(world)
    clock.advance(HOUR + 60)
    assert (await turn(world.engine.database, TOY)).leased == []


async def test_waits_and_breakers_last_no_longer_after_a_step_back(world: World, clock: MovableClock) -> None:
    database = world.engine.database
    await leased(world)
    await world.rows(
        "UPDATE scrape_fetch SET stage = 'WAITING', not_before = clock_timestamp() + interval '5 minutes' RETURNING id"
    )
    await world.rows(
        "INSERT INTO breaker (platform, source, operation, kind, trips, open_until, since, recent) VALUES "
        "('toy', 'toy-first', 'look', 'upstream', 1, clock_timestamp() + interval '4 minutes', clock_timestamp(), '[[99999999999, 3, 3]]') RETURNING source"
    )
    await world.rows(
        "UPDATE lane SET reasons = '[]', blocked_until = clock_timestamp() + interval '4 minutes' RETURNING id"
    )
    clock.step(-DAY)
    await set_right(world)
    (row,) = await world.rows(
        "SELECT extract(epoch FROM f.not_before - clock_timestamp())::float8 AS pause, extract(epoch FROM b.open_until - clock_timestamp())::float8 AS rest, "
        "b.recent, b.since <= clock_timestamp() AS sees, l.blocked_until <= clock_timestamp() AS is_looked_at FROM scrape_fetch f, breaker b, lane l"
    )
    assert 290 < row.pause <= 300
    assert 230 < row.rest <= 240
    assert (row.recent, row.sees, row.is_looked_at) == ([], True, True)
    await StepsBack()(database)  # nothing is known of it any more
    assert (
        await world.rows("SELECT FROM scrape_fetch WHERE not_before < clock_timestamp() + interval '4 minutes'") == []
    )


async def test_p3_webhooks_are_reported_and_tried_again_after_a_step_back(world: World, clock: MovableClock) -> None:
    endpoint = (
        "INSERT INTO webhook_endpoint (url, events, key_id, secret, created_at, open_until, last_failure_at) "
        "VALUES ('https://a.invalid/', '{*}', 'test', '', clock_timestamp(), clock_timestamp() + interval '1 minute', clock_timestamp()) RETURNING id"
    )
    ((number,),) = await world.rows(endpoint)
    delivery = (
        "INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, next_at, expires_at, lease_until) "
        "SELECT %s, gen_random_uuid(), 'test', '{}', clock_timestamp(), clock_timestamp() + interval '50 seconds', "
        "clock_timestamp() + interval '1 day', CASE WHEN i = 1 THEN clock_timestamp() + interval '50 seconds' END FROM generate_series(1, 3) i RETURNING id"
    )
    await world.rows(delivery, number)
    await looked(world)
    clock.step(-HOUR)
    await set_right(world)
    (row,) = await world.rows(
        "SELECT created_at <= clock_timestamp() AS tells, open_until < clock_timestamp() + interval '62 seconds' AS opens FROM webhook_endpoint"
    )
    assert (row.tells, row.opens) == (True, True)
    clock.advance(62)
    assert len(await deliveries.claim(world.engine.database, 10)) >= 1
    assert (
        await world.rows("SELECT FROM webhook_delivery WHERE next_at > clock_timestamp() + interval '61 seconds'") == []
    )


async def test_nothing_is_forgotten_within_an_hour_after_a_step_forth(world: World, clock: MovableClock) -> None:
    """A clock that runs years ahead for a moment must not cost what is kept for months."""
    database = world.engine.database
    forgets: list[Any] = [
        job for job in JOBS if job.name in ("retention", "entities", "webhooks_forgotten", "partitions")
    ]
    await world.rows("INSERT INTO credential_event (credential_id, kind, cause) VALUES (1, 'test', '{}') RETURNING id")
    before = await world.rows("SELECT beat_partitioned() AS parent, count(*) FROM pg_inherits GROUP BY 1")
    await looked(world)
    clock.step(300 * DAY)
    await looked(world)

    async def forget() -> int:
        for job in forgets:
            await job.sweep(database, None, None)
        return len(await world.rows("SELECT FROM credential_event WHERE kind = 'test'"))

    assert len(before) > 0
    assert await forget() == 1
    clock.advance(HOUR + 60)
    assert await forget() == 0
