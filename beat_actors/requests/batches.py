"""Batches: many requests that are submitted, followed, cancelled and told of under one id.

A batch is `OPEN` while requests are added, then `RUNNING` (`CANCELLING` where it was cancelled), and `ENDED` once all of its requests have
ended. That is found by a sweep: the end of a request writes no batch, so that batches of any size cost their requests nothing.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.data import cursors
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.requests import intake, lifecycle
from beat_actors.requests.intake import Accepted, Prepared
from beat_actors.requests.swept import Swept
from beat_actors.requests.views import STATUSES
from beat_actors.shapes import one_of

MOST = 100_000
"""Requests of one batch. A count of a batch reads as many entries of an index."""
MAX_PAGE = 200
CANCELLED_AT_ONCE = 1000
LOOKED, ENDED_AT_ONCE, STEPS = 2000, 4, 10
"""Batches that one step of the sweep looks at, and that it ends; and the most steps of one run."""
IDLE = 5.0
"""Seconds until the sweep looks again where there was no batch that has not ended."""
STATES = ("OPEN", "RUNNING", "CANCELLING", "ENDED")


class Row(NamedTuple):
    """A batch. `counts`: of its requests by status, `None` where they are not counted."""

    id: int
    account_id: str | None
    api_key_id: int | None
    total: int
    created_at: datetime
    closed_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None
    counts: dict[str, int] | None


class Locked(NamedTuple):
    """A batch without its counts."""

    id: int
    account_id: str | None
    api_key_id: int | None
    total: int
    created_at: datetime
    closed_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None


class Cancelled(NamedTuple):
    """A batch to cancel, and why."""

    id: int
    reason: str


class Step(NamedTuple):
    """A step of the sweep: where the walk goes on, whether it is at its end, and how many batches ended."""

    last: int
    whole: bool
    ended: int


SQL = Statements(__file__)
CREATE = SQL("create", int)
USED = SQL("used", int)
LOCK = SQL("lock", Locked)
GROW, CANCEL = SQL("grow"), SQL("cancel")
FIND, LIST = SQL("find", Row), SQL("list", Row)
ENDED = SQL("ended", int)
UNFINISHED = SQL("unfinished", int)
CANCELLED = SQL("cancelled", Cancelled)
END = SQL("end", Step)


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of requests. `state`: OPEN while requests are added, RUNNING, CANCELLING, or ENDED once all of its requests have ended.

    `counts`: its requests by status, as they were when it ended; `null` in lists where it has not ended. `finished`: how many have ended.
    """

    id: int
    location: str
    state: Annotated[str, one_of(STATES)]
    account_id: str | None
    total: int
    finished: int | None
    counts: dict[str, int] | None
    created_at: datetime
    closed_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        return self.ended_at is not None


