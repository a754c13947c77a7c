"""A small client of Beat's API: typed answers, errors that say what to do, and no request that is made twice.

    async with Client("http://localhost:8000", "beat_…") as beat:
        request = await beat.scrape("instagram", "refresh_profile_by_handle", {"handle": "creator_000001"})
        profile = await beat.get("profiles", "instagram", "creator_000001", posts=12)

It imports nothing of the engine. What an answer has beyond the fields named here is passed over, so a newer server does not break it.
"""

import asyncio
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

T = TypeVar("T")

PATIENCE = 30.0
LONGEST_WAIT = 60
SOON = 0.5
TOGETHER = 1000
AWAY = frozenset({429, 502, 503, 504})
REQUESTS = "/v1/scrape-requests"


class Problem(msgspec.Struct, frozen=True):
    """What the API says of a call that it refused (RFC 9457). `field`: what of the call is at fault."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    field: str | None = None

    @property
    def code(self) -> str:
        """The stable name of the error, as `bad_input`."""
        return self.type.rpartition(":")[2]


class ApiError(Exception):
    """The API refused a call. `retry_after` is in seconds, where the answer had it; `body` is the answer, whole."""

    def __init__(self, problem: Problem, retry_after: float | None = None, body: bytes = b"") -> None:
        super().__init__(problem.detail or problem.title or f"the API answered {problem.status}")
        self.problem = problem
        self.retry_after = retry_after
        self.body = body

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def status(self) -> int:
        return self.problem.status


class BadRequest(ApiError):
    """The call can never work as it is: `problem.field` says what is wrong with it."""


class NotAllowed(ApiError):
    """The key is missing, unknown, over, or may not do this."""


class NotThere(ApiError):
    """There is no such thing, or not for this key."""


class Refused(ApiError):
    """It contradicts what is there already (409), as an idempotency key that came with another body."""


class Away(ApiError):
    """The API, or what it stands on, did not answer in time, or the key's rate is used up; patience was at its end."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is committed. `accepted_as`: `new`, `joined` (the same is in flight) or `stored` (a fresh answer is there)."""

    id: int
    accepted_as: str
    location: str


