"""Requests: their list, why one waits, retries and cancellations."""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from beat_actors.cli import operators
from beat_actors.requests.explain import Explanation
from beat_actors.requests.views import Filter, RequestView

REQUESTS = "/v1/scrape-requests"

Again = tuple[int, list[tuple[int, str]], bool]
"""How many run again, which cannot and why, and whether more match."""


class Listing(msgspec.Struct, frozen=True):
    """A page of requests, and how many there are in each status under the same filter."""

    requests: list[RequestView]
    next_cursor: str | None
    counts: dict[str, int]


class There(operators.There):
    async def one(self, request: int) -> RequestView:
        return await self.client.fetch(f"{REQUESTS}/{request}", RequestView)

    async def page(self, wanted: Filter) -> Listing:
        return await self.client.fetch(REQUESTS, Listing, {**_fields(wanted), "counts": True, "limit": wanted.limit})

    async def why(self, request: int) -> Explanation:
        found = await self.client.fetch(f"{REQUESTS}/{request}/explain", Explanation)
        for call in found.calls:
            call["at"] = datetime.fromisoformat(call["at"])
        return found

    async def retry(self, request: int) -> None:
        await self.client.retry(request)

    async def retry_matching(self, wanted: Filter, limit: int) -> Again:
        found = await self.client.retry_matching(**_fields(wanted), limit=limit)
        refused = [(one["id"], one["detail"]) for one in found.outcomes if "detail" in one]
        return found.retried, refused, found.next_cursor is not None

    async def cancel(self, ids: Sequence[int], *, reason: str) -> list[int]:
        from beat_actors.client import NotThere  # loads aiohttp, which only this way needs

        ended = []
        for request in ids:
            with contextlib.suppress(NotThere):
                if await self.client.cancel(request, reason) == "CANCELLED":
                    ended.append(request)
        return ended


def _fields(wanted: Filter) -> dict[str, Any]:
    """What a filter says, as the API takes it."""
    fields = ("platform", "flow", "status", "account_id", "error")
    given = {name: value for name in fields if (value := getattr(wanted, name)) is not None}
    return given | ({"uncollected": True} if wanted.uncollected else {})
