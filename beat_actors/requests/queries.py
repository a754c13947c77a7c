"""Reading requests: typed read models, each query named."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, column, func, select, table

from beat_actors.database import Transaction
from beat_actors.errors import BadInput, NotFound

STATUSES = ("PENDING", "PROCESSING", "COMPLETE", "FAILED", "CANCELLED")
MAX_PAGE = 200

REQUESTS = table(
    "scrape_request_log",
    *(
        column(name)
        for name in (
            "id", "platform", "flow", "params", "status", "priority", "account_id", "idempotency_key", "created_at",
            "picked_at", "scraped_at", "expires_at", "retry_count", "items", "data",
            "api_key_id",
        )
    ),
)  # fmt: skip


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A request as consumers see it. `data` holds what came of it: the number of items and the source, or the error."""

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
    api_key_id: int | None
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list. `cursor` is the opaque one that the page before gave."""

    platform: str | None = None
    flow: str | None = None
    status: str | None = None
    account_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
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
    rows = await transaction.select(query)
    if not rows:
        raise NotFound(f"there is no request {request_id}")
    return RequestView(**rows[0]._asdict())


async def list_scrape_data(transaction: Transaction, wanted: Filter) -> Page:
    """One page of requests, by key and not by offset, so that the last page costs what the first does."""
    query = _filtered(select(REQUESTS), wanted).order_by(REQUESTS.c.id.desc()).limit(wanted.limit + 1)
    if wanted.cursor is not None:
        query = query.where(REQUESTS.c.id < _read_cursor(wanted.cursor))
    found = [RequestView(**row._asdict()) for row in await transaction.select(query)]
    page = found[: wanted.limit]
    return Page(page, _cursor(page[-1].id) if len(found) > wanted.limit else None)


async def count_by_status(transaction: Transaction, wanted: Filter) -> dict[str, int]:
    """How many requests there are in each status, under the same filter."""
    query = _filtered(select(REQUESTS.c.status, func.count().label("n")), wanted).group_by(REQUESTS.c.status)
    found = {row.status: row.n for row in await transaction.select(query)}
    return {status: found.get(status, 0) for status in STATUSES}


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    for name in ("platform", "flow", "status", "account_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(REQUESTS.c[name] == value)
    if wanted.created_after is not None:
        query = query.where(REQUESTS.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(REQUESTS.c.created_at < wanted.created_before)
    return query


def _cursor(request_id: int) -> str:
    return base64.urlsafe_b64encode(f"before {request_id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> int:
    try:
        word, _, number = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(" ")
        if word == "before" and 0 <= int(number) < 2**63:
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise BadInput("this cursor is not one that a page gave", field="cursor")
