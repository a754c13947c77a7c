"""The `traceparent` of what consumers are sent of a request, with which they go on with its trace. Pure.

It is derived from the row of the request when an event is sent, so no event stores it. Its span is one that the export of the trace has.
"""

from datetime import datetime
from typing import Protocol

from beat_actors.traces.context import Context, delivering, publishing, root_id, span_of, trace_id
from beat_actors.traces.rows import run_of

LIFE = "beat.scrape_request."
"""The beginning of the types that tell of the life of a request."""
ENDS = frozenset({"complete", "failed", "cancelled"})
ONCE = ENDS | {"accepted", "processing"}
"""What happens once in a run: the ids of these events say in which."""


class OfRequest(Protocol):
    """A row of an event with the request that it is of: `runs` and `trace` as `traceparent` takes them. Without a request all are `None`."""

    @property
    def request_id(self) -> int | None: ...
    @property
    def created_at(self) -> datetime | None: ...
    @property
    def runs(self) -> int | None: ...
    @property
    def trace(self) -> bytes | None: ...


def of_row(row: OfRequest, event_id: str, event_type: str, endpoint_id: int | None = None) -> str | None:
    """As `traceparent`; `None` if the event is of no request, or of one that is gone."""
    if row.request_id is None or row.created_at is None or row.runs is None:
        return None
    return traceparent(row.request_id, row.created_at, row.runs, row.trace, event_id, event_type, endpoint_id)


def traceparent(
    request_id: int,
    created_at: datetime,
    runs: int,
    trace: bytes | None,
    event_id: str,
    event_type: str,
    endpoint_id: int | None = None,
) -> str | None:
    """The header of W3C Trace Context for an event of a request; `None` if it is not known which run of the request the event is of.

    `runs`: the run of the request by now. `trace`: what its caller sent. `endpoint_id`: the endpoint of webhooks that the event is delivered to.

    The span is the delivery, the publishing of the end, or else the request. The flag `sampled` is the caller's; a trace of the request's own has none,
    because its export is decided after its end.
    """
    happened = event_type.removeprefix(LIFE)
    once = happened in ONCE
    run = 0 if runs == 0 else run_of(request_id, happened, runs, event_id) if once else None
    if run is None:
        return None
    context = Context.read(trace) if run == 0 else None
    of = trace_id(request_id, created_at, run, context)
    if once and endpoint_id is not None:
        span = span_of(of, request_id, run, *delivering(event_type, endpoint_id))
    elif happened in ENDS:
        span = span_of(of, request_id, run, *publishing(event_type))
    else:
        span = root_id(of, request_id, run)
    return f"00-{of}-{span}-0{0 if context is None else context.flags}"
