"""The spans of requests that end in all ways, as a collector gets them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from beat_actors.broker.turn import turn
from beat_actors.events import log, positions
from beat_actors.requests import retry, sweeps
from beat_actors.requests.queries import get_request
from beat_actors.traces import reading
from beat_actors.traces.context import parse
from beat_actors.webhooks import deliveries
from beat_actors.webhooks.deliveries import Outcome
from tests.collector import Got, shown
from tests.worlds import TOY, answer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDED = "  publish beat.scrape_request.complete"
CALLED = ["    wait", "    GET look", "    ingest"]


def gone(_source, _call):
    return answer(400, b"gone")


def there(_source, _call):
    return answer()


def named(spans: list[Got], name: str) -> list[Got]:
    return [one for one in spans if one.span.name == name]


def root_of(spans: list[Got]) -> Got:
    return spans[0]


async def trace_of(world, request_id: int) -> list[Got]:
    """The spans of a request's last run, found by the id that the API tells of it."""
    async with world.engine.database.statements() as alone:
        found = (await get_request(alone, request_id)).trace_id
    return world.collector.traces().get(found, [])


async def test_a_complete_request_with_two_fallbacks(world) -> None:
    statuses = {"toy-first": 500, "toy-second": 403, "toy-third": 200}
    world.client.script = lambda source, call: answer(statuses[source.name])
    asked = await world.ask()
    await world.run()
    assert await world.export() == 1
    spans = await trace_of(world, asked.id)
    fallbacks = ["    wait", "    GET look !", "    wait", "    GET look !"]
    assert shown(spans) == ["request toy.look", "  accept", "  fetch look", *fallbacks, *CALLED, ENDED]
    calls = named(spans, "GET look")
    said = [
        ("toy-first", "upstream_down", 500, "500"),
        ("toy-second", "permission_missing", 403, "403"),
        ("toy-third", "ok", 200, None),
    ]
    keys = ("beat.source", "beat.call.outcome", "http.response.status_code", "error.type")
    assert [tuple(one.attributes.get(key) for key in keys) for one in calls] == said
    assert all(one.span.kind == Span.SPAN_KIND_CLIENT for one in calls)
    waits = [one.attributes["beat.wait.after"] for one in named(spans, "wait")]
    assert waits == ["accepted", "upstream_down", "permission_missing"]
    root = root_of(spans)
    assert root.attributes["beat.request.id"] == asked.id
    assert root.attributes["beat.request.status"] == "COMPLETE"
    assert root.parent == ""
    assert root.resource["service.name"] == "beat"
    steps = sorted(
        [*calls, *named(spans, "wait"), *named(spans, "ingest")], key=lambda one: one.span.start_time_unix_nano
    )
    assert all(one.span.end_time_unix_nano <= other.span.start_time_unix_nano for one, other in pairwise(steps))
    for one in spans:
        assert root.span.start_time_unix_nano <= one.span.start_time_unix_nano <= one.span.end_time_unix_nano
        assert one.span.end_time_unix_nano <= root.span.end_time_unix_nano


async def test_times_are_those_of_the_rows(world) -> None:
    asked = await world.ask()
    await world.run()
    await world.export()
    row, spans = await world.request(asked.id), await trace_of(world, asked.id)
    (call,) = await world.rows("SELECT at, ms FROM trace_log")

    def nanoseconds(at: datetime) -> int:
        return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000

    root, (made,) = root_of(spans).span, named(spans, "GET look")
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (
        nanoseconds(row.created_at),
        nanoseconds(row.scraped_at),
    )
    assert made.span.end_time_unix_nano == nanoseconds(call.at)
    assert made.span.start_time_unix_nano == nanoseconds(call.at - timedelta(milliseconds=call.ms))


async def test_a_failed_request_names_its_error(world) -> None:
    world.client.script = gone
    asked = await world.ask()
    await world.run()
    await world.export()
    spans = await trace_of(world, asked.id)
    failed = "  publish beat.scrape_request.failed"
    assert shown(spans) == [
        "request toy.look !",
        "  accept",
        "  fetch look !",
        "    wait",
        "    GET look !",
        "    wait",
        failed,
    ]
    assert root_of(spans).attributes["error.type"] == "bad_request"
    assert root_of(spans).attributes["beat.trace.reason"] == "failed"
    assert all(not one.span.status.message for one in spans)


