"""Cancel the requests that match a filter, a bounded number at a time."""

from dataclasses import dataclass

from beat_actors import audit
from beat_actors.database import Database
from beat_actors.errors import BadInput
from beat_actors.requests import lifecycle
from beat_actors.requests.listing import matching
from beat_actors.requests.views import Filter

MOST = 1000
"""Requests of one call."""
NARROWING = ("platform", "flow", "account_id", "batch_id", "tags", "created_after", "created_before")
"""The fields of a filter of which one must be given, so that nobody cancels everything by accident."""


@dataclass(frozen=True, slots=True)
class CancelledMany:
    """The requests that this call cancelled, and the cursor from which more may match."""

    ids: list[int]
    next_cursor: str | None


def check_narrow(wanted: Filter) -> None:
    """Raises `BadInput` for a filter that every request matches."""
    if not any(getattr(wanted, name) for name in NARROWING):
        raise BadInput(f"name at least one of {', '.join(NARROWING)}, so that not every request is cancelled")


async def cancel_matching(
    database: Database, wanted: Filter, *, limit: int = MOST, reason: str, actor: str | None = None
) -> CancelledMany:
    """Cancel the requests that match and have not ended, the newest first and `limit` at most, in one transaction.

    `wanted.unfinished` has to be set. Fetches that others wait for go on. `actor`: for the audit log. Raises `BadInput`.
    """
    assert wanted.unfinished
    if not 1 <= limit <= MOST:
        raise BadInput(f"limit must be 1 to {MOST}", field="limit")
    async with database.transaction() as transaction:
        found = await matching(transaction, wanted, limit)
        ids = [row.id for row in found.rows]
        ended = await lifecycle.cancel(transaction, ids, reason=reason, account_id=wanted.account_id) if ids else []
        if ended and actor is not None:
            detail = {"ids": ended, "reason": reason}
            await audit.record(transaction, actor=actor, action="request.cancel", target="request", detail=detail)
    return CancelledMany(ended, found.next_cursor)
