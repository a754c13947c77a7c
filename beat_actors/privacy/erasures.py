"""Erasures: a person's data leave every table and the bucket, and tombstones keep them from coming back.

An erasure is a row, and goes on where it stopped, in whatever process. It begins with the tombstones. Transactions that may not have seen them are awaited. Then
it looks through the tables, page by page (`pages`), through raw payloads, through the objects of the bucket, and begins again until a round finds nothing.
A dry run looks through everything once, and counts. At the end the row forgets whom it was about.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.database import Database, Statements, Transaction, arrays, jsonb
from beat_actors.errors import NotFound
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.privacy.matching import Matcher
from beat_actors.privacy.running import Identifiers, Position, go_on
from beat_actors.privacy.subjects import Subject, resolved
from beat_actors.text import check_text


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure, without whom it is about. `counts`: by table, how many rows were deleted and redacted, or would be in a dry run; `bucket`: raw payloads in
    objects. `waits_for`: why it does not go on, or what is left. `lifted_at`: when the tombstones were removed."""

    id: int
    platform: str
    kind: str
    dry_run: bool
    actor: str
    reason: str
    created_at: datetime
    counts: dict[str, dict[str, int]]
    round: int
    waits_for: str | None
    ended_at: datetime | None
    lifted_at: datetime | None


class Lifted(msgspec.Struct, frozen=True, kw_only=True):
    """The erasures whose tombstones were removed."""

    erasures: list[int]


class Viewed(NamedTuple):
    """A row of an erasure as it is shown."""

    id: int
    platform: str
    kind: str
    dry_run: bool
    actor: str
    reason: str
    created_at: datetime
    counts: dict[str, dict[str, int]]
    position: dict[str, Any]
    waits_for: str | None
    ended_at: datetime | None
    lifted_at: datetime | None


SQL = Statements(__file__)
BEGIN, ONE, NEWEST = SQL("begin", int), SQL("one", Viewed), SQL("newest", Viewed)
LIFT, REFUSED = SQL("lift", int), SQL("refused", int)


async def begin(database: Database, platform: str, given: str, *, dry_run: bool, actor: str, reason: str) -> Erasure:
    """Begin the erasure of the person with this id or name; `run` and the sweep go on with it. Raises `BadInput` and `NotFound`."""
    check_text(reason, "reason", longest=1000)
    subject = await resolved(database, platform, given)
    matcher = Matcher(subject.ids, subject.names)
    said = str(matcher.redacted(reason))
    async with database.transaction() as transaction:
        erasure_id = await transaction.only(
            BEGIN,
            {
                **_given(subject),
                "platform": platform,
                "kind": subject.kind,
                "dry_run": dry_run,
                "actor": actor,
                "reason": said,
                "identifiers": jsonb(Identifiers(subject.ids, subject.names)),
                "position": jsonb(Position()),
                "ids": subject.ids,
                "names": subject.names,
            },
        )
        if not dry_run:
            detail = {"reason": said, "platform": platform, "kind": subject.kind}
            target = f"erasure/{erasure_id}"
            await audit.record(transaction, actor=actor, action="subject.erase", target=target, detail=detail)
    return await one(database, erasure_id)


def _given(subject: Subject) -> dict[str, str]:
    by_name = subject.given.casefold() in subject.names
    return {"given": subject.given, "given_kind": "name" if by_name else "id"}


async def one(database: Database, erasure_id: int) -> Erasure:
    """Raises `NotFound`."""
    async with database.statements() as alone:
        row = await alone.row(ONE, {"id": erasure_id})
    if row is None:
        raise NotFound(f"there is no erasure {erasure_id}")
    return _viewed(row)


async def newest(database: Database, *, limit: int = 50) -> list[Erasure]:
    async with database.statements() as alone:
        return [_viewed(row) for row in await alone.rows(NEWEST, {"limit": limit})]


def _viewed(row: Viewed) -> Erasure:
    known = row._asdict()
    position = msgspec.convert(known.pop("position"), Position)
    return Erasure(**known, round=position.round)


async def lift(database: Database, platform: str, given: str, *, actor: str, reason: str) -> Lifted:
    """Let a person's data be collected again. Raises `BadInput`, and `NotFound` for somebody who was not erased."""
    check_text(reason, "reason", longest=1000)
    check_text(given, "subject", longest=300, one_line=True)
    known_platform(platform)
    bare = given.strip().removeprefix("@")
    said = str(Matcher([bare], [bare]).redacted(reason))
    async with database.transaction() as transaction:
        found = sorted(await transaction.rows(LIFT, {"platform": platform, "id": bare, "name": bare}))
        if not found:
            raise NotFound(f"{platform} has no erased person with this id or name")
        for erasure_id in found:
            target, detail = f"erasure/{erasure_id}", {"reason": said}
            await audit.record(transaction, actor=actor, action="subject.lift", target=target, detail=detail)
    return Lifted(erasures=found)


async def refused(transaction: Transaction, words: Sequence[tuple[str, str]]) -> list[int]:
    """The places of those of these words (platform, word) that name an erased person."""
    named = arrays(words, "platforms", "words")
    return [place - 1 for place in await transaction.rows(REFUSED, named)]


async def run(database: Database, erasure_id: int, *, budget: float | None = None) -> Erasure:
    """Go on with an erasure until it has ended, or for `budget` seconds. Raises `ObjectsUnavailable` where the bucket does not do its part."""
    await go_on(database, erasure_id, budget=budget)
    return await one(database, erasure_id)
