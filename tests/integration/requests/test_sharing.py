"""Requests that ask for the same: one of them has the fetches, the others join it, and each ends with an answer of its own."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from beat_actors.broker.leasing import CANDIDATES
from beat_actors.broker.turn import turn
from beat_actors.database import jsonb
from beat_actors.errors import KeyReused
from beat_actors.pipeline.leases import claim
from beat_actors.pipeline.stage import StageResult
from beat_actors.requests import explain, intake, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from tests.events import DONE, ENDS
from tests.worlds import TOY, answer


async def test_identical_work_in_flight_is_joined_and_every_waiter_gets_its_answer(world) -> None:
    first = await world.ask()
    second = await world.ask(tags={"of": "second"})
    leased = (await turn(world.engine.database, TOY)).leased
    third = await world.ask()
    assert [one.accepted_as for one in (first, second, third)] == ["new", "joined", "joined"]
    await world.work(leased)
    assert len(world.client.calls) == 1
    assert await world.statuses() == dict.fromkeys((first.id, second.id, third.id), "COMPLETE")
    assert sorted(await world.ends()) == [(one.id, "COMPLETE") for one in (first, second, third)]
    assert await world.lives() == dict.fromkeys((first.id, second.id, third.id), DONE)
    (event,) = await world.rows(f"SELECT data FROM event WHERE data->>'id' = %s AND {ENDS}", str(second.id))
    assert event.data["tags"] == {"of": "second"}
    assert (event.data["location"], event.data["priority"]) == (f"/v1/scrape-requests/{second.id}", "standard")
    assert event.data["params"] == (await world.request(second.id)).params
    assert {"created_at", "picked_at", "scraped_at", "idempotency_key"} <= event.data.keys()
    assert event.data["scraped_at"] is not None
    leader, joined = await world.request(first.id), await world.request(second.id)
    assert (joined.joined_to, joined.data, joined.observed_at) == (first.id, leader.data, leader.observed_at)
    assert (await world.ask()).accepted_as == "new"


async def test_requests_are_processing_from_the_claim_of_their_call_on(world) -> None:
    """Also what joins later: the call that answers it is out."""
    first = await world.ask()
    second = await world.ask()
    leased = (await turn(world.engine.database, TOY)).leased
    assert await world.statuses() == dict.fromkeys((first.id, second.id), "PENDING")
    await claim(world.engine, leased, StageResult())
    third = await world.ask()
    assert await world.statuses() == dict.fromkeys((first.id, second.id, third.id), "PROCESSING")


async def test_other_parameters_another_account_and_force_are_work_of_their_own(world) -> None:
    await world.ask()
    others = [
        await world.ask("other"),
        await world.ask(account_id="acme"),
        await world.ask(force=True),
        await world.ask(force=True),
    ]
    assert [one.accepted_as for one in others] == ["new"] * 4
    assert (await world.ask(account_id="acme")).accepted_as == "joined"
    await world.run()
    assert len(world.client.calls) == 5
    assert set((await world.statuses()).values()) == {"COMPLETE"}


async def test_the_same_within_one_batch_is_fetched_once(world) -> None:
    wanted = [
        NewRequest("toy", "look", {"name": f"n{n % 3}"}, Priority.STANDARD if n < 6 else Priority.CUSTOMER)
        for n in range(9)
    ]
    accepted = await intake.accept(world.engine.database, wanted)
    assert [one.accepted_as for one in accepted] == ["new"] * 3 + ["joined"] * 6
    assert [one.id for one in accepted] == sorted(one.id for one in accepted)
    found = await world.rows(
        "SELECT f.priority, l.priority AS lane FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id"
    )
    assert [(row.priority, row.lane) for row in found] == [(1, 1)] * 3
    await world.run()
    assert len(world.client.calls) == 3
    assert sorted(await world.ends()) == [(one.id, "COMPLETE") for one in accepted]
    assert await world.lives() == {one.id: DONE for one in accepted}


async def test_who_asks_at_the_same_moment_joins_too(world) -> None:
    accepted = await asyncio.gather(*(world.ask() for _ in range(12)))
    assert sorted(one.accepted_as for one in accepted) == ["joined"] * 11 + ["new"]
    (leader,) = await world.rows("SELECT id, waiters FROM scrape_request_log WHERE live")
    assert leader.waiters == 11
    await world.run()
    assert len(world.client.calls) == 1
    assert set((await world.statuses()).values()) == {"COMPLETE"}


async def test_who_joins_while_the_work_ends_is_not_forgotten(world) -> None:
    """Many rounds of the race between the end of the work and those who would join it."""
    asked: list[int] = []
    for _ in range(15):
        asked.append((await world.ask()).id)
        leased = (await turn(world.engine.database, TOY)).leased

        async def join(pause: float) -> int:
            await asyncio.sleep(pause)
            return (await world.ask()).id

        _, *joined = await asyncio.gather(world.work(leased), *(join(0.004 * n) for n in range(8)))
        asked += joined
        await world.run()
        # The provider allows ten calls a minute.
        async with world.engine.database.transaction() as transaction:
            await transaction.run("DELETE FROM credential_usage")
    await world.run()
    assert await world.statuses() == dict.fromkeys(asked, "COMPLETE")
    assert sorted(await world.ends()) == sorted((one, "COMPLETE") for one in asked)
    assert {tuple(life) for life in (await world.lives()).values()} <= {tuple(DONE), ("accepted", "complete")}


async def test_fifty_posts_with_one_key_are_one_request_also_where_they_join(world) -> None:
    leader = await world.ask()
    wanted = intake.keyed([intake.prepare(NewRequest("toy", "look", {"name": "n"}))], "abc")
    accepted = await asyncio.gather(*(intake.insert(world.engine.database, wanted) for _ in range(50)))
    assert len({(one.id, one.accepted_as) for (one,) in accepted}) == 1
    assert sum(one.created for (one,) in accepted) == 1
    assert (await world.request(leader.id)).waiters == 1


async def test_a_key_used_otherwise_accepts_nothing_of_its_call(world) -> None:
    batch = [intake.prepare(NewRequest("toy", "look", {"name": f"n{n}"})) for n in range(3)]
    await intake.insert(world.engine.database, intake.keyed(batch, "abc"))
    more = [*batch, intake.prepare(NewRequest("toy", "look", {"name": "n4"}))]
    with pytest.raises(KeyReused, match="abc"):
        await intake.insert(world.engine.database, intake.keyed(more, "abc"))
    assert len(await world.statuses()) == 3


async def test_the_more_urgent_waiter_lifts_the_work(world) -> None:
    batch = await world.ask(priority=Priority.BATCH)
    await world.ask("other", priority=Priority.STANDARD)
    await world.ask(priority=Priority.CUSTOMER)
    await world.ask(priority=Priority.BATCH)
    (fetch,) = await world.rows(
        "SELECT f.priority, l.priority AS lane FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE request_id = %s",
        batch.id,
    )
    assert (fetch.priority, fetch.lane) == (1, 1)
    assert (await world.request(batch.id)).priority == 1


async def test_work_lives_until_the_last_deadline_of_those_who_wait(world, clock) -> None:
    now = datetime.now(UTC)
    first = await world.ask(expires_at=now + timedelta(minutes=1))
    second = await world.ask(expires_at=now + timedelta(minutes=9))
    third = await world.ask(expires_at=now + timedelta(minutes=5))
    clock.advance(61)
    assert (await sweeps.expired(world.engine.database)).count == 1
    assert (await world.request(first.id)).data["error"]["code"] == "expired"
    clock.advance(240)
    assert (await sweeps.expired(world.engine.database)).count == 1
    await world.run()
    assert await world.statuses() == {first.id: "FAILED", second.id: "COMPLETE", third.id: "FAILED"}
    assert await world.ends() == [(first.id, "FAILED"), (third.id, "FAILED"), (second.id, "COMPLETE")]
    failed = ["accepted", "failed"]
    assert await world.lives() == {first.id: failed, second.id: DONE, third.id: failed}


@pytest.mark.parametrize("leaver", ["leader", "waiter"])
@pytest.mark.parametrize("leased", [False, True])
async def test_one_who_cancels_leaves_the_others(world, leaver: str, leased: bool) -> None:
    first, second, third = [await world.ask() for _ in range(3)]
    out = (await turn(world.engine.database, TOY)).leased if leased else []
    gone = first if leaver == "leader" else second
    assert await world.cancel(gone.id) == [gone.id]
    assert await world.cancel(gone.id) == []
    late = await world.ask()
    assert late.accepted_as == "joined"
    await (world.work(out) if leased else world.run())
    others = {one.id: "COMPLETE" for one in (first, second, third, late) if one is not gone}
    assert await world.statuses() == {**others, gone.id: "CANCELLED"}
    assert len(world.client.calls) == 1
    row = await world.request(gone.id)
    assert (row.data["error"]["code"], row.live) == ("cancelled", False)
    kept = await world.request(third.id)
    assert kept.data == {"items": 0, "source": "toy-second"}
    assert kept.observed_at is not None


async def test_work_that_everybody_left_is_not_done(world) -> None:
    first, second, third = [await world.ask() for _ in range(3)]
    assert await world.cancel(first.id, third.id) == [first.id, third.id]
    assert await world.cancel(second.id) == [second.id]
    assert (await turn(world.engine.database, TOY)).leased == []
    assert [row.stage for row in await world.rows("SELECT stage FROM scrape_fetch")] == ["CANCELLED"]
    assert (await world.ask()).accepted_as == "new"


async def test_a_failure_is_everybodys_also_of_a_leader_that_had_left(world) -> None:
    world.client.script = lambda source, call: answer(404, b"gone")
    first, second = await world.ask(), await world.ask()
    await world.cancel(first.id)
    await world.run()
    row = await world.request(second.id)
    assert (row.status, row.data["error"]["code"]) == ("FAILED", "missing")
    assert (await world.request(first.id)).data["error"]["code"] == "cancelled"


async def test_explain_of_a_waiter_describes_the_work_that_it_joined(world) -> None:
    first, second = await world.ask(), await world.ask()
    async with world.engine.database.transaction() as transaction:
        found = await explain.why(transaction, second.id)
    assert found.request.joined_to == first.id
    assert [fetch.stage for fetch in found.fetches] == ["WAITING"]
    await world.run()
    async with world.engine.database.transaction() as transaction:
        assert len((await explain.why(transaction, second.id)).calls) == 1


async def test_max_age_answers_from_what_is_stored_and_never_makes_it_look_younger(world, clock) -> None:
    first = await world.ask()
    await world.run()
    seen = (await world.request(first.id)).observed_at
    clock.advance(50)
    stored = await world.ask(max_age=60, tags={"a": "b"})
    row = await world.request(stored.id)
    assert (stored.accepted_as, row.status, row.joined_to, row.observed_at) == ("stored", "COMPLETE", first.id, seen)
    assert row.data == (await world.request(first.id)).data
    assert (stored.id, "COMPLETE") in await world.ends()
    assert (await world.lives())[stored.id] == ["complete"]
    assert (await world.ask(max_age=60, force=True)).accepted_as == "new"
    assert (await world.ask(max_age=60, account_id="acme")).accepted_as == "new"
    assert (await world.ask("other", max_age=60)).accepted_as == "new"
    clock.advance(11)
    assert (await world.ask(max_age=60)).accepted_as == "new"
    assert len(world.client.calls) == 1


async def test_what_failed_is_no_answer_to_keep(world) -> None:
    world.client.script = lambda source, call: answer(400, b"gone")
    await world.ask()
    await world.run()
    assert (await world.ask(max_age=60)).accepted_as == "new"


async def test_s4_8_an_expired_row_is_never_claimed_at_the_boundary(world, clock) -> None:
    """`expires_at` is the first moment at which it is too late; the sweep need not have run."""
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    await world.ask("late", expires_at=deadline)
    patient = await world.ask("patient", expires_at=deadline + timedelta(minutes=5))
    clock.advance(61)
    (leased,) = (await turn(world.engine.database, TOY)).leased
    (fetch,) = await world.rows("SELECT request_id FROM scrape_fetch WHERE id = %s", leased)
    assert fetch.request_id == patient.id
    clock.advance(300)  # what was leased in time and not yet begun is not begun either
    await world.work([leased])
    assert world.client.calls == []
    assert (await sweeps.expired(world.engine.database)).count == 2
    await world.run()
    assert set((await world.statuses()).values()) == {"FAILED"}
    assert world.client.calls == []


async def test_s4_8_the_claims_boundary_is_the_deadline_itself(world) -> None:
    deadline = datetime(2030, 1, 1, tzinfo=UTC)
    await world.ask(expires_at=deadline)
    (lane,) = await world.rows("SELECT lane_id AS id FROM scrape_fetch")

    async def claimable(at: float) -> int:
        lanes = jsonb([{"id": lane.id, "served": "", "rows": 10}])
        async with world.engine.database.transaction() as transaction:
            return len(await transaction.rows(CANDIDATES, {"lanes": lanes, "now": at}))

    assert await claimable(deadline.timestamp() - 0.00001) == 1
    assert await claimable(deadline.timestamp()) == 0
    assert await claimable(deadline.timestamp() + 0.00001) == 0


@pytest.mark.parametrize("leaves", ["expires", "is cancelled"])
async def test_who_joins_while_the_fetch_is_moved_does_not_inherit_a_deadline(world, clock, leaves: str) -> None:
    first = await world.ask(expires_at=datetime.fromtimestamp(clock.now() + 60, UTC))
    async with world.engine.database.transaction() as turning:
        await turning.rows("SELECT id FROM scrape_fetch FOR UPDATE")
        patient = await world.ask()
    if leaves == "is cancelled":
        await world.cancel(first.id)
    clock.advance(61)
    await sweeps.expired(world.engine.database)
    await world.run()
    assert (await world.statuses())[patient.id] == "COMPLETE"


async def test_a_fetch_past_a_deadline_that_nobody_has_goes_on(world, clock) -> None:
    """It was held each time that its deadline was set anew."""
    request = await world.ask()
    await world.rows("UPDATE scrape_fetch SET expires_at = clock_timestamp() + interval '1 second' RETURNING id")
    clock.advance(60)
    await world.run()
    assert (await sweeps.unsettled(world.engine.database)).count == 0
    clock.advance(2)
    assert (await sweeps.unsettled(world.engine.database)).wake == {"toy"}
    await world.run()
    assert (await world.statuses())[request.id] == "COMPLETE"


async def test_a_request_past_its_own_deadline_is_not_given_another(world, clock) -> None:
    await world.ask(expires_at=datetime.fromtimestamp(clock.now() + 1, UTC))
    clock.advance(100)
    assert (await sweeps.unsettled(world.engine.database)).count == 0