async def test_a_follower_has_no_calls_and_links_to_its_leader(world) -> None:
    leader, follower = await world.ask(), await world.ask()
    await world.run()
    assert await world.export() == 2
    theirs, own = await trace_of(world, leader.id), await trace_of(world, follower.id)
    assert shown(own) == ["request toy.look", "  accept", "  wait", ENDED]
    assert shown(theirs) == ["request toy.look", "  accept", "  fetch look", *CALLED, ENDED]
    (link,) = root_of(own).span.links
    assert (link.trace_id, link.span_id) == (root_of(theirs).span.trace_id, root_of(theirs).span.span_id)
    assert root_of(own).attributes["beat.request.accepted_as"] == "joined"


async def test_a_stored_answer_links_to_the_request_that_it_is_of(world) -> None:
    first = await world.ask()
    await world.run()
    second = await world.ask(max_age=60)
    assert second.accepted_as == "stored"
    await world.export()
    spans = await trace_of(world, second.id)
    assert shown(spans) == ["request toy.look", "  accept", ENDED]
    (link,) = root_of(spans).span.links
    assert link.span_id == root_of(await trace_of(world, first.id)).span.span_id


async def run_twice(world):
    """A request that fails, and is complete when it is tried again."""
    world.client.script = gone
    asked = await world.ask(trace=parse(f"00-{TRACE}-{SPAN}-01"))
    await world.run()
    world.client.script = there
    await retry.retry(world.engine.database, asked.id)
    await world.run()
    return asked


async def test_a_retry_is_a_trace_of_its_own_that_links_to_the_run_before(world) -> None:
    asked = await run_twice(world)
    assert await world.export() == 2  # both runs, though the row is of the second by now
    first, second = world.collector.traces()[TRACE], await trace_of(world, asked.id)
    assert shown(second) == ["request toy.look", "  fetch look", *CALLED, ENDED]
    (link,) = root_of(second).span.links
    assert (link.trace_id.hex(), link.span_id) == (TRACE, root_of(first).span.span_id)
    assert [one.attributes["beat.request.run"] for one in (root_of(first), root_of(second))] == [0, 1]
    assert shown(first)[0] == "request toy.look !"
    calls = await world.rows("SELECT count(*) AS made FROM trace_log")
    assert len([one for one in world.collector.got if one.span.name == "GET look"]) == calls[0].made


async def test_the_trace_of_a_caller_is_continued(world) -> None:
    asked = await world.ask(trace=parse(f"00-{TRACE}-{SPAN}-00"))
    await world.run()
    await world.export()
    spans = await trace_of(world, asked.id)
    root = root_of(spans)
    assert (root.trace, root.parent) == (TRACE, SPAN)
    assert root.span.flags & 0x200, "the parent is known to be remote"
    assert all(not one.span.flags & 0x200 for one in spans[1:])


async def test_a_cancelled_and_an_expired_request(world, clock) -> None:
    cancelled = await world.ask("a")
    await world.cancel(cancelled.id)
    expired = await world.ask("b", expires_at=datetime.now(UTC) + timedelta(minutes=1))
    clock.advance(61)
    await sweeps.expired(world.engine.database)
    await world.export()
    (root, *_), (late, *_) = await trace_of(world, cancelled.id), await trace_of(world, expired.id)
    assert (root.attributes["beat.request.status"], root.failed) == ("CANCELLED", False)
    assert (late.attributes["error.type"], late.failed) == ("expired", True)


async def test_a_call_whose_worker_died_is_a_span_too(world, clock) -> None:
    asked = await world.ask()
    leased = (await turn(world.engine.database, TOY)).leased
    await world.rows(
        "UPDATE scrape_fetch SET lease_until = clock_timestamp() + interval '1 second', fence = 1, attempt = 1 RETURNING id"
    )
    assert leased
    clock.advance(61)
    await sweeps.orphaned(world.engine.database)
    await world.run()
    await world.export()
    outcomes = [one.attributes["beat.call.outcome"] for one in named(await trace_of(world, asked.id), "GET look")]
    assert outcomes[-1] == "ok"
    assert "unknown" in [one.attributes.get("beat.call.outcome") for one in world.collector.got]


