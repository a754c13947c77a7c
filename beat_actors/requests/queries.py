"""Reading requests: typed read models, each query named."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self

import msgspec
from sqlalchemy import Select, column, func, literal_column, select, table

from beat_actors.data import cursors
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.requests.states import Priority, Status
from beat_actors.shapes import one_of

ITEM = "\x1f"
"""Between the idempotency key of a list and the number of an item of it: no key that is sent can hold it."""
STATUSES = tuple(status.value for status in Status)
PRIORITIES = tuple(priority.word for priority in Priority)
ACCEPTED_AS = ("new", "joined", "stored")
MAX_PAGE = 200


class Row(NamedTuple):
    """A row of `REQUESTS`."""

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


class InStatus(NamedTuple):
    """How many requests are in a status."""

    status: str
    n: int


REQUESTS = table("scrape_request_log", *(column(name) for name in Row._fields))


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A request as consumers see it. `data` holds what came of it: the number of items and the source, or the error.

    `joined_to` is the request whose fetches answer it, where it has none of its own; `observed_at` the time from which the oldest
    part of its answer is; `collected_at` when the finished request was first read by who asked for it.
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
    observed_at: datetime | None
    collected_at: datetime | None
    freshness: dict[str, Any] | None

    @classmethod
    def of(cls, row: Row) -> Self:
        """`freshness` tells of a complete request how old its answer is, and whether it was fetched for it."""
        complete = row.status == Status.COMPLETE and row.observed_at is not None
        mode = "stored" if row.accepted_as == "stored" else "fresh"
        said = row._asdict()
        said["priority"] = Priority(row.priority).word
        if row.idempotency_key is not None:  # an item of a list has its number behind it
            said["idempotency_key"] = row.idempotency_key.partition(ITEM)[0]
        return cls(**said, freshness={"mode": mode, "as_of": row.observed_at} if complete else None)

    @property
    def ended(self) -> bool:
        return self.scraped_at is not None


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list. `error` is the code of what failed it; `uncollected`: results that nobody has fetched yet.

    `cursor` is the opaque one that the page before gave.
    """

    platform: str | None = None
    flow: str | None = None
    status: str | None = None
    account_id: str | None = None
    error: str | None = None
    api_key_id: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    uncollected: bool = False
    cursor: str | None = None
    limit: int = 50

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in STATUSES:
            raise BadInput(f"status is one of {', '.join(STATUSES)}", field="status")
        if not 1 <= self.limit <= MAX_PAGE:
            raise BadInput(f"limit is 1 to {MAX_PAGE}", field="limit")


class Page(msgspec.Struct, frozen=True):
    """Newest first; `next_cursor` is `None` on the last page."""

    requests: list[RequestView]
    next_cursor: str | None


async def get_request(transaction: Transaction, request_id: int, *, account_id: str | None = None) -> RequestView:
    """Raises `NotFound`, also for a request that is not this account's, where one is named."""
    query = select(REQUESTS).where(REQUESTS.c.id == request_id)
    if account_id is not None:
        query = query.where(REQUESTS.c.account_id == account_id)
    rows = await transaction.select(query, Row)
    if not rows:
        raise NotFound(f"there is no request {request_id}")
    return RequestView.of(rows[0])


PERSON = 60.0
"""Seconds after which to look again at what only a person can change."""
SQL = Statements(__file__)
CLEARS_IN = SQL("clears_in", float)
COLLECT = SQL("collect", datetime)
ENDED = SQL("ended", int)


async def collect(transaction: Transaction, request: RequestView) -> RequestView:
    """Who asked for this request reads it: note when, the first time that there is a result to read."""
    if not request.ended or request.collected_at is not None:
        return request
    collected_at = await transaction.value(COLLECT, {"id": request.id})
    return msgspec.structs.replace(request, collected_at=collected_at)


async def clears_in(transaction: Transaction, request_id: int) -> float | None:
    """Seconds until the first of its blockers clears; `None` where none is known."""
    return await transaction.value(CLEARS_IN, {"id": request_id, "person": PERSON})


async def ended(database: Database, ids: Collection[int]) -> set[int]:
    """Those of these requests that have ended."""
    async with database.statements() as alone:
        return set(await alone.rows(ENDED, {"ids": sorted(ids)}))


def newest_first(wanted: Filter) -> Select[Any]:
    """The requests that match, from the cursor on; by key and not by offset, so that the last page costs what the first does."""
    query = _filtered(select(REQUESTS), wanted).order_by(REQUESTS.c.id.desc())
    return (
        query if wanted.cursor is None else query.where(REQUESTS.c.id < cursors.read(wanted.cursor, cursors.Before).id)
    )


async def list_scrape_data(transaction: Transaction, wanted: Filter) -> Page:
    """One page of requests."""
    query = newest_first(wanted).limit(wanted.limit + 1)
    found = [RequestView.of(row) for row in await transaction.select(query, Row)]
    page = found[: wanted.limit]
    return Page(page, cursor_after(page[-1].id) if len(found) > wanted.limit else None)


async def count_by_status(transaction: Transaction, wanted: Filter) -> dict[str, int]:
    """How many requests there are in each status, under the same filter."""
    query = _filtered(select(REQUESTS.c.status, func.count().label("n")), wanted).group_by(REQUESTS.c.status)
    found = {row.status: row.n for row in await transaction.select(query, InStatus)}
    return {status: found.get(status, 0) for status in STATUSES}


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    for name in ("platform", "flow", "status", "account_id", "api_key_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(REQUESTS.c[name] == value)
    if wanted.error is not None:
        query = query.where(REQUESTS.c.data.op("#>>")(literal_column("'{error,code}'")) == wanted.error)
    if wanted.uncollected:
        query = query.where(REQUESTS.c.collected_at.is_(None), REQUESTS.c.scraped_at.is_not(None))
    if wanted.created_after is not None:
        query = query.where(REQUESTS.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(REQUESTS.c.created_at < wanted.created_before)
    return query


def cursor_after(request_id: int) -> str:
    """Where the page after this request begins."""
    return cursors.write(cursors.Before(request_id))
