"""How fetches and requests end: one place that every stage and the broker go through, a batch in one statement.

A request that is `live` has fetches that somebody wants: itself, as the leader, or its followers (`joined_to`), which have none of
their own. It may end for itself, cancelled or past its deadline, while its fetches go on for the others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.database import Statements, Transaction, arrays, jsonb
from beat_actors.fetches.ending import Failed, date, fail
from beat_actors.fetches.follow_ups import stands_apart, those_beside
from beat_actors.fetches.states import Stage
from beat_actors.requests import renames
from beat_actors.requests.states import Status

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Closing:
    """One fetch of a request's `run` has ended: it adds `added` fetches and `items` records, as they were at `observed_at`.

    `error` fails the request once its last fetch has ended; `partial` is what a request may complete without.
    """

    request_id: int
    run: int
    added: int = 0
    items: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    observed_at: datetime | None = None


class Closed(NamedTuple):
    """A request that ended with its last fetch (`ended`), or whose end others wait for (`awaited`)."""

    id: int
    status: str
    ended: bool
    awaited: bool


class Ended(NamedTuple):
    """A request that has ended."""

    id: int
    status: str


CLOSE = SQL("close", Closed)
CLOSE_FOLLOWERS = SQL("close_followers", Ended)
LOCK_FETCHES = SQL("lock_fetches", int)
LOCK_REQUESTS = SQL("lock_requests", int)
END = SQL("end", int)
WAIT = SQL("wait")

# A follow-up that finds nothing, or nothing public, leaves the request complete with what it has.
MISSING = "missing"
SOFT = frozenset({MISSING, "private"})
APART = frozenset({"refused", "bad_request", "malformed", "poison"})
"""How a fetch fails, beside these, that harms none of those that stand beside it."""


async def close(transaction: Transaction, closings: Sequence[Closing]) -> list[Ended]:
    """Count ended fetches off their requests; the requests that ended with them."""
    if not closings:
        return []
    rows = [
        {
            "request_id": item.request_id,
            "run": item.run,
            "added": item.added,
            "items": item.items,
            "data": item.data,
            "observed_at": item.observed_at,
        }
        for item in closings
    ]
    closed = await transaction.rows(CLOSE, {"closings": jsonb(rows)})
    awaited = [row.id for row in closed if row.awaited]
    followers = await transaction.rows(CLOSE_FOLLOWERS, {"ids": awaited}) if awaited else []
    return [Ended(row.id, row.status) for row in closed if row.ended] + followers


async def wait(transaction: Transaction, waits: Sequence[tuple[int, datetime, str]]) -> None:
    """Publish that requests, each with its followers, wait until a time for a reason. Of several for one request the first counts."""
    first = {request: (request, until, reason) for request, until, reason in sorted(waits, reverse=True)}
    if first:
        await transaction.run(WAIT, arrays(list(first.values()), "ids", "until", "reasons"))


async def cancel(
    transaction: Transaction, ids: Collection[int], *, reason: str, account_id: str | None = None
) -> list[int]:
    """End these requests, of this account if one is named, as CANCELLED where they have not ended; the ids that did.

    Fetches that another request waits for go on.
    """
    return await _end(
        transaction, ids, Status.CANCELLED, {"code": "cancelled", "message": reason}, account_id=account_id
    )


async def expire(transaction: Transaction, ids: Collection[int]) -> list[int]:
    """End those of these requests whose deadline has passed, as FAILED; the ids that did."""
    error = {"code": "expired", "message": "its deadline (expires_at) passed before it could be completed"}
    return await _end(transaction, ids, Status.FAILED, error, late=True)


async def _end(
    transaction: Transaction,
    ids: Collection[int],
    status: Status,
    error: dict[str, Any],
    *,
    account_id: str | None = None,
    late: bool = False,
) -> list[int]:
    named = sorted(ids)
    await transaction.rows(LOCK_FETCHES, {"ids": named})
    await transaction.rows(LOCK_REQUESTS, {"ids": named})
    values = {"ids": named, "status": status, "error": jsonb(error), "account_id": account_id, "late": late}
    ended = await transaction.rows(END, values)
    if ended:
        await date(transaction, ended)
    return ended


async def fail_fetches(
    transaction: Transaction, errors: Sequence[tuple[int, dict[str, Any]]], *, stages: Sequence[Stage]
) -> list[Ended]:
    """End these fetches (id, error) as FAILED if they are still in one of `stages`, and what follows for their requests."""
    if not errors:
        return []
    from beat_actors.holds.asking import unanswered  # loads the gate, which most commands do without

    failed = await fail(transaction, errors, stages=stages)
    apart = {
        row.id
        for row in failed
        if row.witness_of is None and row.error.get("code") in APART and stands_apart(row.platform, row.flow)
    }
    beside = await those_beside(transaction, [row.id for row in failed if row.is_first and row.id in apart])
    asked = await unanswered(transaction, failed)
    own = [row for row in failed if row.witness_of is None]
    moved = await renames.follow(transaction, [row for row in own if row.is_first and row.error.get("code") == MISSING])
    in_vain = await renames.in_vain(
        transaction, [row.id for row in own if not row.is_first and row.error.get("code") in SOFT]
    )
    closings = [
        Closing(
            row.request_id,
            row.run,
            beside.get(row.id, 0) + asked[row.id] + (row.id in moved),
            data={renames.MOVED: moved[row.id]}
            if row.id in moved
            else _consequence(row, apart=row.id in apart, in_vain=row.id in in_vain),
        )
        for row in failed
    ]
    return await close(transaction, closings)


def _consequence(row: Failed, *, apart: bool, in_vain: bool) -> dict[str, Any]:
    if row.witness_of is not None:
        return {}  # what is held stays held; the request has what it asked for
    soft = apart or (not row.is_first and row.error.get("code") in SOFT and not in_vain)
    return {"partial": row.error} if soft else {"error": row.error}
