"""What a turn does to rows: waits with reasons, deadlines, repairs, and edits by hand."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from beat_actors.broker.turn import WAKE_BATCH, turn
from beat_actors.database import Database, migrate
from beat_actors.engine import Engine
from beat_actors.errors import NoAvailableSources, StorageUnavailable
from beat_actors.fetches.claims import ISOLATE_AFTER
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import Answer, FetchSpec, Verdict
from beat_actors.requests import explain, intake, lifecycle, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from beat_actors.simulator.damage import NESTED
from tests.events import DONE, LIVES, lives
from tests.stages import retrieve
from tests.worlds import TOY, First, MovableClock, ScriptedClient, answer, engine_with, registered


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    client = ScriptedClient(lambda source, call: answer())
    engine = engine_with(settings, client)
    with registered(TOY):
        yield engine
    await engine.close()


@pytest.fixture
def clock(database_url: str) -> MovableClock:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


async def submit(engine: Engine, count: int = 1, **fields) -> list[int]:
    wanted = [NewRequest("toy", "look", {"name": f"n{i}"}, **fields) for i in range(count)]
    return [one.id for one in await intake.accept(engine.database, wanted)]


GONE = "UPDATE scrape_fetch SET operation = 'gone' WHERE stage = 'SETTLING'"
ENDED = "SELECT id, status, data->'error'->>'code' AS code FROM scrape_request_log"


async def rows(engine: Engine, sql: str, *params):
    async with engine.database.transaction() as transaction:
        return await transaction.rows(sql, params)


async def test_a_request_goes_all_the_way(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    (request,) = await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    retrieved = await retrieve(engine, leased)
    ingested = await ingest(engine, retrieved.next)
    await process(engine, ingested.next)
    (row,) = await rows(
        engine, "SELECT status, data, picked_at, scraped_at FROM scrape_request_log WHERE id = %s", request
    )
    assert row.status == "COMPLETE"
    assert row.picked_at <= row.scraped_at
    assert lives(await rows(engine, LIVES)) == {request: DONE}


async def test_p2_a_stage_delivered_twice_works_once(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 3)
    leased = (await turn(engine.database, TOY)).leased
    first, again = await retrieve(engine, leased), await retrieve(engine, leased)
    assert (len(first.next), again.next) == (3, [])
    assert len(engine.client.calls) == 3
    ingested = await ingest(engine, first.next)
    assert (await ingest(engine, first.next)).next == []
    await process(engine, ingested.next)
    await process(engine, ingested.next)
    assert [tuple(r) for r in await rows(engine, "SELECT status, count(*) FROM scrape_request_log GROUP BY 1")] == [
        ("COMPLETE", 3)
    ]


async def test_s3_1_everyone_waits_with_reasons_and_nothing_is_stamped(engine: Engine) -> None:
    for key in "ab":
        credential, _ = await engine.credentials.add("toy-first", {"key": key})
        async with engine.database.transaction() as transaction:
            await transaction.run(
                "UPDATE credential SET disabled_till = clock_timestamp() + interval '10 minutes' WHERE id = %s",
                (credential,),
            )
    (request, *_) = await submit(engine, 5)
    result = await turn(engine.database, TOY)
    assert result.leased == []
    (lane,) = await rows(engine, "SELECT blocked_until, reasons FROM lane")
    assert timedelta(minutes=9) < lane.blocked_until - datetime.now(UTC) < timedelta(minutes=11)
    assert {reason["source"] for reason in lane.reasons} == set(TOY.sources)
    assert await rows(engine, "SELECT id FROM scrape_fetch WHERE not_before IS NOT NULL") == []
    async with engine.database.transaction() as transaction:
        found = await explain.why(transaction, request)
    assert "cooling down" in found.summary
    assert f"{lane.blocked_until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" in found.summary  # with its day
    assert found.next_attempt_at == lane.blocked_until
    with pytest.raises(NoAvailableSources, match="No source is available at the moment") as nothing:
        await engine.credentials.get_enabled_cred("toy", "look")
    assert nothing.value.earliest_at == lane.blocked_until
    assert nothing.value.earliest_at.tzinfo is UTC


async def test_s3_8_an_edit_by_hand_takes_effect_at_the_next_turn(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("toy-first", {"key": "a"})
    await engine.credentials.disable(credential, reason="test")
    await submit(engine)
    assert (await turn(engine.database, TOY)).leased == []
    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE credential SET enabled = true, disabled_till = NULL WHERE id = %s", (credential,))
    assert "toy" in (await sweeps.waiting(engine.database)).wake
    assert len((await turn(engine.database, TOY)).leased) == 1
    assert await rows(engine, "SELECT id FROM lane WHERE reasons IS NOT NULL") == []


async def test_s3_1_calls_that_are_out_take_room_also_from_who_only_asks_for_a_credential(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("toy-second", {"key": "a"})
    assert await engine.credentials.get_enabled_cred("toy", "look") == credential
    await submit(engine, 10)
    assert len((await turn(engine.database, TOY)).leased) == 10  # all that the credential may do in a minute
    assert await engine.credentials.fetch_enabled_sources("toy", "look") == []
    with pytest.raises(NoAvailableSources) as nothing:
        await engine.credentials.get_enabled_cred("toy", "look")
    assert nothing.value.earliest_at is not None


async def test_s3_2_and_s3_3_a_deadline_before_the_earliest_time_fails_now_and_says_why(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("toy-first", {"key": "a"})
    async with engine.database.transaction() as transaction:
        await transaction.run(
            "UPDATE credential SET disabled_till = clock_timestamp() + interval '1 hour' WHERE id = %s", (credential,)
        )
    soon = datetime.now(UTC) + timedelta(minutes=5)
    (out_of_time,) = await submit(engine, expires_at=soon)
    (patient,) = await submit(engine, expires_at=soon + timedelta(hours=3), force=True)
    await turn(engine.database, TOY)
    found = {row.id: row for row in await rows(engine, "SELECT id, status, data FROM scrape_request_log")}
    assert found[patient].status == "PENDING"
    assert found[out_of_time].status == "FAILED"
    error = found[out_of_time].data["error"]
    assert error["message"] == "No source is available at the moment"
    assert error["reasons"]
    assert error["earliest_at"] > soon.timestamp()


async def test_s4_8_an_expired_request_is_failed_and_never_leased(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    (request,) = await submit(engine, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    clock.advance(61)
    assert (await sweeps.expired(engine.database)).count == 1
    assert (await turn(engine.database, TOY)).leased == []
    (row,) = await rows(engine, "SELECT status, data FROM scrape_request_log WHERE id = %s", request)
    assert (row.status, row.data["error"]["code"]) == ("FAILED", "expired")
    assert lives(await rows(engine, LIVES)) == {request: ["accepted", "failed"]}


async def test_s4_10_a_late_worker_is_fenced_out_and_the_call_stays_on_the_books(
    engine: Engine, clock: MovableClock
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased

    def die_meanwhile(_source, _call):
        clock.advance(3600)
        return answer()

    engine.client.script = die_meanwhile
    swept = []

    async def sweep_during(source, call):
        exchange = await original(source, call)
        swept.append((await sweeps.orphaned(engine.database)).count)
        return exchange

    original, engine.client.exchange = engine.client.exchange, sweep_during
    result = await retrieve(engine, leased)
    assert swept == [1]
    assert (result.next, result.zombies) == ([], 1)
    (trace,) = await rows(engine, "SELECT outcome FROM trace_log")
    assert trace.outcome == "unknown"
    await turn(engine.database, TOY)
    (fetched,) = await rows(engine, "SELECT stage, rotations FROM scrape_fetch")
    assert (fetched.stage, fetched.rotations) == ("LEASED", 1)


async def test_a_lease_that_was_not_used_in_time_is_returned(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    clock.advance(30)
    result = await retrieve(engine, leased)
    assert (result.next, result.wake) == ([], {"toy"})
    assert engine.client.calls == []
    await turn(engine.database, TOY)
    assert await rows(engine, "SELECT calls FROM credential_usage WHERE limit_name = 'total'") == []
    assert (await rows(engine, "SELECT stage FROM scrape_fetch"))[0].stage == "LEASED"


@pytest.mark.parametrize("change", ["disabled", "dead", "cooling down"])
async def test_p4_a_lease_is_not_used_when_its_credential_was_put_out_of_use_since(engine: Engine, change: str) -> None:
    credential, _ = await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    how = {
        "disabled": "enabled = false",
        "dead": "dead_at = now()",
        "cooling down": "disabled_till = now() + interval '1 h'",
    }
    await rows(engine, f"UPDATE credential SET {how[change]} WHERE id = %s RETURNING id", credential)
    assert (await retrieve(engine, leased)).next == []
    assert engine.client.calls == []


async def test_p4_a_worker_that_is_slow_to_call_does_not_bring_calls_closer_together(
    engine: Engine, clock: MovableClock
) -> None:
    """Three calls a second: three leases that are taken up eight seconds late leave no room for others until a second after."""
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 6)
    leased = (await turn(engine.database, TOY)).leased
    assert len(leased) == 3
    clock.advance(8)
    assert (await turn(engine.database, TOY)).leased == []
    await retrieve(engine, leased)
    assert (await turn(engine.database, TOY)).leased == []
    clock.advance(1.5)
    assert len((await turn(engine.database, TOY)).leased) == 3


async def test_p4_a_call_counts_from_the_beginning_of_its_answer_on(engine: Engine, clock: MovableClock) -> None:
    """It had left long before; when in between the provider took it up, nobody knows."""
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 6)
    leased = (await turn(engine.database, TOY)).leased
    assert len(leased) == 3
    exchange = engine.client.exchange

    async def slow(source, call):
        return dataclasses.replace(await exchange(source, call), ms=5000.0, answered_after=3.0)

    engine.client.exchange = slow
    clock.advance(1)
    await retrieve(engine, leased)
    clock.advance(3.5)
    assert (await turn(engine.database, TOY)).leased == []
    clock.advance(0.8)
    assert len((await turn(engine.database, TOY)).leased) == 3


async def test_an_unused_lease_leaves_no_trace(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    clock.advance(30)
    await retrieve(engine, leased)
    assert await rows(engine, "SELECT 1 FROM trace_log") == []


async def test_lost_messages_are_found_in_the_rows(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 2)
    leased = (await turn(engine.database, TOY)).leased
    assert (await sweeps.unsent(engine.database, grace=5)).send == []
    clock.advance(6)
    assert [(stage, sorted(ids)) for stage, ids in (await sweeps.unsent(engine.database, grace=5)).send] == [
        ("retrieve", sorted(leased))
    ]
    assert (await sweeps.unsent(engine.database, grace=5)).send == []


async def test_p6_what_may_kill_its_worker_is_isolated(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 3)
    leased = (await turn(engine.database, TOY)).leased
    retrieved = sorted((await retrieve(engine, leased)).next)
    for tries in (0, 1, ISOLATE_AFTER):
        async with engine.database.transaction() as transaction:
            await transaction.run("UPDATE scrape_fetch SET stage_attempts = %s", (tries,))
        clock.advance(6)
        sent = (await sweeps.unsent(engine.database, grace=5)).send
        if tries == 0:
            assert sent == [("ingest", retrieved)]
        elif tries == 1:
            assert sent == [("ingest", [fetch]) for fetch in retrieved]
        else:
            assert sent == [("suspects", retrieved)]


@pytest.mark.parametrize("stage", [ingest, process])
async def test_p6_what_may_kill_its_worker_is_claimed_where_it_is_alone(engine: Engine, stage: Callable) -> None:
    """The message of its batch, which the janitor returns after each death, brings its neighbours and not it."""
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 3)
    leased = (await turn(engine.database, TOY)).leased
    batch = sorted((await retrieve(engine, leased)).next)
    if stage is process:
        batch = sorted((await ingest(engine, batch)).next)
    isolated_fetch = batch[0]
    async with engine.database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_fetch SET stage_attempts = %s WHERE id = %s", (ISOLATE_AFTER, isolated_fetch)
        )
    before = await stages(engine)
    await stage(engine, batch)
    await stage(engine, [isolated_fetch])
    after = await stages(engine)
    assert {fetch for fetch in batch if after[fetch] != before[fetch]} == set(batch) - {isolated_fetch}
    await stage(engine, [isolated_fetch], isolated=True)
    assert len(set((await stages(engine)).values())) == 1


async def stages(engine: Engine) -> dict[int, str]:
    return {row.id: row.stage for row in await rows(engine, "SELECT id, stage FROM scrape_fetch")}


async def test_s4_3_what_runs_beyond_its_limit_is_broken_off_and_settled(
    engine: Engine, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beat_actors.pipeline.stage.RENEW_EVERY", 0.05)
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 2)
    leased = (await turn(engine.database, TOY)).leased
    slow, called = asyncio.Event(), []

    async def one_hangs(source, call):
        called.append(call)
        if len(called) == 1:
            await slow.wait()
        return await original(source, call)

    original, engine.client.exchange = engine.client.exchange, one_hangs
    work = asyncio.create_task(retrieve(engine, leased))
    while len(called) < 2:  # noqa: ASYNC110 - polling is the test
        await asyncio.sleep(0.01)
    assert (await sweeps.check_and_cancel_long_running_tasks(engine.database)).count == 0
    async with engine.database.transaction() as transaction:  # the other has just been taken up
        await transaction.run(
            "UPDATE scrape_fetch SET claimed_at = clock_timestamp() - make_interval(secs => %s) WHERE id = %s",
            (TOY.flows["look"].time_limit + 1, leased[0]),
        )
    assert (await sweeps.check_and_cancel_long_running_tasks(engine.database)).count == 1
    result = await work
    assert result.next == [leased[1]]
    assert (await sweeps.orphaned(engine.database)).count == 1
    again = (await turn(engine.database, TOY)).leased
    assert again == [leased[0]]
    outcomes = await rows(engine, "SELECT outcome FROM trace_log ORDER BY outcome")
    assert [row.outcome for row in outcomes] == ["ok", "unknown"]


async def test_a_cancelled_request_makes_no_call_that_was_not_out(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    waiting, leased_one, out = await submit(engine, 3)
    leased = (await turn(engine.database, TOY)).leased

    async def cancel(request: int) -> None:
        async with engine.database.transaction() as transaction:
            assert await lifecycle.cancel(transaction, [request], reason="no longer wanted") == [request]
            assert await lifecycle.cancel(transaction, [request], reason="no longer wanted") == []

    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE scrape_fetch SET stage = 'WAITING' WHERE request_id = %s", (waiting,))
    await cancel(waiting)
    await cancel(leased_one)

    async def cancelled_meanwhile(source, call):
        await cancel(out)
        return await original(source, call)

    original, engine.client.exchange = engine.client.exchange, cancelled_meanwhile
    retrieved = await retrieve(engine, leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)
    await turn(engine.database, TOY)
    found = await rows(
        engine,
        "SELECT r.id, r.status, f.stage, f.attempt FROM scrape_request_log r JOIN scrape_fetch f ON f.request_id = r.id",
    )
    assert {row.id: (row.status, row.stage, row.attempt) for row in found} == {
        waiting: ("CANCELLED", "CANCELLED", 0),
        leased_one: ("CANCELLED", "CANCELLED", 0),
        out: ("CANCELLED", "DONE", 1),  # it was paid for: what it brought is kept
    }
    assert lives(await rows(engine, LIVES)) == {
        waiting: ["accepted", "cancelled"],
        leased_one: ["accepted", "cancelled"],
        out: ["accepted", "processing", "cancelled"],
    }


async def test_what_an_ended_request_would_still_fetch_is_not_fetched(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    (request,) = await submit(engine, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    leased = (await turn(engine.database, TOY)).leased
    engine.client.script = lambda source, call: answer(500)
    await retrieve(engine, leased)
    clock.advance(61)
    assert (await sweeps.expired(engine.database)).count == 1
    assert (await turn(engine.database, TOY)).leased == []
    (row,) = await rows(engine, "SELECT stage FROM scrape_fetch WHERE request_id = %s", request)
    assert row.stage == "CANCELLED"


async def test_s4_6_and_p6_a_payload_that_kills_its_worker_is_quarantined_at_the_limit(
    engine: Engine, clock: MovableClock
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await engine.credentials.add("toy-second", {"key": "a"})
    await submit(engine)
    retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
    async with engine.database.transaction() as transaction:  # as so many workers left it that died over it
        await transaction.run("UPDATE scrape_fetch SET stage_attempts = %s", (engine.settings.stage_attempts,))
    assert (await ingest(engine, retrieved.next, isolated=True)).next == []
    (poison,) = await rows(engine, "SELECT kind, error FROM quarantine")
    assert poison.kind == "poison"
    await turn(engine.database, TOY)
    (fetched,) = await rows(engine, "SELECT stage, source, unreadable FROM scrape_fetch")
    assert (fetched.stage, fetched.source, fetched.unreadable) == ("LEASED", "toy-second", ["toy-first"])


async def test_p6_p7_a_call_that_cannot_be_put_together_costs_its_neighbours_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await engine.credentials.add("toy-second", {"key": "b"})
    build = First.endpoints["look"].build

    def broken(spec, secret):
        if spec.params["name"] == "n1" and secret["key"] == "a":
            raise ValueError(f"the secret {secret['key']} in an error")
        return build(spec, secret)

    endpoints = {"look": dataclasses.replace(First.endpoints["look"], build=broken)}
    monkeypatch.setattr(First, "endpoints", endpoints)
    await submit(engine, 3)
    for _ in range(3):
        retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
    statuses = await rows(engine, "SELECT status, count(*) FROM scrape_request_log GROUP BY 1")
    assert [tuple(row) for row in statuses] == [("COMPLETE", 3)]
    assert engine.client.calls == [("toy-first", "a"), ("toy-first", "a"), ("toy-second", "b")]
    # What was never sent is no call: nothing is traced and nothing is charged for it.
    assert [row.outcome for row in await rows(engine, "SELECT outcome FROM trace_log")] == ["ok"] * 3


async def test_p1_a_lease_whose_credential_was_removed_is_given_back(engine: Engine) -> None:
    removed = await engine.credentials.add("toy-first", {"key": "a"})
    await engine.credentials.add("toy-second", {"key": "b"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    async with engine.database.transaction() as transaction:
        await transaction.run("DELETE FROM credential WHERE id = %s", (removed[0],))
    assert (await retrieve(engine, leased)).next == []
    assert engine.client.calls == []
    retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
    assert len(retrieved.next) == 1
    assert engine.client.calls == [("toy-second", "b")]


async def test_p1_a_payload_of_a_source_that_is_gone_goes_to_quarantine_and_its_fetch_on(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await engine.credentials.add("toy-second", {"key": "b"})
    await submit(engine)
    retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
    async with engine.database.transaction() as transaction:
        await transaction.run("UPDATE scrape_fetch SET source = 'gone'")
    assert (await ingest(engine, retrieved.next)).next == []
    (row,) = await rows(engine, "SELECT kind, error FROM quarantine")
    assert row.kind == "malformed"
    assert "this version of Beat has no 'gone'" in row.error
    retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)
    assert [row.status for row in await rows(engine, "SELECT status FROM scrape_request_log")] == ["COMPLETE"]


async def test_s4_5_what_nothing_would_settle_goes_on_after_fifteen_minutes(
    engine: Engine, clock: MovableClock
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    (request,) = await submit(engine)
    engine.client.script = lambda source, call: answer(500)
    await retrieve(engine, (await turn(engine.database, TOY)).leased)
    async with engine.database.transaction() as transaction:
        assert await transaction.run("DELETE FROM settlement") == 1
    engine.client.script = lambda source, call: answer()
    clock.advance(890)
    assert (await sweeps.unsettled(engine.database)).count == 0
    clock.advance(11)
    assert (await sweeps.unsettled(engine.database)).wake == {"toy"}
    assert (await sweeps.unsettled(engine.database)).count == 0
    for _ in range(2):
        retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
    assert [tuple(row) for row in await rows(engine, ENDED)] == [(request, "COMPLETE", None)]
    ((charged,),) = await rows(engine, "SELECT sum(calls)::int FROM credential_usage WHERE limit_name = 'total'")
    assert charged == 2


@pytest.mark.parametrize("change", ["UPDATE settlement SET outcome = 'of tomorrow'", GONE])
async def test_p1_a_settlement_that_this_version_cannot_read_stops_nobody(engine: Engine, change: str) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await engine.credentials.add("toy-second", {"key": "b"})
    first, second = await submit(engine, 2)
    leased = (await turn(engine.database, TOY)).leased
    engine.client.script = lambda source, call: answer(500 if call.query["of"] == "n0" else 200)
    retrieved = await retrieve(engine, leased)
    async with engine.database.transaction() as transaction:
        assert await transaction.run(change + " WHERE outcome = 'upstream_down'" * (change != GONE)) > 0
    engine.client.script = lambda source, call: answer()
    await process(engine, (await ingest(engine, retrieved.next)).next)
    for _ in range(3):
        retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
    ended = {row.id: (row.status, row.code) for row in await rows(engine, ENDED)}
    assert ended[second] == ("COMPLETE", None)
    assert ended[first] == (("FAILED", "unknown_operation") if change == GONE else ("COMPLETE", None))


async def test_p7_what_came_back_is_committed_once_postgresql_answers_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 3)
    leased = (await turn(engine.database, TOY)).leased
    transaction, refused = engine.database.transaction, 0

    def away():
        nonlocal refused
        if engine.client.calls and refused < 3:
            refused += 1
            raise StorageUnavailable("PostgreSQL did not answer")
        return transaction()

    monkeypatch.setattr(engine.database, "transaction", away)
    retrieved = await retrieve(engine, leased)
    assert (refused, sorted(retrieved.next)) == (3, sorted(leased))
    assert len(engine.client.calls) == 3
    assert len(await rows(engine, "SELECT 1 FROM trace_log WHERE outcome = 'ok'")) == 3


async def test_p6_an_answer_that_cannot_be_judged_harms_only_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("toy-first", "toy-second"):
        await engine.credentials.add(source, {"key": "a"})
    await submit(engine, 3)
    engine.client.script = lambda source, call: answer(body=NESTED if call.query["of"] == "n1" else b"{}")
    classify = First.classify

    def by_its_body(source: First, answer: Answer) -> Verdict:
        msgspec.json.decode(answer.body)
        return classify(source, answer)

    monkeypatch.setattr(First, "classify", by_its_body)
    retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
    assert len(retrieved.next) == 2
    (again,) = (await turn(engine.database, TOY)).leased
    assert again not in retrieved.next
    (fetched,) = await rows(engine, "SELECT source, unreadable FROM scrape_fetch WHERE id = %s", again)
    assert (fetched.source, fetched.unreadable) == ("toy-second", ["toy-first"])
    traced = await rows(engine, "SELECT detail FROM trace_log WHERE outcome = 'malformed'")
    assert ["RecursionError" in row.detail for row in traced] == [True]


async def test_p6_what_cannot_be_stored_harms_only_itself(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, 3)
    retrieved = await retrieve(engine, (await turn(engine.database, TOY)).leased)
    flow = TOY.flows["look"]

    def spoil_one(spec, params, parsed, items):
        return [FetchSpec("look", {"name": "a\0b"})] if params["name"] == "n1" else []

    monkeypatch.setitem(TOY.flows, "look", dataclasses.replace(flow, follow_ups=spoil_one))
    ingested = await ingest(engine, retrieved.next)
    assert len(ingested.next) == 2
    (bad,) = await rows(engine, "SELECT kind, error FROM quarantine")
    assert "PostgreSQL cannot hold" in bad.error


async def test_a_missing_thing_fails_its_request_and_asks_nobody_else(engine: Engine) -> None:
    for source in TOY.sources:
        await engine.credentials.add(source, {"key": "a"})
    engine.client.script = lambda source, call: answer(404, b"gone")
    (request,) = await submit(engine)
    await retrieve(engine, (await turn(engine.database, TOY)).leased)
    await turn(engine.database, TOY)
    (row,) = await rows(engine, "SELECT status, data FROM scrape_request_log WHERE id = %s", request)
    assert (row.status, row.data["error"]["code"]) == ("FAILED", "missing")
    assert [source for source, _ in engine.client.calls] == ["toy-first"]


async def test_the_flight_recorder_has_every_transition(engine: Engine) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    engine.client.script = lambda source, call: answer(429, retry_after=700)
    await submit(engine)
    await retrieve(engine, (await turn(engine.database, TOY)).leased)
    await turn(engine.database, TOY)
    events = await rows(engine, "SELECT kind, until, cause FROM credential_event ORDER BY id")
    assert [event.kind for event in events] == ["added", "rate_limited"]
    assert events[1].until - datetime.now(UTC) > timedelta(seconds=690)
    decisions = await rows(engine, "SELECT seed, leased, settled, detail FROM broker_decision ORDER BY at")
    assert [(d.leased, d.settled) for d in decisions] == [(1, 0), (0, 1)]
    blocked = {reason["source"]: reason for reason in decisions[1].detail["blocked"]}
    assert (blocked["toy-first"]["lanes"], blocked["toy-first"]["credentials"]) == (1, 1)


async def test_a_decision_says_what_was_given_and_by_which_rules(engine: Engine) -> None:
    """What a replay of history needs beside the fetches; the rules once for each revision."""
    await engine.credentials.add("toy-first", {"key": "a"})
    for count in (1, 2):  # of two the first is asked for already
        await submit(engine, count)
        assert len((await turn(engine.database, TOY)).leased) == 1
    async with engine.database.statements() as alone:
        await alone.run("INSERT INTO flow_setting (platform, flow, paused) VALUES ('toy', 'look', true)")
    await submit(engine, 3)
    await turn(engine.database, TOY)
    first, second, third = [row.detail for row in await rows(engine, "SELECT detail FROM broker_decision ORDER BY at")]
    leased = await rows(engine, "SELECT id, credential_id FROM scrape_fetch WHERE stage = 'LEASED' ORDER BY id")
    given = [(detail["leases"]["fetches"], detail["leases"]["credentials"]) for detail in (first, second, third)]
    assert given == [*(([row.id], [row.credential_id]) for row in leased), ([], [])]
    assert first["capacity"] == engine.settings.broker_batch
    assert first["rules"]["limits"]["toy-first"][0]["calls"] == TOY.sources["toy-first"].limits[0].calls
    assert (second["revision"], "rules" in second) == (first["revision"], False)
    assert third["revision"] != first["revision"]
    assert third["rules"]["flows"]["look"] == 0


async def test_a_frozen_turn_is_let_go(engine: Engine, settings: Settings, database_url: str) -> None:
    """A worker stopped by its host in the middle of a turn: the platform's lock is taken from it, and the next turn leases."""
    await asyncio.to_thread(migrate.upgrade, database_url)  # a copy of a database does not have its defaults
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    frozen, begun, woken = Database(settings, name="frozen"), asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        begun.set()
        await woken.wait()

    sleeper = asyncio.create_task(turn(frozen, TOY, begun=freeze))
    await begun.wait()
    leased: list[int] = []
    while not leased:
        with contextlib.suppress(StorageUnavailable):
            leased = (await turn(engine.database, TOY)).leased
    woken.set()
    with pytest.raises(StorageUnavailable):
        await sleeper
    await frozen.close()
    assert len(leased) == 1


