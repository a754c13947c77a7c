"""Requests that stand for answers of another installation, which are complete when they are written."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beat_actors.database import Statements, Transaction, jsonb

COMPLETE = Statements(__file__)("complete", int)


async def complete(
    transaction: Transaction, platform: str, params: Mapping[str, Any], *, items: int, at: datetime
) -> int:
    """A complete request with so many items, answered at that time; its id."""
    values = {"platform": platform, "params": jsonb(params), "items": items, "at": at}
    return await transaction.only(COMPLETE, values)