class Refreshing(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh on demand that is committed. `deferred_to`: it is not begun before."""

    id: int
    location: str
    deferred_to: datetime | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it is now. `status`: PENDING, PROCESSING, COMPLETE, FAILED or CANCELLED; `data` has what came of it."""

    id: int
    platform: str
    flow: str
    params: dict[str, Any]
    status: str
    priority: int
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
        """Why it failed: `code` and `message`."""
        return (self.data or {}).get("error")


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """How many run again and how many cannot; from `next_cursor` on more match. An outcome without a `detail` runs again."""

    retried: int
    refused: int
    outcomes: list[dict[str, Any]]
    next_cursor: str | None = None


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must change first; `until` is when it does by itself, `None`: not without a person."""

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


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is not done: `summary` in a sentence; `eta` is an estimate."""

    request: Request
    summary: str
    next_attempt_at: datetime | None = None
    eta: datetime | None = None
    fetches: list[Waiting] = []


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """`mode`: fresh, partial or stale. `refresh`: where the request is that refreshes it."""

    mode: str
    as_of: datetime | None = None
    source: str | None = None
    max_age: float | None = None
    why: str | None = None
    next_attempt_at: datetime | None = None
    refresh_started: bool = False
    refresh: str | None = None


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """A profile, post, order or whatever else a platform keeps. `lists`: what was asked for along with it."""

    platform: str
    kind: str
    id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    freshness: Freshness
    changed_at: datetime | None = None
    lists: dict[str, list[dict[str, Any]]] = {}


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One of a list."""

    id: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    as_of: datetime
    source: str
    changed_at: datetime | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One observation, as it was made."""

    as_of: datetime
    source: str
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    request_id: int | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """That a thing is new or otherwise than it was. `cursor`: from where to go on, once this one is dealt with; `None` in mid-page."""

    platform: str
    kind: str
    id: str
    at: datetime
    request_id: int | None = None
    cursor: str | None = None


class _Pending(msgspec.Struct, frozen=True):
    """202 in place of an answer: it is being fetched."""

    freshness: Freshness


class _Outcomes(msgspec.Struct, frozen=True):
    outcomes: list[dict[str, Any]]


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    next_cursor: str | None = None


class _Requests(_Page, frozen=True, kw_only=True):
    requests: list[Request]


class _Items(_Page, frozen=True, kw_only=True):
    items: list[Item]


class _Snapshots(_Page, frozen=True, kw_only=True):
    snapshots: list[Snapshot]


class _Changes(_Page, frozen=True, kw_only=True):
    changes: list[Change]
    more: bool = False


P = TypeVar("P", bound=_Page)


class Client:
    """One for each event loop; close it, or use it in `async with`. `patience`: seconds for which a call is tried again while the
    API is away or the key's rate is used up."""

    def __init__(self, url: str, key: str, *, patience: float = PATIENCE) -> None:
        self._url = url.rstrip("/")
        self._patience = patience
        # Longer than a server waits before it answers.
        timeout = aiohttp.ClientTimeout(total=LONGEST_WAIT + 30, sock_connect=5)
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    # Requests

    async def submit(
        self, platform: str, flow: str, params: Mapping[str, Any], *, idempotency_key: str | None = None, **fields: Any
    ) -> Accepted:
        """Ask for data. `fields`: `priority`, `max_age`, `force`, `expires_at`, `account_id`, `tags`.

        A key is made where none is given, so that a call that is tried again is accepted once. Raises `ApiError`.
        """
        body = {"platform": platform, "flow": flow, "params": params, **fields}
        answer = await self._post(REQUESTS, body, dict[str, Any], key=idempotency_key or uuid.uuid4().hex)
        if "accepted_as" in answer:
            return msgspec.convert(answer, Accepted)
        # A stored answer comes at once, as the request that it is.
        return Accepted(id=answer["id"], accepted_as="stored", location=f"{REQUESTS}/{answer['id']}")

    async def submit_many(
        self, requests: Iterable[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[Accepted | Problem]:
        """Ask for many: an outcome for each, in their order. Each is as the body of one. Raises `ApiError`.

        They go in thousands; a key that is given covers each thousand under a name of its own.
        """
        wanted, outcomes = list(requests), list[Accepted | Problem]()
        key = idempotency_key or uuid.uuid4().hex
        for start in range(0, len(wanted), TOGETHER):
            body = {"requests": wanted[start : start + TOGETHER]}
            try:
                found = await self._post(REQUESTS, body, _Outcomes, key=f"{key}-{start}" if start else key)
            except BadRequest as refused:
                if b'"outcomes"' not in refused.body:
                    raise
                found = msgspec.json.decode(refused.body, type=_Outcomes)  # all of them were refused
            for one in found.outcomes:
                outcomes.append(
                    msgspec.convert(one, Accepted) if "accepted_as" in one else msgspec.convert(one, Problem)
                )
        return outcomes

    async def request(self, request_id: int) -> Request:
        """Raises `NotThere`."""
        return await self.fetch(f"{REQUESTS}/{request_id}", Request)

    async def wait(self, request_id: int, timeout: float = 300.0) -> Request:
        """The request once it has ended, or as it is after `timeout` seconds."""
        ends = time.monotonic() + timeout
        while True:
            left = max(0, min(LONGEST_WAIT, int(ends - time.monotonic() + 0.5)))
            request = await self.fetch(f"{REQUESTS}/{request_id}", Request, {"wait": left} if left else None)
            if request.ended or time.monotonic() >= ends:
                return request

    async def scrape(
        self, platform: str, flow: str, params: Mapping[str, Any], *, timeout: float = 300.0, **fields: Any
    ) -> Request:
        """Ask, and wait for the end: `submit` and `wait`."""
        accepted = await self.submit(platform, flow, params, **fields)
        return await self.wait(accepted.id, timeout)

    async def requests(self, **filters: Any) -> AsyncIterator[Request]:
        """All that match, newest first: `platform`, `flow`, `status`, `error`, `uncollected`, `created_after`, …"""
        async for page in self._pages(REQUESTS, _Requests, filters):
            for request in page.requests:
                yield request

    async def explain(self, request_id: int) -> Explanation:
        """Raises `NotThere`."""
        return await self.fetch(f"{REQUESTS}/{request_id}/explain", Explanation)

    async def cancel(self, request_id: int, reason: str | None = None) -> str:
        """End a request that is not wanted any more; its status, which may be how it had ended before."""
        body = {"reason": reason} if reason else {}
        return str((await self._post(f"{REQUESTS}/{request_id}/cancel", body, dict[str, Any]))["status"])

    async def retry(self, request_id: int) -> None:
        """Run again what FAILED or was CANCELLED. Raises `Refused` for what runs, or is complete.

        Where an answer was lost it may be refused because it runs already.
        """
        await self._post(f"{REQUESTS}/{request_id}/retry", {}, dict[str, Any])

    async def retry_matching(self, **filters: Any) -> Retried:
        """Run again what matches: `platform`, `flow`, `status` (FAILED), `error`, `created_after`, …, 1,000 at most."""
        return await self._post(f"{REQUESTS}/retry", filters, Retried)

    async def refresh(
        self, platform: str, handle: str, *, idempotency_key: str | None = None, **fields: Any
    ) -> Refreshing:
        """Have a profile observed anew for somebody who waits, within the limits on that. `fields`: `priority`, `account_id`, `expires_at`.

        Raises `Away` where a limit has no room for longer than patience lasts: `retry_after` says until when.
        """
        path = f"{_path('profiles', platform, handle)}/refresh"
        return await self._post(path, fields, Refreshing, key=idempotency_key or uuid.uuid4().hex)

    # Data

    async def get(
        self,
        kind: str,
        platform: str,
        name: str,
        *,
        max_age: int | None = None,
        allow_stale: bool = True,
        timeout: float = 300.0,
        **lists: int,
    ) -> Thing:
        """One thing by its id or any of its names; `posts=12` reads the newest of a list along.

        With `allow_stale=False` its refresh is waited for, `timeout` seconds at most. Raises `NotThere`, `Away`.
        """
        params: dict[str, Any] = {**lists, "allow_stale": allow_stale, "max_age": max_age}
        path = _path(kind, platform, name)
        answer = await self.fetch(path, dict[str, Any], params)
        if "dimensions" not in answer:
            await self._refreshed(msgspec.convert(answer, _Pending).freshness, timeout)
            # As fresh as it gets: a `max_age` that is shorter than a refresh takes must not start one after the other.
            answer = await self.fetch(path, dict[str, Any], lists)
        return msgspec.convert({**answer, "lists": {each: answer[each] for each in lists if each in answer}}, Thing)

    async def _refreshed(self, pending: Freshness, timeout: float) -> None:
        """Wait for a refresh that was started. Raises `Away` where there is none, or it brought nothing."""
        told = pending.why or "it is being refreshed"
        if pending.refresh is not None:
            request = await self.wait(int(pending.refresh.rpartition("/")[2]), timeout)
            if request.status == "COMPLETE":
                return
            told = f"its refresh is {request.status}: {(request.error or {}).get('message', told)}"
        raise Away(Problem("urn:beat:problem:not_fresh", "Not fresh", 0, told))

    async def listed(self, kind: str, platform: str, name: str, what: str, **params: Any) -> AsyncIterator[Item]:
        """All of a list under a thing, newest first: `listed("profiles", "instagram", "nasa", "posts")`."""
        async for page in self._pages(f"{_path(kind, platform, name)}/{what}", _Items, params):
            for item in page.items:
                yield item

    async def history(self, kind: str, platform: str, name: str, **params: Any) -> AsyncIterator[Snapshot]:
        """What was observed of a thing, newest first; `since` and `until` are times with their zone."""
        async for page in self._pages(f"{_path(kind, platform, name)}/history", _Snapshots, params):
            for snapshot in page.snapshots:
                yield snapshot

    async def changes(
        self, since: str | None = None, *, follow: float | None = None, **filters: Any
    ) -> AsyncIterator[Change]:
        """What changed since a cursor or a time, in order. `follow`: look again every so many seconds, for ever.

        Keep the last `cursor` that was given: from there nothing is missed. Raises `ApiError` with the code `cursor_expired`.
        """
        while True:
            page = await self.fetch("/v1/changes", _Changes, filters | ({"since": since} if since else {}))
            for place, change in enumerate(page.changes, start=1):
                last = place == len(page.changes)
                yield msgspec.structs.replace(change, cursor=page.next_cursor if last else None)
            since = page.next_cursor
            if not page.more:
                if follow is None:
                    return
                await asyncio.sleep(follow)

    # Any call

    async def fetch(self, path: str, kind: type[T], params: Mapping[str, Any] | None = None) -> T:
        """GET, decoded as `kind`. Raises `ApiError`."""
        query = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        return await self._call("GET", path, kind, params=query)

    async def _pages(self, path: str, kind: type[P], params: Mapping[str, Any]) -> AsyncIterator[P]:
        cursor: str | None = None
        while True:
            page = await self.fetch(path, kind, {**params, "cursor": cursor})
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _post(self, path: str, body: Any, kind: type[T], *, key: str | None = None) -> T:
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return await self._call("POST", path, kind, data=msgspec.json.encode(body), headers=headers)

    async def _call(self, method: str, path: str, kind: type[T], **options: Any) -> T:
        """Tried again while the API is away: every call here may be made twice and counts once."""
        ends = time.monotonic() + self._patience
        while True:
            try:
                async with self._http.request(method, self._url + path, **options) as response:
                    body = await response.read()
                    if response.status < 400:
                        return msgspec.json.decode(body, type=kind)
                    error = _error(response.status, body, response.headers.get("Retry-After"))
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as broken:
                told = f"{self._url} does not answer ({type(broken).__name__})"
                error = Away(Problem("urn:beat:problem:away", "The API is away", 0, told))
            pause = (error.retry_after or SOON) * random.uniform(1.0, 1.2)
            if not isinstance(error, Away) or time.monotonic() + pause > ends:
                raise error
            await asyncio.sleep(pause)


def _error(status: int, body: bytes, retry_after: str | None) -> ApiError:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        problem = Problem()
    if not problem.status:
        problem = msgspec.structs.replace(problem, status=status)
    seconds = float(retry_after) if retry_after and re.fullmatch("[0-9]{1,9}", retry_after) else None
    kinds: dict[int, type[ApiError]] = {401: NotAllowed, 403: NotAllowed, 404: NotThere, 409: Refused}
    if status in AWAY:
        return Away(problem, seconds, body)
    return kinds.get(status, BadRequest if status < 500 else ApiError)(problem, seconds, body)


def _path(kind: str, platform: str, name: str) -> str:
    return f"/v1/{quote(kind, safe='')}/{quote(platform, safe='')}/{quote(name, safe='')}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)