async def test_a_lease_is_to_be_used_before_its_claim_can_end(settings: Settings) -> None:
    """A worker that froze after its claim finds its call too late by the time that others take the fetch for given up."""
    impatient = settings.model_copy(update={"stage_lease": 4.0})
    engine = engine_with(impatient, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        await engine.credentials.add("toy-first", {"key": "a"})
        await submit(engine)
        assert (await turn(engine.database, TOY)).leased
        (row,) = await rows(
            engine,
            "SELECT use_until <= clock_timestamp() + interval '4 s' AS short, use_until > clock_timestamp() AS open FROM scrape_fetch",
        )
    await engine.close()
    assert (row.short, row.open) == (True, True)


async def test_what_waits_in_its_queue_is_not_sent_again(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    clock.advance(60)
    # The message at the head of the queue is older than this fetch's own, which waits behind it.
    assert (await sweeps.unsent(engine.database, grace=5, oldest={"retrieve": 61.0})).send == []
    assert (await sweeps.unsent(engine.database, grace=5, oldest={"ingest": 61.0, "retrieve": 2.0})).send == [
        ("retrieve", leased)
    ]


async def test_an_urgent_lease_that_nobody_took_is_sent_to_retrieve_whatever_waits_there(
    engine: Engine, clock: MovableClock
) -> None:
    """Also while no worker takes the queue `express`, as before an upgrade."""
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine, priority=Priority.CUSTOMER)
    leased = (await turn(engine.database, TOY)).leased
    clock.advance(6)
    found = await sweeps.unsent(engine.database, grace=5, oldest={"retrieve": 61.0, "express": 61.0})
    assert found.send == [("retrieve", leased)]


async def test_a_head_that_is_said_to_be_ages_old_keeps_nothing_back_for_ever(
    engine: Engine, clock: MovableClock
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await submit(engine)
    leased = (await turn(engine.database, TOY)).leased
    clock.advance(sweeps.LAST_RESORT + 6)
    assert (await sweeps.unsent(engine.database, grace=5, oldest={"retrieve": 1e12})).send == [("retrieve", leased)]


async def test_stages_that_fall_behind_slow_the_broker_down(settings: Settings) -> None:
    settings = settings.model_copy(update={"broker_in_flight": 20, "broker_batch": 10})
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(TOY):
        for n in range(20):
            await engine.credentials.add("toy-third", {"key": f"k{n}"})
        await submit(engine, 100)
        retrieved: list[int] = []
        for _ in range(6):
            retrieved += (await retrieve(engine, (await turn(engine.database, TOY)).leased)).next
        assert len(retrieved) == 20
        await process(engine, (await ingest(engine, retrieved)).next)
        assert len((await turn(engine.database, TOY)).leased) == 10
    await engine.close()


async def test_a_turn_wakes_a_bounded_number_and_says_that_there_are_more(engine: Engine) -> None:
    await submit(engine)
    copied = """
    INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, not_before)
    SELECT request_id, lane_id, platform, operation, params, priority, clock_timestamp() - interval '1 minute'
    FROM scrape_fetch, generate_series(1, %s)
    """
    async with engine.database.transaction() as transaction:
        await transaction.run(copied, (2 * WAKE_BATCH + 1,))
    left = []
    more = True
    while more:
        more = (await turn(engine.database, TOY)).more
        left += [
            row.n for row in await rows(engine, "SELECT count(*) AS n FROM scrape_fetch WHERE not_before IS NOT NULL")
        ]
    assert left == [WAKE_BATCH + 1, 1, 0]


async def test_a_step_of_the_clock_gives_nothing_out_twice_and_leaves_nothing_behind(
    engine: Engine, clock: MovableClock
) -> None:
    """A limit of ten calls a minute, while the database's clock steps forth and back and next to no time passes."""
    await engine.credentials.add("toy-second", {"key": "a"})
    await submit(engine, 40)
    await retrieve(engine, (await turn(engine.database, TOY)).leased)
    await turn(engine.database, TOY)
    assert len(engine.client.calls) == 10
    for step in (300, -300, 300, -300, 7200, -7200):
        clock.step(step)
        assert (await turn(engine.database, TOY)).leased == []
        assert engine.database.clock.said() is not None
    clock.advance(70)
    assert len((await turn(engine.database, TOY)).leased) == 10


async def test_calls_that_are_out_at_a_step_of_the_clock_count_as_they_came_back(
    engine: Engine, clock: MovableClock
) -> None:
    await engine.credentials.add("toy-second", {"key": "a"})
    await submit(engine, 40)
    await retrieve(engine, (await turn(engine.database, TOY)).leased)
    clock.step(300)
    assert (await turn(engine.database, TOY)).leased == []
    clock.advance(70)
    assert len((await turn(engine.database, TOY)).leased) == 10
