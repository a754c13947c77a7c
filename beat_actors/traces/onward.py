"""The `traceparent` of what consumers are sent of a request whose caller sent one: with it they go on with the caller's trace. Pure.

It is derived from the row of the request when an event is sent, so no event stores it. Its span is one that the export of the trace has.

An event of any other run has none: whether that run's trace is exported is decided after its end, so its flag could only say that it is not sampled, and
a consumer that follows its parent would record nothing.
"""

from datetime import datetime
from typing import Protocol

from beat_actors.traces.context import Context, delivering, ids, span_of
from beat_actors.traces.rows import run_of

LIFE = "beat.scrape_request."
"""The beginning of the types that tell of the life of a request."""
ENDS = frozenset({"complete", "failed", "cancelled"})
ONCE = ENDS | {"accepted", "processing"}
"""What happens once in a run: the ids of these events say in which."""


class OfRequest(Protocol):
    """A row of an event with the request that it is of, whose caller sent a trace: `runs` and `trace` as `traceparent` takes them. Otherwise all
    are `None`."""

    @property
    def request_id(self) -> int | None: ...
    @property
    def created_at(self) -> datetime | None: ...
    @property
    def runs(self) -> int | None: ...
    @property
    def trace(self) -> bytes | None: ...


def of_row(row: OfRequest, event_id: str, event_type: str, endpoint_id: int | None = None) -> str | None:
    """As `traceparent`; `None` if the event is of no request with a caller's trace, or of one that is gone."""
    if row.trace is None or row.request_id is None or row.created_at is None or row.runs is None:
        return None
    return traceparent(row.request_id, row.created_at, row.runs, row.trace, event_id, event_type, endpoint_id)


def traceparent(
    request_id: int,
    created_at: datetime,
    runs: int,
    trace: bytes,
    event_id: str,
    event_type: str,
    endpoint_id: int | None = None,
) -> str | None:
    """The header of W3C Trace Context for an event of a request; `None` if it is not known to be of the run that the caller's trace is of, the first one.

    `runs`: the run of the request by now. `trace`: what its caller sent. `endpoint_id`: the endpoint of webhooks that the event is delivered to.

    The span is the delivery, the publishing of the end, or else the request. The flag `sampled` is the caller's.
    """
    happened = event_type.removeprefix(LIFE)
    once = happened in ONCE
    context = Context.read(trace)
    if context is None or (runs and not (once and run_of(request_id, happened, runs, event_id) == 0)):
        return None
    of = ids(request_id, created_at, 0, context)
    if once and endpoint_id is not None:
        span = span_of(of.trace, request_id, 0, *delivering(event_type, endpoint_id))
    else:
        span = of.end if happened in ENDS else of.root
    return f"00-{of.trace}-{span}-0{context.flags}"
