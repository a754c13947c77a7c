"""Reading requests and what they brought: typed read models, each query named."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, column, func, select, table

from beat_actors.database import Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.platforms.interface import Entity, Platform

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


class ProfileView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a profile: dimensions, metrics, and how fresh they are."""

    platform: str
    handle: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    freshness: dict[str, Any]
    posts: list[dict[str, Any]] = []


# A profile is public, but that somebody asked for it is not.
ASKED_BY = """ AND EXISTS (
    SELECT FROM profile_log l JOIN scrape_request_log r ON r.id = l.request_id
    WHERE l.platform = %(platform)s AND l.profile_id = p.{key} AND r.account_id = %(account)s)"""


async def get_profile(
    transaction: Transaction, platform: Platform, handle: str, *, posts: int = 0, account_id: str | None = None
) -> ProfileView:
    """The newest state of a profile, with its newest posts if any are wanted.

    Raises `NotFound`, also for a profile that no request of this account brought, where one is named.
    """
    profiles = _entity(platform, "profile_log")
    asked = ASKED_BY.format(key=profiles.subject or profiles.key) if account_id is not None else ""
    row = await transaction.row(
        f"SELECT * FROM {profiles.table} p WHERE handle = %(handle)s{asked} ORDER BY observed_at DESC LIMIT 1",  # noqa: S608 - declared
        {"handle": handle.removeprefix("@").lower(), "platform": platform.name, "account": account_id},
    )
    if row is None:
        raise NotFound(
            f"nothing is known of {handle[:80]!r} on {platform.name}; ask for it with POST /v1/scrape-requests"
        )
    fields = row._asdict()
    found = await _posts(transaction, platform, fields[profiles.key], posts) if posts else []
    dimensions, metrics = _split(profiles, fields)
    return ProfileView(
        platform=platform.name,
        handle=fields["handle"],
        dimensions=dimensions,
        metrics=metrics,
        freshness={"mode": "fresh", "as_of": fields["observed_at"], "source": fields["source"]},
        posts=found,
    )


async def _posts(transaction: Transaction, platform: Platform, profile_id: str, limit: int) -> list[dict[str, Any]]:
    entity = _entity(platform, "post_log")
    rows = await transaction.rows(
        f"SELECT * FROM {entity.table} WHERE profile_id = %s ORDER BY taken_at DESC NULLS LAST LIMIT %s",  # noqa: S608
        (profile_id, limit),
    )
    found = []
    for row in rows:
        dimensions, metrics = _split(entity, row._asdict())
        found.append({"dimensions": dimensions, "metrics": metrics, "as_of": row.observed_at, "source": row.source})
    return found


def _entity(platform: Platform, log: str) -> Entity:
    for entity in platform.entities:
        if entity.log == log:
            return entity
    raise NotFound(f"{platform.name} keeps no {log.removesuffix('_log')}s")


def _split(entity: Entity, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [field.name for field in msgspec.structs.fields(entity.record)]
    known = {name: fields[name] for name in names if fields[name] is not None}
    dimensions = {name: value for name, value in known.items() if name not in entity.metrics}
    return dimensions, {name: value for name, value in known.items() if name in entity.metrics}


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
