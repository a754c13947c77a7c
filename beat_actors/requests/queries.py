"""Reading single requests."""

from collections.abc import Collection
from datetime import datetime

import msgspec

from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import NotFound
from beat_actors.requests.views import RequestView, Row

PERSON = 60.0
"""Seconds after which to look again at what needs manual action."""
SQL = Statements(__file__)
REQUEST = SQL("request", Row)
CLEARS_IN = SQL("clears_in", float)
COLLECT = SQL("collect", datetime)
ENDED = SQL("ended", int)


async def get_request(transaction: Transaction, request_id: int, *, account_id: str | None = None) -> RequestView:
    """Raises `NotFound`, also for a request that is not this account's, where one is named."""
    row = await transaction.row(REQUEST, {"id": request_id, "account_id": account_id})
    if row is None:
        raise NotFound(f"there is no request {request_id}")
    return RequestView.of(row)


async def collect(transaction: Transaction, request: RequestView) -> RequestView:
    """Who asked for this request reads it: note when, the first time that there is a result to read."""
    if not request.ended or request.collected_at is not None:
        return request
    collected_at = await transaction.value(COLLECT, {"id": request.id})
    return msgspec.structs.replace(request, collected_at=collected_at)


async def clears_in(transaction: Transaction, request_id: int) -> float | None:
    """Seconds until the first of its blockers clears; `None` where none is known."""
    return await transaction.value(CLEARS_IN, {"id": request_id, "person": PERSON})


async def ended(database: Database, ids: Collection[int]) -> set[int]:
    """Those of these requests that have ended."""
    async with database.statements() as alone:
        return set(await alone.rows(ENDED, {"ids": sorted(ids)}))
