"""Which traces reach the collector: each that is kept, once by its ids, whatever fails in between."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from beat_actors.events import log
from beat_actors.requests.swept import Swept
from beat_actors.traces import collector as calls
from beat_actors.traces import exporting, reading
from beat_actors.traces import tree as trees
from beat_actors.traces.collector import CollectorUnavailable
from beat_actors.traces.context import ids, parse
from beat_actors.traces.exporting import Exporter
from beat_actors.traces.sampling import in_share
from tests.collector import partial
from tests.integration.traces.conftest import over
from tests.worlds import answer

UNLIKELY = "0" * 31
"""Begins the id of a trace that is in no share but that of all."""
SENT, REFUSED, LOST = (
    "beat_trace_spans_total exported",
    "beat_trace_spans_total refused",
    "beat_trace_events_lost_total",
)


def gone(_source: Any, _call: Any) -> Any:
    return answer(400, b"gone")


def there(_source: Any, _call: Any) -> Any:
    return answer()


@pytest.fixture(autouse=True)
def own_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the configuration with which it was first used, in another test of the same process as it may be."""
    monkeypatch.setattr(exporting, "log", structlog.get_logger())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that has failed may be asked at once."""
    monkeypatch.setattr(calls, "FIRST", 0.0)


class Killed(BaseException):
    """The end of a process, as its code sees it."""


async def asked(world: Any, count: int) -> list[int]:
    made = [(await world.ask(f"n{number}")).id for number in range(count)]
    await world.run()
    return made


def exported(world: Any) -> set[int]:
    """The requests whose traces arrived."""
    return {one.attributes["beat.request.id"] for one in world.collector.got if "beat.request.id" in one.attributes}


async def derived(world: Any) -> set[str]:
    """The trace ids of all requests, computed from their rows."""
    rows = await world.rows("SELECT id, created_at, retry_count FROM scrape_request_log")
    return {ids(row.id, row.created_at, row.retry_count, None).trace for row in rows}


@contextmanager
def killed_before_the_place_is_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def kill(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(exporting._Run, "_advance", kill)
        with pytest.raises(Killed):
            yield


async def test_each_trace_arrives_once_after_the_collector_was_away(world) -> None:
    await asked(world, 3)
    assert world.collector.server is not None
    world.collector.answer = lambda _request: web.Response(status=503)
    for _ in range(3):
        with pytest.raises(CollectorUnavailable, match="status 503"):
            await world.export()
    assert world.collector.got == []
    await asked(world, 2)
    world.collector.answer = lambda _request: None
    await world.export()
    await world.export()
    assert set(world.collector.traces()) == await derived(world)
    assert world.collector.twice() == []
    sums = await world.sums()
    assert sums[SENT] == len(world.collector.got)
    assert REFUSED not in sums


async def test_a_collector_that_is_not_there_is_waited_for(world, traced_settings) -> None:
    await asked(world, 1)
    await world.collector.stop()
    with pytest.raises(CollectorUnavailable, match=r"does not answer.*wait in the database"):
        await world.export()
    assert (await world.rows("SELECT sums FROM metric_sum WHERE name = 'traces'"))[0].sums == []
    assert traced_settings.otlp_endpoint not in str(await world.rows("SELECT * FROM metric_sum"))


async def test_an_exporter_that_was_killed_sends_the_same_ids_again(world, monkeypatch: pytest.MonkeyPatch) -> None:
    await asked(world, 2)
    with killed_before_the_place_is_written(monkeypatch):
        await world.export()
    first = [(one.trace, one.id, one.parent, one.span.start_time_unix_nano) for one in world.collector.got]
    assert first
    world.collector.got.clear()
    world.exporter = Exporter(settled=0.0)  # another process
    await world.export()
    again = [(one.trace, one.id, one.parent, one.span.start_time_unix_nano) for one in world.collector.got]
    assert again == first
    assert len(set(world.collector.bodies)) == 1, "the same spans to the last byte"
    assert (await world.sums())[SENT] == len(first)
    world.collector.got.clear()
    await world.export()
    assert world.collector.got == []


async def test_what_was_confirmed_is_not_sent_again_where_a_later_part_fails(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "GROUP", 1)
    await asked(world, 3)
    world.collector.answer = lambda _request: web.Response(status=502) if len(world.collector.calls) == 2 else None
    with pytest.raises(CollectorUnavailable):
        await world.export()
    assert len(world.collector.traces()) == 1
    await world.export()
    assert set(world.collector.traces()) == await derived(world)
    assert world.collector.twice() == []


async def until_all_arrived(world: Any, runs: int) -> None:
    """Run the sweep up to so often, whatever it says of the collector."""
    for _ in range(runs):
        with suppress(CollectorUnavailable):
            await world.export()
        if (await world.sums()).get(SENT) and set(world.collector.traces()) == await derived(world):
            return
    pytest.fail("some traces never arrive")


@pytest.mark.slow
async def test_a_collector_that_takes_few_calls_in_the_time_of_a_group_gets_smaller_ones(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "LIMIT", 1.0, raising=False)
    monkeypatch.setattr(calls, "TOTAL", 2.0)
    monkeypatch.setattr(exporting, "GROUP", 4)
    monkeypatch.setattr(exporting, "MOST_SPANS", 1)  # a call for each trace
    await asked(world, 4)
    taken = 0

    def third(_request: Any) -> bool:
        nonlocal taken
        taken += 1
        return taken % 3 == 0

    world.collector.silent = third
    with pytest.raises(CollectorUnavailable, match=r"too slow.*wait in the database"):
        await world.export()
    await until_all_arrived(world, 4)


async def test_a_call_that_is_never_answered_is_made_for_fewer_traces(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "TOTAL", 1.0)
    monkeypatch.setattr(exporting, "GROUP", 2)
    await asked(world, 2)

    def of_several(request: Any) -> bool:
        return len({span.trace_id for of in request.resource_spans for one in of.scope_spans for span in one.spans}) > 1

    world.collector.silent = of_several
    await until_all_arrived(world, 3)


async def test_a_run_ends_between_groups_and_the_next_one_goes_on(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "GROUP", 1)
    monkeypatch.setattr(exporting, "SECONDS", 0.0)
    await asked(world, 1)
    await asked(world, 1)
    async with world.engine.database.statements() as alone:
        await log.sequence(alone)
    forgotten = "DELETE FROM event_log l USING event e WHERE e.id = l.id AND e.at = l.at AND e.type LIKE '%%accepted' RETURNING seq"
    assert len(await world.rows(forgotten)) == 2, "one before each end"
    with capture_logs() as logs:
        assert [await world.export() for _ in range(3)] == [1, 1, 0]
    assert len(world.collector.traces()) == 2
    assert world.collector.twice() == []
    assert (await world.sums())[LOST] == 2
    assert [one["events"] for one in logs if one["event"] == "trace_events_lost"] == [1, 1]


async def test_two_exporters_at_once_count_each_trace_once(world) -> None:
    await asked(world, 4)
    other = Exporter(settled=0.0)
    await asyncio.gather(world.export(), other.sweep(world.engine.database))
    await world.export()
    assert set(world.collector.traces()) == await derived(world)
    assert len({(one.trace, one.id) for one in world.collector.got}) == (await world.sums())[SENT]


async def test_a_page_is_gone_through_and_none_is_left_out(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PLACES", 2)
    monkeypatch.setattr(exporting, "MOST_SPANS", 1)
    await asked(world, 7)
    await world.export()
    assert set(world.collector.traces()) == await derived(world)
    assert world.collector.twice() == []


async def test_which_traces_are_kept(world) -> None:
    """All that failed, all that were slow, those that their caller sampled, and the share of the others that their ids decide."""
    slow = await world.ask("slow")
    await world.run()
    ended = """UPDATE event SET data = data || jsonb_build_object('scraped_at', (data->>'created_at')::timestamptz + interval '3601 seconds')
        WHERE data->>'id' = %s AND type LIKE '%%complete' RETURNING id"""
    await world.rows(ended, str(slow.id))
    kept = await world.ask("kept", trace=parse(f"00-{UNLIKELY}a-00f067aa0ba902b7-01"))
    left = await world.ask("left", trace=parse(f"00-{UNLIKELY}b-00f067aa0ba902b7-00"))
    await world.run()
    world.client.script = gone
    failed = await world.ask("failed")
    await world.run()
    world.client.script = there
    others = await asked(world, 30)
    share = over(world.engine.settings, trace_sample=0.25, trace_slow={"standard": 3600.0})
    try:
        await world.export(share)
    finally:
        await share.close()
    roots = [one.attributes for one in world.collector.got if "beat.request.id" in one.attributes]
    reasons = {one["beat.request.id"]: one["beat.trace.reason"] for one in roots}
    rows = await world.rows("SELECT id, created_at FROM scrape_request_log WHERE status = 'COMPLETE'")
    traces = {row.id: ids(row.id, row.created_at, 0, None).trace for row in rows if row.id in others}
    assert {one for one, why in reasons.items() if why == "sampled"} == {
        one for one in traces if in_share(traces[one], 0.25)
    }
    assert (reasons[slow.id], reasons[failed.id], reasons[kept.id]) == ("slow", "failed", "asked")
    assert left.id not in reasons
    counted = await world.sums()
    assert counted["beat_traces_exported_total failed"] == 1
    assert sum(value for name, value in counted.items() if "_traces_" in name) == len(reasons)


async def test_callers_do_not_decide_how_much_is_exported(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST_ASKED", 2)
    monkeypatch.setattr(exporting, "GROUP", 1)
    ids = [*(f"{UNLIKELY}{last}-00f067aa0ba902b7-01" for last in "abc"), f"{'f' * 32}-00f067aa0ba902b7-00"]
    made = [(await world.ask(f"n{number}", trace=parse(f"00-{one}"))).id for number, one in enumerate(ids)]
    await world.run()
    world.client.script = gone
    failed = await world.ask("failed", trace=parse(f"00-{ids[0]}"))
    await world.run()
    share = over(world.engine.settings, trace_sample=0.01)
    try:
        await world.export(share)
    finally:
        await share.close()
    assert failed.id in exported(world)
    assert len(exported(world) & set(made)) == 2
    assert (await world.sums())["beat_trace_spans_total left_out"] == 2


async def test_of_what_callers_sampled_a_share_is_exported(world) -> None:
    low = await world.ask("low", trace=parse(f"00-{UNLIKELY}a-00f067aa0ba902b7-01"))
    high = await world.ask("high", trace=parse(f"00-{'f' * 32}-00f067aa0ba902b7-01"))
    await world.run()
    share = over(world.engine.settings, trace_sample=0.0, trace_asked=0.5)
    try:
        await world.export(share)
    finally:
        await share.close()
    assert exported(world) == {high.id}
    assert low.id != high.id


@pytest.mark.parametrize("status", [400, 415, 422, 500])
async def test_spans_that_the_collector_refuses_for_good_are_counted_and_left(world, status: int) -> None:
    await asked(world, 1)
    world.collector.answer = lambda _request: web.Response(status=status, text="no")
    await world.export()
    sums = await world.sums()
    assert sums[REFUSED] > 0
    assert sums[SENT] == 0
    world.collector.answer = lambda _request: None
    await world.export()
    assert world.collector.got == []


async def test_a_part_that_the_collector_refuses_is_counted(world) -> None:
    await asked(world, 1)
    came: list[int] = []

    def all_but_two(request: Any) -> web.Response:
        came.append(sum(len(scope.spans) for of in request.resource_spans for scope in of.scope_spans))
        return partial(2, "too\nmany")

    world.collector.answer = all_but_two
    await world.export()
    sums = await world.sums()
    assert sums[REFUSED] == 2
    assert [sums[SENT] + 2] == came


async def test_a_call_that_is_too_large_is_made_in_parts(world) -> None:
    await asked(world, 3)

    def at_most_four(request: Any) -> web.Response | None:
        spans = sum(len(scope.spans) for of in request.resource_spans for scope in of.scope_spans)
        return web.Response(status=413) if spans > 4 else None

    world.collector.answer = at_most_four
    await world.export()
    assert set(world.collector.traces()) == await derived(world)
    assert world.collector.twice() == []


@pytest.mark.parametrize("status", [401, 403, 404, 302])
async def test_wrong_settings_lose_nothing(world, status: int) -> None:
    await asked(world, 1)
    world.collector.answer = lambda _request: web.Response(status=status, headers={"Location": "/elsewhere"})
    with pytest.raises(CollectorUnavailable, match="check BEAT_OTLP_ENDPOINT"):
        await world.export()
    world.collector.answer = lambda _request: None
    world.exporter = Exporter(settled=0.0)  # restarted with other settings
    await world.export()
    assert set(world.collector.traces()) == await derived(world)


async def test_the_collector_says_for_how_long_it_is_left_alone(world, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(exporting.time, "monotonic", lambda: now[0])
    await asked(world, 1)
    world.collector.answer = lambda _request: web.Response(status=429, headers={"Retry-After": "120"})
    for later in (0.0, 60.0, 119.0):
        now[0] = 1000.0 + later
        with pytest.raises(CollectorUnavailable):
            await world.export()
    assert len(world.collector.calls) == 1
    world.collector.answer = lambda _request: None
    now[0] = 1121.0
    assert await world.export() == 1


async def test_what_the_log_forgot_is_counted_as_lost(world) -> None:
    await asked(world, 2)
    world.collector.answer = lambda _request: web.Response(status=503)
    with pytest.raises(CollectorUnavailable):
        await world.export()
    (forgotten,) = await world.rows(
        "WITH gone AS (DELETE FROM event_log RETURNING seq) SELECT count(*) AS places FROM gone"
    )
    await world.rows("DELETE FROM event RETURNING id")
    ids = await asked(world, 1)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(CollectorUnavailable):
                await world.export()
        world.collector.answer = lambda _request: None
        await world.export()
    assert (await world.sums())[LOST] == forgotten.places
    assert [one["events"] for one in logs if one["event"] == "trace_events_lost"] == [forgotten.places]
    (spans,) = world.collector.traces().values()
    assert spans[0].attributes["beat.request.id"] == ids[0]


async def test_a_request_whose_row_is_gone_is_still_told(world) -> None:
    world.client.script = gone
    made = await asked(world, 1)
    await world.rows("DELETE FROM scrape_fetch RETURNING id")
    await world.rows("DELETE FROM scrape_request_log RETURNING id")
    await world.export()
    (spans,) = world.collector.traces().values()
    assert [one.span.name for one in spans if "request.failed" not in one.span.name] == ["request toy.look", "accept"]
    assert spans[0].attributes["beat.request.id"] == made[0]


async def test_nothing_is_exported_before_it_has_settled(world) -> None:
    await asked(world, 1)
    world.exporter = Exporter(settled=3600.0)
    assert await world.export() == 0
    world.exporter = Exporter(settled=0.0)
    assert await world.export() == 1


async def test_where_there_is_no_endpoint_nothing_is_asked(world) -> None:
    await asked(world, 1)
    off = over(world.engine.settings, otlp_endpoint=None, database_url="postgresql://nobody@localhost:1/none")
    try:
        assert await Exporter(settled=0.0).sweep(off) == Swept()
    finally:
        await off.close()


async def test_a_restored_database_whose_log_is_shorter_is_gone_on_with(world) -> None:
    await asked(world, 1)
    await world.export()
    await world.rows("UPDATE metric_sum SET position = position + 1000 WHERE name = 'traces' RETURNING position")
    await world.export()
    world.collector.got.clear()
    await asked(world, 1)
    await world.export()
    assert len(world.collector.traces()) == 1


async def test_a_request_that_no_trace_can_be_made_of_holds_up_no_other(world, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, *others = await asked(world, 3)

    def tree(rows: Any, *more: Any) -> Any:
        if rows.ended.id == broken:
            raise ValueError("out of range")
        return trees.tree(rows, *more)

    monkeypatch.setattr(exporting, "tree", tree)
    await world.export()
    assert exported(world) == set(others)
    assert (await world.sums())["beat_trace_spans_total not_made"] == 1


@pytest.mark.parametrize("missing", ["scraped_at", "created_at"])
async def test_an_event_without_a_time_holds_up_no_other(world, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(exporting, "GROUP", 1)
    first, broken, last = await asked(world, 3)
    of_it = "FROM event WHERE data->>'id' = %s AND type LIKE '%%complete'"
    (was,) = await world.rows(f"SELECT id, data::text AS data {of_it}", str(broken))
    await world.rows("UPDATE event SET data = data - %s::text WHERE id = %s RETURNING id", missing, was.id)
    with capture_logs() as logs:
        await world.export()
        await world.export()
    await world.rows("UPDATE event SET data = %s::jsonb WHERE id = %s RETURNING id", was.data, was.id)
    assert exported(world) == {first, last}
    assert (await world.sums())["beat_trace_spans_total not_made"] == 1
    assert [one["request"] for one in logs if one["event"] == "trace_not_made"] == [broken]
