"""Reading requests: typed read models, each query named."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self
from uuid import UUID

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
UNFINISHED = (Status.PENDING.value, Status.PROCESSING.value)
PRIORITIES = tuple(priority.word for priority in Priority)
ACCEPTED_AS = ("new", "joined", "stored")
MAX_PAGE = 200

MAX_TAGS = 5
"""Tags of one filter."""
SCANNED = 10_000
"""Requests with a tag, or that have not ended, that are looked at for one page. Where fewer of them match than the page holds, the page is short and its cursor goes on."""
COUNTED = 100_000
"""Requests with a tag that are counted, the newest ones."""


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
    batch_id: int | None


class Edge(NamedTuple):
    """How many requests were looked at, and the oldest of them."""

    n: int
    last: int | None


class InStatus(NamedTuple):
    """How many requests are in a status."""

    status: str
    n: int


REQUESTS = table("scrape_request_log", *(column(name) for name in Row._fields))
TAGS = table("request_tag", column("account_id"), column("tag"), column("request_id"))


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A request as consumers see it. `data`: the result (the number of items and the source), or the error.

    `joined_to`: the request whose fetches this one shares, or null. `observed_at`: the time of the oldest answer that the result contains.
    `collected_at`: when its requester first read the finished request.
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

    @classmethod
    def of(cls, row: Row) -> Self:
        """`freshness` says of a complete request how old its answer is, and whether it was fetched for it."""
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
"""Seconds after which to look again at what needs manual action."""
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


class Matching(NamedTuple):
    """Rows of a page, newest first, and the cursor of the next page."""

    rows: list[Row]
    next_cursor: str | None


async def matching(transaction: Transaction, wanted: Filter, limit: int) -> Matching:
    """The requests that match, from the cursor on, `limit` at most; by key and not by offset, so that the last page costs what the first does."""
    before = None if wanted.cursor is None else cursors.read(wanted.cursor, cursors.Before).id
    query = _filtered(select(REQUESTS), wanted).order_by(REQUESTS.c.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(REQUESTS.c.id < before)
    if not wanted.tags and not wanted.unfinished:
        rows = await transaction.select(query, Row)
        return Matching(rows[:limit], cursor_after(rows[limit - 1].id) if len(rows) > limit else None)
    looked = (_tagged if wanted.tags else _unfinished)(wanted, before, SCANNED).subquery("looked")
    rows = await transaction.select(query.join(looked, looked.c.request_id == REQUESTS.c.id), Row)
    if len(rows) > limit:
        return Matching(rows[:limit], cursor_after(rows[limit - 1].id))
    (edge,) = await transaction.select(
        select(func.count().label("n"), func.min(looked.c.request_id).label("last")).select_from(looked), Edge
    )
    return Matching(rows, None if edge.last is None or edge.n < SCANNED else cursor_after(edge.last))


async def list_scrape_data(transaction: Transaction, wanted: Filter) -> Page:
    """One page of requests. A page of requests with a tag may be short, or empty, and have a next one."""
    found = await matching(transaction, wanted, wanted.limit)
    return Page([RequestView.of(row) for row in found.rows], found.next_cursor)


async def count_by_status(transaction: Transaction, wanted: Filter) -> tuple[dict[str, int], bool]:
    """How many requests there are in each status under the same filter, and whether all are counted: of those with a tag, the `COUNTED` newest."""
    query = select(REQUESTS.c.status, func.count().label("n")).select_from(REQUESTS).group_by(REQUESTS.c.status)
    whole = True
    if wanted.tags:
        looked = _tagged(wanted, None, COUNTED).subquery("looked")
        query = query.join(looked, looked.c.request_id == REQUESTS.c.id)
        numbers = (func.count().label("n"), func.min(looked.c.request_id).label("last"))
        (edge,) = await transaction.select(select(*numbers).select_from(looked), Edge)
        whole = edge.n < COUNTED
    found = {row.status: row.n for row in await transaction.select(_filtered(query, wanted), InStatus)}
    return {status: found.get(status, 0) for status in STATUSES}, whole


def _tagged(wanted: Filter, before: int | None, most: int) -> Select[Any]:
    """The newest requests with the first tag of the filter, in the order of an index."""
    name, value = next(iter(wanted.tags.items()))
    query = select(TAGS.c.request_id).where(TAGS.c.tag == tag_of(name, value))
    if wanted.account_id is not None:
        query = query.where(TAGS.c.account_id == wanted.account_id)
    if before is not None:
        query = query.where(TAGS.c.request_id < before)
    return query.order_by(TAGS.c.request_id.desc()).limit(most)


def _unfinished(wanted: Filter, before: int | None, most: int) -> Select[Any]:
    """The newest requests that have not ended."""
    query = select(REQUESTS.c.id.label("request_id")).where(REQUESTS.c.status.in_(UNFINISHED))
    if wanted.account_id is not None:
        query = query.where(REQUESTS.c.account_id == wanted.account_id)
    if before is not None:
        query = query.where(REQUESTS.c.id < before)
    return query.order_by(REQUESTS.c.id.desc()).limit(most)


def tag_of(name: str, value: str) -> UUID:
    """How `request_tag` names a tag."""
    return UUID(hashlib.md5(f"{name}\x1f{value}".encode(), usedforsecurity=False).hexdigest())


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    for name in ("platform", "flow", "status", "account_id", "batch_id", "api_key_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(REQUESTS.c[name] == value)
    if wanted.error is not None:
        query = query.where(REQUESTS.c.data.op("#>>")(literal_column("'{error,code}'")) == wanted.error)
    if wanted.unfinished:
        query = query.where(REQUESTS.c.status.in_(UNFINISHED))
    if wanted.uncollected:
        query = query.where(REQUESTS.c.collected_at.is_(None), REQUESTS.c.scraped_at.is_not(None))
    if wanted.created_after is not None:
        query = query.where(REQUESTS.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(REQUESTS.c.created_at < wanted.created_before)
    for name, value in wanted.tags.items():
        query = query.where(REQUESTS.c.tags.op("->>")(name) == value)
    return query


def cursor_after(request_id: int) -> str:
    """Where the page after this request begins."""
    return cursors.write(cursors.Before(request_id))