class BatchPage(msgspec.Struct, frozen=True):
    """Batches, newest first; `next_cursor` is `null` on the last page."""

    batches: list[BatchView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks at batches. `account_id`: those of this account alone. `key_id`: those that this key made."""

    account_id: str | None = None
    key_id: int | None = None

    @property
    def sees(self) -> dict[str, str | int | None]:
        return {"account": self.account_id, "own": self.key_id}


class _Replayed(Exception):
    def __init__(self, accepted: list[Accepted]) -> None:
        self.accepted = accepted


def view(row: Row) -> BatchView:
    counts = None if row.counts is None and row.ended_at is None else row.counts or {}
    by_status = None if counts is None else {status: counts.get(status, 0) for status in STATUSES}
    finished = None if by_status is None else sum(by_status[status] for status in ("COMPLETE", "FAILED", "CANCELLED"))
    return BatchView(
        id=row.id,
        location=f"/v1/batches/{row.id}",
        state=_state(row),
        account_id=row.account_id,
        total=row.total,
        finished=finished,
        counts=by_status,
        created_at=row.created_at,
        closed_at=row.closed_at,
        cancelled_at=row.cancelled_at,
        ended_at=row.ended_at,
    )


def _state(row: Row) -> str:
    if row.ended_at is not None:
        return "ENDED"
    if row.cancelled_at is not None:
        return "CANCELLING"
    return "OPEN" if row.closed_at is None else "RUNNING"


async def create(
    database: Database, prepared: Sequence[Prepared], *, account_id: str | None, api_key_id: int | None, more: bool
) -> tuple[int, list[Accepted]]:
    """A batch of these requests, which is committed: its id and what became of each. `more`: further requests will be added.

    Where their idempotency key made a batch before, it is that batch again. Raises as `intake.insert`.
    """
    try:
        async with database.transaction() as transaction:
            values = {"account": account_id, "key": api_key_id, "total": len(prepared), "closed": not more}
            number = await transaction.only(CREATE, values)
            accepted = await _submit(transaction, number, prepared)
    except _Replayed as replayed:
        return await _of_key(database, prepared), replayed.accepted
    intake.committed()
    return number, accepted


async def add(
    database: Database, number: int, prepared: Sequence[Prepared], *, reader: Reader, more: bool
) -> list[Accepted]:
    """Add these requests to a batch that is open, and close it unless there is `more`.

    Raises `NotFound`, `Conflict` for one that is closed, `BadInput` for too many requests or those of another account, and as `intake.insert`.
    """
    first = prepared[0].request
    again = await intake.key_was_used(database, first.idempotency_owner, first.idempotency_key)
    try:
        async with database.transaction() as transaction:
            batch = await _locked(transaction, number, reader)
            if not again:
                _check_open(batch, prepared)
            accepted = await _submit(transaction, number, prepared)
            await transaction.run(GROW, {"id": number, "added": len(prepared), "closed": not more})
    except _Replayed as replayed:
        return replayed.accepted
    intake.committed()
    return accepted


async def close(database: Database, number: int, *, reader: Reader, actor: str | None = None) -> None:
    """Add no more requests to a batch. Safe to repeat. Raises `NotFound`."""
    async with database.transaction() as transaction:
        batch = await _locked(transaction, number, reader)
        if batch.closed_at is None:
            await transaction.run(GROW, {"id": number, "added": 0, "closed": True})
            if actor is not None:
                await audit.record(transaction, actor=actor, action="batch.close", target=f"batch/{number}", detail={})


async def cancel(database: Database, number: int, *, reader: Reader, reason: str, actor: str | None = None) -> None:
    """Cancel a batch: up to 1,000 of its requests at once, the others by the sweep. Safe to repeat. Raises `NotFound`."""
    async with database.transaction() as transaction:
        batch = await _locked(transaction, number, reader)
        if batch.ended_at is not None:
            return
        await transaction.run(CANCEL, {"id": number, "reason": reason})
        if actor is not None and batch.cancelled_at is None:
            detail = {"reason": reason}
            await audit.record(transaction, actor=actor, action="batch.cancel", target=f"batch/{number}", detail=detail)
    await _cancel_some(database, number, reason)


async def find(transaction: Transaction, number: int, reader: Reader) -> BatchView:
    """Raises `NotFound`, also for one that the reader may not see."""
    row = await transaction.row(FIND, {"id": number, **reader.sees})
    if row is None:
        raise NotFound(f"there is no batch {number}")
    return view(row)


async def overview(transaction: Transaction, reader: Reader, *, limit: int, cursor: str | None) -> BatchPage:
    """A page of batches. Raises `BadInput` for a cursor that no page gave."""
    before = 2**63 - 1 if cursor is None else cursors.read(cursor, cursors.Before).id
    rows = await transaction.rows(LIST, {**reader.sees, "before": before, "limit": limit + 1})
    page = [view(row) for row in rows[:limit]]
    return BatchPage(page, cursors.write(cursors.Before(page[-1].id)) if len(rows) > limit else None)


async def ended(database: Database, ids: Collection[int]) -> set[int]:
    """Those of these batches that have ended."""
    async with database.statements() as alone:
        return set(await alone.rows(ENDED, {"ids": sorted(ids)}))


class Sweep:
    """The walk of one process through the batches that have not ended; a new one begins at their beginning."""

    def __init__(self) -> None:
        self._after = 0
        self._idle_until = 0.0

    async def __call__(self, database: Database, epoch: int | None = None) -> Swept:
        """Go on with a cancelled batch, 1,000 requests a run, and end those of which all requests have ended, `STEPS` times `ENDED_AT_ONCE` at most."""
        if time.monotonic() < self._idle_until:
            return Swept()
        async with database.statements() as alone:
            left = await alone.row(CANCELLED, {"epoch": epoch})
        if left is not None:
            await _cancel_some(database, left.id, left.reason)
        count = 0
        async with database.statements() as alone:
            for _ in range(STEPS):
                values = {"after": self._after, "looked": LOOKED, "most": ENDED_AT_ONCE, "epoch": epoch}
                step = await alone.only(END, values)
                count += step.ended
                if not self._after and not step.last:
                    self._idle_until = time.monotonic() + IDLE
                self._after = 0 if step.whole else step.last
                if step.whole:
                    break
        return Swept(count=count)


async def _cancel_some(database: Database, number: int, reason: str) -> None:
    async with database.transaction() as transaction:
        ids = await transaction.rows(UNFINISHED, {"id": number, "limit": CANCELLED_AT_ONCE})
        if ids:
            await lifecycle.cancel(transaction, ids, reason=reason)


async def _submit(transaction: Transaction, number: int, prepared: Sequence[Prepared]) -> list[Accepted]:
    items = [replace(item, request=replace(item.request, batch_id=number)) for item in prepared]
    accepted = await intake.submit(transaction, items)
    if not all(one.created for one in accepted):  # an idempotency key covers all of a call
        raise _Replayed(accepted)
    return accepted


async def _of_key(database: Database, prepared: Sequence[Prepared]) -> int:
    first = prepared[0].request
    async with database.statements() as alone:
        return await alone.only(USED, {"owner": first.idempotency_owner, "key": first.idempotency_key})


async def _locked(transaction: Transaction, number: int, reader: Reader) -> Locked:
    row = await transaction.row(LOCK, {"id": number, **reader.sees})
    if row is None:
        raise NotFound(f"there is no batch {number}")
    return row


def _check_open(batch: Locked, prepared: Sequence[Prepared]) -> None:
    if batch.closed_at is not None:
        raise Conflict(f"batch {batch.id} is closed and takes no more requests; create another one")
    if batch.total + len(prepared) > MOST:
        raise BadInput(f"a batch holds {MOST:,} requests, and this one has {batch.total:,}", field="requests")
    others = {item.request.account_id for item in prepared} - {batch.account_id}
    if batch.account_id is not None and others:
        raise BadInput("the batch belongs to one account; its requests must be of that account", field="requests")
