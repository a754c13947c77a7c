"""The `traceparent` of what consumers are sent: spans that the export has."""

from datetime import UTC, datetime

import pytest

from beat_actors.traces.context import Context, delivering, ids, parse, span_of
from beat_actors.traces.onward import traceparent
from beat_actors.traces.rows import event_id

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
CALLER = Context("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
OWN = ids(7, AT, 0, CALLER)
COMPLETE, WAITING, CHANGED = "beat.scrape_request.complete", "beat.scrape_request.waiting", "beat.data.changed"


def told(event_type: str, *, run: int = 0, runs: int = 0, trace: bytes = CALLER.stored, endpoint: int | None = None):
    event = event_id(7, event_type.rpartition(".")[2], run)
    found = traceparent(7, AT, runs, trace, event, event_type, endpoint)
    context = parse(found)
    assert (context is None) == (found is None), "it is a valid header"
    return context


@pytest.mark.parametrize("flags", [0, 1])
def test_the_end_of_a_request_names_the_span_of_its_event(flags: int) -> None:
    found = told(COMPLETE, trace=CALLER._replace(flags=flags).stored)
    assert found == Context(CALLER.trace_id, OWN.end, flags)


@pytest.mark.parametrize(
    "event_type", ["beat.scrape_request.accepted", "beat.scrape_request.processing", WAITING, CHANGED]
)
def test_other_events_name_the_request(event_type: str) -> None:
    assert told(event_type) == Context(CALLER.trace_id, OWN.root, 1)


def test_a_webhook_names_its_delivery_where_the_export_has_it() -> None:
    for event_type in (COMPLETE, "beat.scrape_request.accepted"):
        span = span_of(CALLER.trace_id, 7, 0, *delivering(event_type, 3))
        assert told(event_type, endpoint=3) == Context(CALLER.trace_id, span, 1)
    for event_type in (WAITING, CHANGED):
        assert told(event_type, endpoint=3) == Context(CALLER.trace_id, OWN.root, 1)


def test_only_the_first_run_is_of_the_callers_trace() -> None:
    assert told(COMPLETE, run=0, runs=2) == Context(CALLER.trace_id, OWN.end, 1)
    assert told(COMPLETE, run=1, runs=2) is None
    assert told(COMPLETE, run=2, runs=2) is None


@pytest.mark.parametrize("event_type", [WAITING, CHANGED])
def test_what_does_not_say_its_run_has_none_after_a_retry(event_type: str) -> None:
    assert told(event_type, runs=1) is None
    assert told(COMPLETE, run=3, runs=1) is None, "no run has this event"


def test_what_is_no_context_gives_none() -> None:
    assert told(COMPLETE, trace=b"short") is None
