"""The client: requests, and data."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec

from beat_actors.client.answers import (
    Accepted,
    Cancelled,
    Change,
    Explanation,
    Freshness,
    Item,
    Refreshing,
    Request,
    Retried,
    Snapshot,
    Thing,
)
from beat_actors.client.batches import TOGETHER, BatchCalls
from beat_actors.client.calls import LONGEST_WAIT, Page, path_of
from beat_actors.client.errors import Away, BadRequest, Problem

REQUESTS = "/v1/scrape-requests"


class _Pending(msgspec.Struct, frozen=True):
    """The answer 202: the thing is being fetched."""

    freshness: Freshness


class _Outcomes(msgspec.Struct, frozen=True):
    outcomes: list[dict[str, Any]]


class _Requests(Page, frozen=True, kw_only=True):
    requests: list[Request]


class _Items(Page, frozen=True, kw_only=True):
    items: list[Item]


class _Snapshots(Page, frozen=True, kw_only=True):
    snapshots: list[Snapshot]


class _Changes(Page, frozen=True, kw_only=True):
    changes: list[Change]
    more: bool = False


class Client(BatchCalls):
    """Use one for each event loop. Close it, or use it in `async with`. `patience`: seconds for which a call is tried again while the API is
    away or the key's rate is used up."""

    # Requests

    async def submit(
        self, platform: str, flow: str, params: Mapping[str, Any], *, idempotency_key: str | None = None, **fields: Any
    ) -> Accepted:
        """Ask for data. `fields`: `priority`, `max_age`, `force`, `expires_at`, `account_id`, `tags`.

        The client makes an idempotency key where none is given, so that a call that is tried again is accepted once. Raises `ApiError`.
        """
        body = {"platform": platform, "flow": flow, "params": params, **fields}
        answer = await self._post(REQUESTS, body, dict[str, Any], key=idempotency_key or uuid.uuid4().hex)
        if "accepted_as" in answer:
            return msgspec.convert(answer, Accepted)
        # Where a fresh answer is stored, the API answers with the whole request, which has ended.
        return Accepted(id=answer["id"], accepted_as="stored", location=f"{REQUESTS}/{answer['id']}")

    async def submit_many(
        self, requests: Iterable[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[Accepted | Problem]:
        """Ask for data many times. Each request is as the body of one. Returns an outcome for each, in their order. Raises `ApiError`.

        The client sends a thousand at a time, and derives the idempotency key of each thousand from the one that is given.
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
        """Submit a request and wait until it has ended, or for `timeout` seconds."""
        accepted = await self.submit(platform, flow, params, **fields)
        return await self.wait(accepted.id, timeout)

    async def requests(self, **filters: Any) -> AsyncIterator[Request]:
        """All requests that match, newest first. `filters`: `platform`, `flow`, `status`, `error`, `tags`, `batch_id`, `created_after`, …"""
        tags = {f"tag.{name}": value for name, value in filters.pop("tags", {}).items()}
        async for page in self._pages(REQUESTS, _Requests, filters | tags):
            for request in page.requests:
                yield request

    async def explain(self, request_id: int) -> Explanation:
        """Raises `NotThere`."""
        return await self.fetch(f"{REQUESTS}/{request_id}/explain", Explanation)

    async def cancel(self, request_id: int, reason: str | None = None) -> str:
        """End a request that is not wanted any more. Returns its status, which is that of its end where it had ended before."""
        body = {"reason": reason} if reason else {}
        return str((await self._post(f"{REQUESTS}/{request_id}/cancel", body, dict[str, Any]))["status"])

    async def cancel_matching(self, **filters: Any) -> Cancelled:
        """Cancel the unfinished requests that match, at most 1,000. `filters`: `platform`, `flow`, `tags`, `batch_id`, `created_after`, …"""
        return await self._post(f"{REQUESTS}/cancel", filters, Cancelled)

    async def retry(self, request_id: int) -> None:
        """Run a request again that FAILED or was CANCELLED. Raises `Refused` for one that runs or is complete.

        Where the answer to the first try was lost, the second try may be refused because the request runs already.
        """
        await self._post(f"{REQUESTS}/{request_id}/retry", {}, dict[str, Any])

    async def retry_matching(self, **filters: Any) -> Retried:
        """Run all matching requests again, at most 1,000. `filters`: `platform`, `flow`, `status` (FAILED), `error`, `created_after`, …"""
        return await self._post(f"{REQUESTS}/retry", filters, Retried)

    async def refresh(
        self, platform: str, handle: str, *, idempotency_key: str | None = None, **fields: Any
    ) -> Refreshing:
        """Refresh a profile on demand, within the limits on these requests. `fields`: `priority`, `account_id`, `expires_at`.

        Raises `Away` where a limit has no room for longer than the client's `patience`. Its `retry_after` says when there is room.
        """
        path = f"{path_of('profiles', platform, handle)}/refresh"
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
        """One thing by its id or any of its names. `posts=12` reads the newest twelve of the list `posts` along with it.

        With `allow_stale=False` the client waits for the thing's refresh, at most `timeout` seconds. Raises `NotThere`, `Away`.
        """
        params: dict[str, Any] = {**lists, "allow_stale": allow_stale, "max_age": max_age}
        path = path_of(kind, platform, name)
        answer = await self.fetch(path, dict[str, Any], params)
        if "dimensions" not in answer:
            await self._refreshed(msgspec.convert(answer, _Pending).freshness, timeout)
            # Without `max_age`: one that is shorter than a refresh takes would start a refresh each time.
            answer = await self.fetch(path, dict[str, Any], lists)
        return msgspec.convert({**answer, "lists": {each: answer[each] for each in lists if each in answer}}, Thing)

    async def _refreshed(self, pending: Freshness, timeout: float) -> None:
        """Wait for a refresh that was started. Raises `Away` where none was started, or where it did not complete."""
        told = pending.why or "it is being refreshed"
        if pending.refresh is not None:
            request = await self.wait(int(pending.refresh.rpartition("/")[2]), timeout)
            if request.status == "COMPLETE":
                return
            told = f"its refresh is {request.status}: {(request.error or {}).get('message', told)}"
        raise Away(Problem("urn:beat:problem:not_fresh", "Not fresh", 0, told))

    async def known(self, kind: str, platform: str) -> AsyncIterator[Item]:
        """All that is known of a kind, in the order of the ids: `known("profiles", "instagram")`."""
        async for page in self._pages(f"/v1/{kind}/{platform}", _Items, {}):
            for item in page.items:
                yield item

    async def listed(self, kind: str, platform: str, name: str, what: str, **params: Any) -> AsyncIterator[Item]:
        """All items of a thing's list, newest first: `listed("profiles", "instagram", "nasa", "posts")`."""
        async for page in self._pages(f"{path_of(kind, platform, name)}/{what}", _Items, params):
            for item in page.items:
                yield item

    async def history(self, kind: str, platform: str, name: str, **params: Any) -> AsyncIterator[Snapshot]:
        """All observations of a thing, newest first. `since`, `until`: times with their zone."""
        async for page in self._pages(f"{path_of(kind, platform, name)}/history", _Snapshots, params):
            for snapshot in page.snapshots:
                yield snapshot

    async def changes(
        self, since: str | None = None, *, follow: float | None = None, **filters: Any
    ) -> AsyncIterator[Change]:
        """What changed since a cursor or a time, in order. `follow`: look again every so many seconds, for ever.

        Keep the last `cursor` that was not `None`, and continue from it to miss no change. Raises `ApiError` with the code `cursor_expired`.
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