async def test_webhooks_that_were_told_by_then(world) -> None:
    asked = await world.ask()
    await world.run()
    made = """
    WITH endpoint AS (
        INSERT INTO webhook_endpoint (url, events, key_id, secret) VALUES ('https://receiver.invalid/secret-path', '{*}', 'k', 's') RETURNING id)
    INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, state, attempt, next_at, expires_at, status, ended_at)
    SELECT endpoint.id, e.event_id, e.type, e.data, e.at, CASE WHEN type LIKE '%%complete' THEN 'delivered' ELSE 'failed' END, 2, now(), now(),
           CASE WHEN type LIKE '%%complete' THEN 200 ELSE 503 END, e.at + interval '1 second'
    FROM event e, endpoint WHERE e.type LIKE 'beat.scrape_request.%%' RETURNING id"""
    await world.rows(made)
    await world.export()
    spans = await trace_of(world, asked.id)
    assert shown(spans)[-2:] == [ENDED, "    POST webhook"]
    assert "  publish beat.scrape_request.processing" in shown(spans)
    delivered = [one for one in named(spans, "POST webhook") if not one.failed]
    assert [one.attributes["beat.webhook.attempts"] for one in delivered] == [2]
    assert {one.attributes["error.type"] for one in named(spans, "POST webhook") if one.failed} == {"503"}


async def test_what_consumers_are_sent_names_spans_of_the_trace(world) -> None:
    """Of the caller's run, and of none after it: published events by their sink, webhooks by their header."""
    receivers = ["{*}", "{beat.scrape_request.complete}"]
    for events in receivers:
        await world.rows(
            "INSERT INTO webhook_endpoint (url, events, key_id, secret, created_at)"
            f" VALUES ('https://receiver.invalid/path', '{events}', 'k', 's', 'epoch') RETURNING id"
        )
    await run_twice(world)
    database = world.engine.database
    while await deliveries.fan_out(database):
        pass
    claimed = await deliveries.claim(database, 100)
    await deliveries.settle(database, [Outcome(row.id, row.attempt, row.endpoint_id, True, 0.0) for row in claimed])
    async with database.statements() as alone:
        page = await alone.only(positions.READ, positions.reading(0, 1000, 1000, positions.Wanted()))
    events = [row.event() for row in positions.read(page.events)]
    assert await world.export() == 2
    spans = {(one.trace, one.id): one for one in world.collector.got}
    sent = {(one.type, one.trace) for one in events} | {(row.type, row.traceparent) for row in claimed}
    named = {(of_type, spans[tuple(trace.split("-")[1:3])].span.name) for of_type, trace in sent if trace is not None}
    life = "beat.scrape_request"
    ends = {(f"{life}.failed", f"publish {life}.failed")}
    begins = {(f"{life}.{one}", "request toy.look") for one in ("accepted", "processing")}
    delivered = {(f"{life}.{one}", "POST webhook") for one in ("accepted", "processing", "failed")}
    assert named == ends | begins | delivered
    assert {trace.split("-")[1] + trace[-2:] for _, trace in sent if trace} == {TRACE + "01"}
    assert (f"{life}.complete", None) in sent, "the retry has a trace of its own"
    assert all(row.traceparent is None for row in claimed if row.type == "beat.data.changed"), "it does not say its run"
    assert len({row.endpoint_id for row in claimed if row.type.endswith("complete")}) == 2


async def test_an_event_of_a_request_that_is_gone_has_no_trace(world) -> None:
    await world.ask(trace=parse(f"00-{TRACE}-{SPAN}-01"))
    await world.run()
    async with world.engine.database.transaction() as transaction:
        await transaction.run("DELETE FROM scrape_request_log")
        await log.sequence(transaction)
        page = await transaction.only(positions.READ, positions.reading(0, 1000, 1000, positions.Wanted()))
    assert {row.event().trace for row in positions.read(page.events)} == {None}


async def test_many_webhooks_of_one_account_take_none_from_another(world, monkeypatch) -> None:
    monkeypatch.setattr(reading, "MOST_ENDPOINTS", 2)
    many, one = await world.ask("many", account_id="many"), await world.ask("one", account_id="one")
    await world.run()
    made = """
    WITH endpoint AS (
        INSERT INTO webhook_endpoint (url, events, key_id, secret, account_id)
        SELECT 'https://receiver.invalid/path', '{*}', 'k', 's', account FROM unnest('{many,many,many,one,NULL}'::text[]) AS a(account)
        RETURNING id, account_id)
    INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, state, attempt, next_at, expires_at, status, ended_at)
    SELECT endpoint.id, e.event_id, e.type, e.data, e.at, 'delivered', 1, now(), now(), 200, e.at + interval '1 second'
    FROM event e JOIN endpoint ON endpoint.account_id = e.account_id OR endpoint.account_id IS NULL
    WHERE e.type = 'beat.scrape_request.complete' RETURNING id"""
    assert len(await world.rows(made)) == 6
    await world.export()
    assert len(named(await trace_of(world, many.id), "POST webhook")) == 3, "two of its own, and the one of all"
    assert len(named(await trace_of(world, one.id), "POST webhook")) == 2
