"""Running again what failed or was cancelled: the same request, with fetches anew. What an earlier run still has under way counts
no more; where the same work is in flight, the request follows the one that leads it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from beat_actors import audit
from beat_actors.access import grants
from beat_actors.access.scopes import Scope
from beat_actors.database import Database, Statements, Transaction, jsonb
from beat_actors.errors import BadInput, BeatError, Conflict, Forbidden, NotFound, StorageUnavailable
from beat_actors.fetches.lanes import lane_ids
from beat_actors.requests.intake import NewRequest, Prepared, prepare, resumed
from beat_actors.requests.listing import matching
from beat_actors.requests.open_requests import Tenant
from beat_actors.requests.states import Priority, Status
from beat_actors.requests.views import MAX_RETRIES, Filter

RETRYABLE = (Status.FAILED.value, Status.CANCELLED.value)
ROUNDS = 5
"""Tries of a transaction that lost a race: each time, somebody else began the same work."""

SQL = Statements(__file__)


class Locked(NamedTuple):
    """A request that is to run again."""

    id: int
    platform: str
    flow: str
    params: dict[str, Any]
    status: str
    priority: int
    account_id: str | None
    expires_at: datetime | None
    apart: bool
    live: bool
    retry_count: int


class Again(NamedTuple):
    """A request that runs again. `escalated`: it made what it waits for more urgent, or later to expire."""

    id: int
    escalated: bool


LOCK = SQL("lock", Locked)
RETRY = SQL("retry", Again)


@dataclass(frozen=True, slots=True)
class Retried:
    """One request: it runs again where there is no `error`."""

    id: int
    platform: str
    error: BeatError | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """What was retried, and the cursor from which more may match."""

    outcomes: list[Retried]
    next_cursor: str | None


async def retry(
    database: Database, request_id: int, *, account_id: str | None = None, actor: str | None = None, urgent: bool = True
) -> Retried:
    """Run one request again. Wake the broker of its platform afterwards. `actor`: whose doing it is, for the audit log. `urgent`: the
    priority customer may be asked for.

    Raises `NotFound`, also for one that is not this account's where one is named, `Conflict` for one that cannot run again, and
    `Forbidden` for one of the priority customer without `urgent`.
    """
    outcomes = await retry_all(database, [request_id], account_id=account_id, actor=actor, urgent=urgent)
    if not outcomes:
        raise NotFound(f"there is no request {request_id}")
    if outcomes[0].error is not None:
        raise outcomes[0].error
    return outcomes[0]


async def retry_matching(
    database: Database,
    wanted: Filter,
    *,
    limit: int = MAX_RETRIES,
    actor: str | None = None,
    urgent: bool = True,
    room: Callable[[Iterable[Tenant]], AbstractAsyncContextManager[None]] | None = None,
) -> Many:
    """Run again what matches, the newest first and `limit` at most; of FAILED requests, unless the filter names CANCELLED.

    `room`: is entered with the tenants of the requests, one for each, and raises where one of them may have no more open requests.
    """
    if wanted.status not in RETRYABLE:
        raise BadInput(f"the status of requests to retry must be {' or '.join(RETRYABLE)}", field="status")
    if not 1 <= limit <= MAX_RETRIES:
        raise BadInput(f"limit is 1 to {MAX_RETRIES}", field="limit")
    async with database.statements() as alone:
        found = await matching(alone, wanted, limit)
    ids = [row.id for row in found.rows]
    tenants = [(row.account_id, row.api_key_id) for row in found.rows]
    async with nullcontext() if room is None else room(tenants):
        outcomes = await retry_all(database, ids, account_id=wanted.account_id, actor=actor, urgent=urgent)
    return Many(outcomes, found.next_cursor)


async def retry_all(
    database: Database,
    ids: Sequence[int],
    *,
    account_id: str | None = None,
    actor: str | None = None,
    urgent: bool = True,
) -> list[Retried]:
    """Run these requests again, those of this account if one is named; an outcome for each that exists, in the order of the ids.

    Without `urgent` the outcome of a request with the priority customer is a `Forbidden`.
    """
    for _ in range(ROUNDS):
        try:
            async with database.transaction() as transaction:
                outcomes = await _retry(transaction, ids, account_id, urgent)
                again = [one.id for one in outcomes if one.error is None]
                if actor is not None and again:
                    target = f"request/{again[0]}" if len(ids) == 1 else "request"
                    detail = {"ids": again}
                    await audit.record(transaction, actor=actor, action="request.retry", target=target, detail=detail)
                return outcomes
        except psycopg.errors.UniqueViolation:
            continue  # the same work was begun while this ran; now it has a leader to follow
    raise StorageUnavailable(f"the retry lost {ROUNDS} races against others for the same work")


async def _retry(transaction: Transaction, ids: Sequence[int], account_id: str | None, urgent: bool) -> list[Retried]:
    rows = await transaction.rows(LOCK, {"ids": list(ids), "account_id": account_id})
    errors: dict[int, BeatError] = {}
    prepared: dict[int, Prepared] = {}
    for row in rows:
        try:
            prepared[row.id] = await resumed(transaction, _prepared(row, urgent))
        except BeatError as error:
            errors[row.id] = error
    refused = await grants.missing(transaction, (item.use for item in prepared.values() if item.use is not None))
    for number in [number for number, item in prepared.items() if item.use in refused]:
        use = prepared.pop(number).use
        assert use is not None
        errors[number] = grants.refusal(use)
    lanes = await lane_ids(transaction, {item.lane for item in prepared.values()})
    again = [
        {
            "id": row.id,
            "params": item.params,
            "priority": row.priority,
            "expires_at": row.expires_at,
            "work_hex": item.work.hex(),
            "apart": row.apart,
            "platform": row.platform,
            "lane_id": lanes[item.lane],
            "operation": item.first.operation,
            "fetch_params": item.first.params,
            "cursor_source": item.first.source,
            "owner": item.first.owner,
        }
        for row in rows
        if (item := prepared.get(row.id)) is not None
    ]
    if again:
        await transaction.rows(RETRY, {"items": jsonb(again)})
    return [Retried(row.id, row.platform, errors.get(row.id)) for row in rows]


def _prepared(row: Locked, urgent: bool) -> Prepared:
    """Raises `Conflict` for what cannot run again, `Forbidden` for what is too urgent, `BadInput` for what its platform no longer takes."""
    if row.priority == Priority.CUSTOMER and not urgent:
        raise Forbidden(
            f"request {row.id} has the priority customer, and its retry needs a key with the scope urgent; ask for the same with POST and standard",
            scope=Scope.URGENT,
        )
    if row.status not in RETRYABLE:
        raise Conflict(
            f"request {row.id} is {row.status}; only FAILED and CANCELLED requests can be retried; submit a new request with `force` instead"
        )
    if row.live:
        raise Conflict(
            f"the work of request {row.id} goes on for others that wait for it; ask for the same with POST to join it"
        )
    return prepare(
        NewRequest(row.platform, row.flow, row.params, Priority(row.priority), row.account_id, force=row.apart)
    )
