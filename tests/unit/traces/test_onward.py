"""The `traceparent` of what consumers are sent: spans that the export has."""

from datetime import UTC, datetime

import pytest

from beat_actors.traces.context import Context, delivering, parse, publishing, root_id, span_of, trace_id
from beat_actors.traces.onward import traceparent
from beat_actors.traces.rows import event_id

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
CALLER = Context("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
COMPLETE, WAITING, CHANGED = "beat.scrape_request.complete", "beat.scrape_request.waiting", "beat.data.changed"


def told(event_type: str, *, run: int = 0, runs: int = 0, trace: bytes | None = None, endpoint: int | None = None):
    event = event_id(7, event_type.rpartition(".")[2], run)
    found = traceparent(7, AT, runs, trace, event, event_type, endpoint)
    context = parse(found)
    assert (context is None) == (found is None), "it is a valid header"
    return context


def test_the_end_of_a_request_names_the_span_of_its_event() -> None:
    own = trace_id(7, AT, 0, None)
    assert told(COMPLETE) == Context(own, span_of(own, 7, 0, *publishing(COMPLETE)), 0)


@pytest.mark.parametrize(
    "event_type", ["beat.scrape_request.accepted", "beat.scrape_request.processing", WAITING, CHANGED]
)
def test_other_events_name_the_request(event_type: str) -> None:
    own = trace_id(7, AT, 0, None)
    assert told(event_type) == Context(own, root_id(own, 7, 0), 0)


@pytest.mark.parametrize("flags", [0, 1])
def test_the_trace_and_the_flag_are_the_callers(flags: int) -> None:
    found = told(COMPLETE, trace=CALLER._replace(flags=flags).stored)
    assert found == Context(CALLER.trace_id, span_of(CALLER.trace_id, 7, 0, *publishing(COMPLETE)), flags)


def test_a_webhook_names_its_delivery_where_the_export_has_it() -> None:
    own = trace_id(7, AT, 0, None)
    for event_type in (COMPLETE, "beat.scrape_request.accepted"):
        assert told(event_type, endpoint=3) == Context(own, span_of(own, 7, 0, *delivering(event_type, 3)), 0)
    for event_type in (WAITING, CHANGED):
        assert told(event_type, endpoint=3) == Context(own, root_id(own, 7, 0), 0)


@pytest.mark.parametrize("run", [0, 1, 2])
def test_an_event_of_an_earlier_run_has_the_trace_of_its_run(run: int) -> None:
    found = told(COMPLETE, run=run, runs=2, trace=CALLER.stored)
    expected = CALLER.trace_id if run == 0 else trace_id(7, AT, run, None)
    assert found is not None
    assert (found.trace_id, found.flags) == (expected, 1 if run == 0 else 0)


@pytest.mark.parametrize("event_type", [WAITING, CHANGED])
def test_what_does_not_say_its_run_has_none_after_a_retry(event_type: str) -> None:
    assert told(event_type, runs=1) is None
    assert told(COMPLETE, run=3, runs=1) is None, "no run has this event"
