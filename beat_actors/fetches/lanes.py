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
