"""A small client of Beat's API: typed answers, errors that say what to do, and no request that is made twice.

    async with Client("http://localhost:8000", "beat_…") as beat:
        request = await beat.scrape("instagram", "refresh_profile_by_handle", {"handle": "creator_000001"})
        profile = await beat.get("profiles", "instagram", "creator_000001", posts=12)

The package imports nothing of the engine. It ignores the fields of an answer that it does not know, so that a newer server does not break it.
"""

from beat_actors.client.answers import (
    Accepted,
    Blocker,
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
    Waiting,
)
from beat_actors.client.batches import Batch, Submitted
from beat_actors.client.client import REQUESTS, Client
from beat_actors.client.errors import ApiError, Away, BadRequest, NotAllowed, NotThere, Problem, Refused

__all__ = [
    "REQUESTS",
    "Accepted",
    "ApiError",
    "Away",
    "BadRequest",
    "Batch",
    "Blocker",
    "Cancelled",
    "Change",
    "Client",
    "Explanation",
    "Freshness",
    "Item",
    "NotAllowed",
    "NotThere",
    "Problem",
    "Refreshing",
    "Refused",
    "Request",
    "Retried",
    "Snapshot",
    "Submitted",
    "Thing",
    "Waiting",
]
