"""What takes long: it is found, told apart from what waits, and taken away; and what has no time left is ended."""

import pytest

from beat_actors.broker.turn import turn
from beat_actors.errors import BadInput
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import stuck, sweeps
from tests.stages import retrieve
from tests.worlds import TOY

OPERATORS_QUERY = """
SELECT id FROM scrape_request_log WHERE status = 'PROCESSING' AND picked_at < clock_timestamp() - interval '10 minutes'
"""


async def held(world, name: str) -> tuple[int, list[int]]:
    """A request whose payload a worker has claimed, and keeps."""
    request = await world.ask(name)
    read = (await retrieve(world.engine, (await turn(world.engine.database, TOY)).leased)).next
    async with world.engine.database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_fetch SET claimed_at = clock_timestamp(), lease_until = 'infinity', fence = fence + 1 WHERE id = ANY(%s)",
            (read,),
        )
    return request.id, list(read)


async def test_s4_1_what_was_picked_ten_minutes_ago_is_found_with_what_holds_it_up(world, clock) -> None:
    kept, _ = await held(world, "kept")
    clock.advance(300)
    await held(world, "newer")
    waits = await world.ask("waits")
    async with world.engine.database.transaction() as transaction:
        await transaction.run("UPDATE credential SET disabled_till = clock_timestamp() + interval '1 hour'")
        await transaction.run(
            "UPDATE scrape_request_log SET status = 'PROCESSING', picked_at = clock_timestamp() WHERE id = %s",
            (waits.id,),
        )
    clock.advance(301)
    assert [row.id for row in await world.rows(OPERATORS_QUERY)] == [kept]
    (found,) = await stuck.stuck(world.engine.database)
    assert (found.id, found.held, found.unheld, found.waiting) == (kept, 1, 0, 0)
    assert found.seconds == pytest.approx(601, abs=20)
    assert found.held_for == pytest.approx(601, abs=20)
    longer = {one.id: one for one in await stuck.stuck(world.engine.database, seconds=60)}
    assert (longer[waits.id].held, longer[waits.id].waiting) == (0, 1)


async def test_s4_5_what_is_held_too_long_is_taken_away_and_its_holder_writes_nothing(world, clock) -> None:
    request, read = await held(world, "kept")
    clock.advance(601)
    taken = await stuck.requeue(world.engine.database, actor="cli:somebody", reason="it hangs")
    assert (taken.fetches, taken.requests) == (1, (request,))
    ((fence,),) = await world.rows("SELECT fence FROM scrape_fetch")
    clock.advance(6)
    sent = await sweeps.unsent(world.engine.database, grace=5)
    assert sent.send == [("ingest", read)]
    await process(world.engine, (await ingest(world.engine, read)).next)
    assert await world.statuses() == {request: "COMPLETE"}
    ((now,),) = await world.rows("SELECT fence FROM scrape_fetch")
    assert now > fence
    ((action, detail),) = await world.rows("SELECT action, detail FROM audit_log WHERE actor = 'cli:somebody'")
    assert (action, detail["fetches"], detail["reason"]) == ("request.requeue", 1, "it hangs")
    assert (await stuck.requeue(world.engine.database, actor="cli:somebody", reason="again")).fetches == 0


async def test_s4_5_a_call_that_is_out_stays_charged_and_is_made_anew(world, clock) -> None:
    request = await world.ask("out")
    (leased,) = (await turn(world.engine.database, TOY)).leased
    async with world.engine.database.transaction() as transaction:
        await transaction.run(
            "UPDATE scrape_fetch SET claimed_at = clock_timestamp(), lease_until = 'infinity', fence = fence + 1 WHERE id = %s",
            (leased,),
        )
    clock.advance(601)
    assert (await stuck.requeue(world.engine.database, actor="me", reason="it hangs")).fetches == 1
    assert (await sweeps.orphaned(world.engine.database)).wake == {"toy"}
    await world.run()
    assert await world.statuses() == {request.id: "COMPLETE"}
    assert await world.rows("SELECT outcome FROM trace_log ORDER BY attempt") == [("unknown",), ("ok",)]


@pytest.mark.parametrize("seconds", [0, -1, 1e12])
async def test_a_time_that_is_none_is_refused(world, seconds: float) -> None:
    with pytest.raises(BadInput, match="from a second to a year"):
        await stuck.stuck(world.engine.database, seconds=seconds)


async def test_s4_9_what_has_no_time_left_is_failed_reported_and_everybody_who_waits_hears_it(world, clock) -> None:
    deadline = (await world.rows("SELECT clock_timestamp() + interval '1 minute' AS at"))[0].at
    first = await world.ask("same", expires_at=deadline)
    joined = await world.ask("same", expires_at=deadline)
    assert (await sweeps.expired(world.engine.database)).count == 0
    clock.advance(61)
    assert (await sweeps.expired(world.engine.database)).count == 2
    assert await world.statuses() == {first.id: "FAILED", joined.id: "FAILED"}
    assert sorted(await world.ends()) == [(first.id, "FAILED"), (joined.id, "FAILED")]
    assert await world.lives() == {one.id: ["accepted", "failed"] for one in (first, joined)}
    for one in (first, joined):
        assert (await world.request(one.id)).data["error"]["code"] == "expired"
    await world.run()
    assert world.client.calls == []


async def test_s1_11_and_s3_5_and_s3_6_what_waits_goes_on_in_its_order_when_the_first_cooldown_ends(
    world, clock
) -> None:
    """An hour for every credential; none is asked before it is over, then one probe, then no more than the limit."""
    await world.engine.credentials.add("toy-second", {"key": "b"})
    async with world.engine.database.transaction() as transaction:
        await transaction.run("UPDATE credential SET disabled_till = clock_timestamp() + interval '1 hour', ladder = 1")
    requests = [(await world.ask(f"n{n}")).id for n in range(20)]
    await world.run()
    clock.advance(3500)
    assert (await sweeps.due(world.engine.database)).wake == set()
    await world.run()
    assert world.client.calls == []
    assert set((await world.statuses()).values()) == {"PENDING"}
    clock.advance(101)
    assert (await sweeps.due(world.engine.database)).wake == {"toy"}
    probes = (await turn(world.engine.database, TOY)).leased
    assert len(probes) == 2  # one for each credential
    await world.work(probes)
    # Ten a minute for each, fifteen for the source, the probes among them.
    assert len(world.client.calls) == 15
    done = [request for request, status in sorted((await world.statuses()).items()) if status == "COMPLETE"]
    assert done == requests[:15]
    for _ in range(3):
        clock.advance(31)
        await world.run()
    assert set((await world.statuses()).values()) == {"COMPLETE"}


async def test_a_call_of_which_nobody_knows_is_charged_as_of_when_it_is_found(world, clock) -> None:
    await world.ask()
    await world.rows(
        "UPDATE scrape_fetch SET lease_until = clock_timestamp() WHERE id = ANY(%s) RETURNING 1",
        (await turn(world.engine.database, TOY)).leased,
    )
    clock.advance(3600)
    found = clock.now()
    await sweeps.orphaned(world.engine.database)
    (row,) = await world.rows("SELECT extract(epoch FROM at)::float8 AS at FROM settlement")
    assert row.at >= found
