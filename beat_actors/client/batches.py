"""The client: batches."""

import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from beat_actors.client.answers import Accepted
from beat_actors.client.calls import LONGEST_WAIT, Calls, Page
from beat_actors.client.errors import Problem

TOGETHER = 1000
BATCHES = "/v1/batches"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Many requests under one id. `state`: OPEN while requests are added, RUNNING, CANCELLING, ENDED. `counts`: of its requests by status."""

    id: int
    location: str
    state: str
    total: int
    finished: int | None = None
    counts: dict[str, int] | None = None
    account_id: str | None = None
    created_at: datetime
    cancelled_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.ended_at is not None


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it was when its last requests were added, and what became of each request, in their order."""

    batch: Batch
    outcomes: list[Accepted | Problem]


class _Answer(msgspec.Struct, frozen=True):
    batch: Batch
    outcomes: list[dict[str, Any]]


class _Batches(Page, frozen=True, kw_only=True):
    batches: list[Batch]


class BatchCalls(Calls):
    """The calls of a client about batches."""

    async def submit_batch(
        self, requests: Iterable[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> Submitted:
        """Submit many requests as one batch. Each is as the body of one request.

        The client sends a thousand at a time, and derives the idempotency key of each thousand from the one that is given, so that a call that
        is tried again adds nothing twice. Raises `BadRequest` where none of a thousand can be accepted; the batch is then open, or there is none.
        """
        wanted, key = list(requests), idempotency_key or uuid.uuid4().hex
        path, outcomes = BATCHES, list[Accepted | Problem]()
        for start in range(0, max(1, len(wanted)), TOGETHER):
            body = {"requests": wanted[start : start + TOGETHER], "more": start + TOGETHER < len(wanted)}
            answer = await self._post(path, body, _Answer, key=f"{key}-{start}" if start else key)
            path = f"{answer.batch.location}/requests"
            for one in answer.outcomes:
                outcomes.append(
                    msgspec.convert(one, Accepted) if "accepted_as" in one else msgspec.convert(one, Problem)
                )
        return Submitted(batch=answer.batch, outcomes=outcomes)

    async def batch(self, batch_id: int) -> Batch:
        """A batch and its progress. Raises `NotThere`."""
        return await self.fetch(f"{BATCHES}/{batch_id}", Batch)

    async def wait_batch(self, batch_id: int, timeout: float = 3600.0) -> Batch:
        """The batch once all of its requests have ended, or as it is after `timeout` seconds."""
        ends = time.monotonic() + timeout
        while True:
            left = max(0, min(LONGEST_WAIT, int(ends - time.monotonic() + 0.5)))
            batch = await self.fetch(f"{BATCHES}/{batch_id}", Batch, {"wait": left} if left else None)
            if batch.ended or time.monotonic() >= ends:
                return batch

    async def close_batch(self, batch_id: int) -> Batch:
        """Add no more requests to a batch."""
        return await self._post(f"{BATCHES}/{batch_id}/close", {}, Batch)

    async def cancel_batch(self, batch_id: int, reason: str | None = None) -> Batch:
        """Cancel the requests of a batch that have not ended: up to 1,000 at once, the others within seconds."""
        return await self._post(f"{BATCHES}/{batch_id}/cancel", {"reason": reason} if reason else {}, Batch)

    async def batches(self) -> AsyncIterator[Batch]:
        """All batches, newest first; `counts` are those of batches that have ended."""
        async for page in self._pages(BATCHES, _Batches, {}):
            for batch in page.batches:
                yield batch
