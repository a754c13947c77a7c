"""How uploads end: the asset's state, its object, and what was spent, in one transaction for a batch.

An end is written only if the asset still has the fence and the lease of its claim. An asset is COMPLETE only if its object is in the bucket: the process made
it a moment ago, or the object's row is locked against deletion while the asset begins to use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from beat_actors.assets.claims import Claimed
from beat_actors.assets.telling import tell
from beat_actors.database import Database, Statements, columns, jsonb


class State(StrEnum):
    """What an upload leaves its asset in."""

    COMPLETE = "COMPLETE"
    WAITING = "WAITING"
    """It is tried again later."""
    PENDING = "PENDING"
    """It was not tried, and is given back."""
    REFETCH = "REFETCH"
    """Its URL is dead. Its parent is asked for a fresh one."""
    FAILED = "FAILED"
    """Its URL leads to something that is not stored. Another picture is tried again."""


class How(StrEnum):
    """How a content is known to be in the bucket."""

    MADE = "made"
    """This process stored it within the last minute."""
    KNOWN = "known"
    """`asset_object` has a row."""
    THERE = "there"
    """The bucket has it. Nobody else may know of it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture that is in the bucket. `content`: its SHA-256."""

    content: bytes
    how: How
    bytes: int
    media_type: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What one upload took: requests to the origin, bytes from there, PUTs, and bytes that were stored."""

    requests: int = 0
    fetched: int = 0
    puts: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How the upload of a claimed asset ended. `delay`: seconds until it is tried again. `counts`: whether it was an attempt."""

    asset: Claimed
    state: State
    stored: Stored | None = None
    failure: str | None = None
    delay: float = 0.0
    counts: bool = True
    spent: Spent = Spent()


class Ended(NamedTuple):
    """An upload whose end was written. `stored`: whether the asset has the content now. `old`: the content that it had before."""

    public_id: UUID
    status: str
    stored: bool
    old: bytes | None


SQL = Statements(__file__)
KNOWN = SQL("known", bytes)
ENTER = SQL("enter")
COMMIT = SQL("commit", Ended)
LEAVE = SQL("leave")
COUNT = SQL("count")


async def known(database: Database, contents: Sequence[bytes]) -> set[bytes]:
    """Which of these contents are in the bucket already."""
    async with database.statements() as alone:
        return set(await alone.rows(KNOWN, {"contents": list(contents)}))


async def commit(database: Database, ends: Sequence[End]) -> list[Ended]:
    """Write how these uploads ended, with the events about them. An upload that is not among the answers was not the caller's any more."""
    values = {"ends": jsonb([_row(end) for end in ends])}
    contents = {end.asset.public_id: end.stored.content for end in ends if end.stored is not None}
    async with database.transaction() as transaction:
        async with transaction.pipeline() as together:
            if contents:
                await together.run(ENTER, values)
            answer = await together.run(COMMIT, values)
        # An asset that got the content that it had before changed for nobody.
        changed = [one for one in answer.rows if one.stored and one.old != contents[one.public_id]]
        replaced = {one.public_id: one.old for one in changed if one.old is not None}
        if replaced:
            await transaction.last.run(LEAVE, {"contents": sorted(set(replaced.values()))})
        lost = [one.public_id for one in answer.rows if one.status == State.FAILED]
        await tell(transaction.last, stored=[one.public_id for one in changed], lost=lost, replaced=replaced)
        await transaction.last.run(COUNT, _counts(ends))
    return answer.rows


def _row(end: End) -> dict[str, object]:
    asset, stored = end.asset, end.stored
    row: dict[str, object] = {
        "asset": asset.public_id,
        "fence": asset.fence,
        "state": end.state,
        "picture": asset.identity.hex() if asset.identity is not None else None,
        "url": asset.url,
        "failure": end.failure,
        "delay": end.delay,
        "counts": end.counts,
    }
    if stored is not None:
        row |= {
            "how": stored.how,
            "hex": stored.content.hex(),
            "bytes": stored.bytes,
            "media_type": stored.media_type,
            "width": stored.width,
            "height": stored.height,
        }
    return row


def _counts(ends: Sequence[End]) -> dict[str, list[object]]:
    """Sums by account and class, as the columns of `count`."""
    sums: dict[tuple[str, int], list[int]] = {}
    for end in ends:
        spent, place = end.spent, sums.setdefault((end.asset.account, end.asset.of_class), [0] * 5)
        failed = int(end.state in (State.FAILED, State.REFETCH))
        for i, value in enumerate((spent.requests, spent.fetched, spent.puts, spent.stored, failed)):
            place[i] += value
    names = ("accounts", "classes", "requests", "fetched", "puts", "stored", "failed")
    rows = [(*key, *values) for key, values in sums.items()]
    return dict(zip(names, columns(rows, len(names)), strict=True))
