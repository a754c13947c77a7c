"""Lanes: waiting work that shares a fate, so that one row says of thousands why they wait."""

from collections.abc import Collection
from typing import NamedTuple

from beat_actors.database import Statements, Transaction, jsonb

SQL = Statements(__file__)


class LaneKey(NamedTuple):
    platform: str
    flow: str
    operation: str
    priority: int
    sources: tuple[str, ...]
    owner: str = ""


class Lane(NamedTuple):
    """A row of `lane`."""

    id: int
    platform: str
    flow: str
    operation: str
    priority: int
    sources: list[str]
    owner: str


FIND_OR_CREATE = SQL("find_or_create", Lane)
# Why the lane `l` waits and until when, as far as the broker has found it out for the fetch `f`: another account may have waited
# in this lane before, and that it did is nobody else's business.
_LOOKED = "f.not_before IS NULL AND l.checked_at >= f.created_at"
# By the reasons themselves, because a lane's own time also changes when somebody does something to a credential of another account.
_CLEARS_AT = """CASE WHEN jsonb_array_length(l.reasons) > 0
    THEN (SELECT to_timestamp(min((r->>'until')::double precision)) FROM jsonb_array_elements(l.reasons) r) ELSE l.blocked_until END"""
KNOWN = f"CASE WHEN {_LOOKED} THEN l.reasons END AS reasons, CASE WHEN {_LOOKED} THEN {_CLEARS_AT} END AS blocked_until"


async def lane_ids(transaction: Transaction, keys: Collection[LaneKey]) -> dict[LaneKey, int]:
    """The ids of these lanes, created where they did not exist."""
    wanted = set(keys)
    ids: dict[LaneKey, int] = {}
    while wanted:
        asked = {"lanes": jsonb([key._asdict() for key in sorted(wanted)])}
        for row in await transaction.rows(FIND_OR_CREATE, asked):
            key = LaneKey(row.platform, row.flow, row.operation, row.priority, tuple(row.sources), row.owner)
            ids[key] = row.id
        wanted -= ids.keys()
    return ids
