"""Fetches of another installation, which have ended when they are written."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beat_actors.database import Statements, Transaction, jsonb

DONE = Statements(__file__)("done", int)


async def done(
    transaction: Transaction,
    request: int,
    lane: int,
    platform: str,
    operation: str,
    params: Mapping[str, Any],
    *,
    page: int,
    source: str,
    at: datetime,
    version: int,
) -> int:
    """A fetch of a request that a source answered at that time, and whose records were written; its id."""
    values = {
        "request": request,
        "lane": lane,
        "platform": platform,
        "operation": operation,
        "params": jsonb(params),
        "page": page,
        "source": source,
        "at": at,
        "version": version,
    }
    return await transaction.only(DONE, values)
