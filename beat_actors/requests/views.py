"""Requests as they are read: the row, what consumers see of it, and the filter of a list. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self

import msgspec

from beat_actors.errors import BadInput
from beat_actors.requests.states import Priority, Status
from beat_actors.shapes import one_of
from beat_actors.traces.context import Context, ids

ITEM = "\x1f"
"""Between the idempotency key of a list and the number of an item of it: no key that is sent can hold it."""
STATUSES = tuple(status.value for status in Status)
PRIORITIES = tuple(priority.word for priority in Priority)
ACCEPTED_AS = ("new", "joined", "stored", "remembered")
MAX_PAGE = 200
MAX_RETRIES = 1000
"""Requests that one call retries at most."""

MAX_TAGS = 5
"""Tags of one filter."""


class Row(NamedTuple):
    """A row of `scrape_request_log`."""

    id: int
    platform: str
    flow: str
    params: dict[str, Any]
    status: str
    priority: int
    account_id: str | None
    idempotency_key: str | None
    created_at: datetime
    picked_at: datetime | None
    scraped_at: datetime | None
    expires_at: datetime | None
    retry_count: int
    items: int
    data: dict[str, Any] | None
    tags: dict[str, str] | None
    accepted_as: str
    joined_to: int | None
    observed_at: datetime | None
    collected_at: datetime | None
    api_key_id: int | None
    batch_id: int | None
    trace: bytes | None


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A request as consumers see it. `data`: the result (the number of items and the source), or the error.

    `joined_to`: the request whose fetches this one shares, or null. `observed_at`: the time of the oldest answer that the result contains.
    `collected_at`: when its requester first read the finished request. `trace_id`: the OpenTelemetry trace of its last run, which is exported only if it is
    sampled.
    """

    id: int
    platform: str
    flow: str
    params: dict[str, Any]
    status: Annotated[str, one_of(STATUSES)]
    priority: Annotated[str, one_of(PRIORITIES)]
    account_id: str | None
    idempotency_key: str | None
    created_at: datetime
    picked_at: datetime | None
    scraped_at: datetime | None
    expires_at: datetime | None
    retry_count: int
    items: int
    api_key_id: int | None
    data: dict[str, Any] | None
    tags: dict[str, str] | None
    accepted_as: Annotated[str, one_of(ACCEPTED_AS)]
    joined_to: int | None
    batch_id: int | None
    observed_at: datetime | None
    collected_at: datetime | None
    freshness: dict[str, Any] | None
    trace_id: str = ""

    @classmethod
    def of(cls, row: Row) -> Self:
        """`freshness` says of a complete request how old its answer is, and whether it was fetched for it."""
        complete = row.status == Status.COMPLETE and row.observed_at is not None
        mode = "stored" if row.accepted_as == "stored" else "fresh"
        said = row._asdict()
        context = Context.read(said.pop("trace"))
        said["trace_id"] = ids(row.id, row.created_at, row.retry_count, context).trace
        said["priority"] = Priority(row.priority).word
        if row.idempotency_key is not None:  # an item of a list has its number behind it
            said["idempotency_key"] = row.idempotency_key.partition(ITEM)[0]
        return cls(**said, freshness={"mode": mode, "as_of": row.observed_at} if complete else None)

    @property
    def ended(self) -> bool:
        return self.scraped_at is not None


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list. `error`: the error code of a failed request. `uncollected`: only requests whose result nobody has read yet.

    `unfinished`: those that have not ended. `tags`: what a request carries. `cursor` is the opaque one that the page before gave.
    """

    platform: str | None = None
    flow: str | None = None
    status: str | None = None
    account_id: str | None = None
    batch_id: int | None = None
    error: str | None = None
    api_key_id: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    uncollected: bool = False
    unfinished: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    cursor: str | None = None
    limit: int = 50

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in STATUSES:
            raise BadInput(f"status is one of {', '.join(STATUSES)}", field="status")
        if not 1 <= self.limit <= MAX_PAGE:
            raise BadInput(f"limit is 1 to {MAX_PAGE}", field="limit")
        if len(self.tags) > MAX_TAGS:
            raise BadInput(f"a filter takes {MAX_TAGS} tags at most", field="tags")


class Page(msgspec.Struct, frozen=True):
    """Newest first; `next_cursor` is `None` on the last page."""

    requests: list[RequestView]
    next_cursor: str | None
