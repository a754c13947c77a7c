"""The answers of the API, as far as the client reads them. A field that is not declared here is ignored, so that a newer server does not break it."""

from datetime import datetime
from typing import Any

import msgspec


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is committed. `accepted_as`: `new`, `joined` (the same request is in flight) `stored` (a fresh answer was stored) or
    `remembered` (a provider said lately that it is missing or private)."""

    id: int
    accepted_as: str
    location: str


class Refreshing(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh on demand that is committed. `deferred_to`: it does not begin before then."""

    id: int
    location: str
    deferred_to: datetime | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it is now. `status`: PENDING, PROCESSING, COMPLETE, FAILED or CANCELLED. `data`: its result."""

    id: int
    platform: str
    flow: str
    params: dict[str, Any]
    status: str
    priority: str
    account_id: str | None = None
    created_at: datetime
    picked_at: datetime | None = None
    scraped_at: datetime | None = None
    expires_at: datetime | None = None
    retry_count: int = 0
    items: int = 0
    data: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    observed_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("COMPLETE", "FAILED", "CANCELLED")

    @property
    def error(self) -> dict[str, Any] | None:
        """Why the request failed: `code` and `message`."""
        return (self.data or {}).get("error")


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests run again and how many cannot. More match from `next_cursor` on. The request of an outcome without a `detail` runs again."""

    retried: int
    refused: int
    outcomes: list[dict[str, Any]]
    next_cursor: str | None = None


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The requests that were cancelled. More match from `next_cursor` on."""

    ids: list[int]
    next_cursor: str | None = None


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must change first. `until`: when it changes by itself; `None` where a person must act."""

    why: str
    until: datetime | None = None
    source: str | None = None
    credential_id: int | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """One call to a provider that the request needs, and what it waits for."""

    operation: str
    stage: str
    source: str | None = None
    blockers: list[Blocker] = []
    next_attempt_at: datetime | None = None


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """When a request is likely to be complete. `earliest` and `latest`: of four cases in five. `basis`: what it rests on. `unknown`: why there is no time."""

    at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    basis: str = ""
    unknown: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is not done. `summary`: in a sentence. `eta`: an estimate of its end; `expected`: the same with an interval."""

    request: Request
    summary: str
    next_attempt_at: datetime | None = None
    eta: datetime | None = None
    expected: Expected | None = None
    fetches: list[Waiting] = []


class HeldNote(msgspec.Struct, frozen=True, kw_only=True):
    """A newer record of a thing that has to be confirmed before it is served. `fields`: those that are held; an empty name: the whole record."""

    fields: list[str]
    rules: list[str]
    since: datetime
    state: str
    next_at: datetime | None = None


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How old data are. `mode`: fresh, partial, stale, or held, if a newer record has to be confirmed. `refresh`: the path of the request that
    refreshes them."""

    mode: str
    as_of: datetime | None = None
    source: str | None = None
    max_age: float | None = None
    why: str | None = None
    next_attempt_at: datetime | None = None
    refresh_started: bool = False
    refresh: str | None = None
    held: HeldNote | None = None


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """A profile, a post, an order or another kind of thing that a platform keeps. `lists`: the lists that were asked for along with it."""

    platform: str
    kind: str
    id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    freshness: Freshness
    changed_at: datetime | None = None
    score: int | None = None
    lists: dict[str, list[dict[str, Any]]] = {}


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of a list."""

    id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    as_of: datetime
    source: str
    changed_at: datetime | None = None
    score: int | None = None
    held: HeldNote | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One observation."""

    as_of: datetime
    source: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    request_id: int | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A thing is new or has changed. `cursor`: where to continue once this change and all before it are handled; `None` within a page."""

    platform: str
    kind: str
    id: str
    at: datetime
    request_id: int | None = None
    cursor: str | None = None
