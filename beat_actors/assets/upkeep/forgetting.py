"""The media of a subject are forgotten: its assets, the objects that nobody else has, their smaller pictures, the CDN's copies; and they do not come back.

A subject is a thing that consumers know by its platform, its kind and its name: a profile, with all media of the things that are listed under it, or one
post. First it is denied, so that intake leaves it out from then on. Transactions that looked before the denial may still add assets, so their end is
awaited. Then its assets are deleted, `PAGE` entities per transaction, with the beginning of
their objects' deletion; `deleting` does the rest within seconds. What was interrupted is repeated, and finds what is left.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from beat_actors import audit
from beat_actors.assets.upkeep.deleting import condemn
from beat_actors.database import Composed, Database, Statement, Statements
from beat_actors.errors import BadInput, NotFound, StorageUnavailable
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.text import check_text

WAITS, EVERY = 60.0, 0.05
"""Seconds for which transactions are awaited that began before the denial, and between two looks. No transaction of Beat takes so long."""
PAGE = 500
"""Entities whose assets one transaction deletes."""
PROFILES = "profiles"


class Subject(NamedTuple):
    """A thing, by the key of its rows."""

    platform: str
    kind: str
    table: str
    key: str


class Removed(NamedTuple):
    """An asset that was deleted, and its content."""

    public_id: UUID | None
    content: bytes | None


class References(NamedTuple):
    """How many assets have a content, and how many smaller pictures were made of it."""

    content: bytes
    assets: int
    variants: int


class SubjectForgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was forgotten of a subject, or would be (`dry_run`). `key`: of the subject. `assets`: that are deleted; `objects`, `variants`: that nothing else needs,
    and smaller pictures that were made of them. `shared`: objects that stay, because assets of others have them. `denied`: whether the
    subject is denied from now on and was not before."""

    platform: str
    kind: str
    key: str
    dry_run: bool
    assets: int
    objects: int
    variants: int
    shared: int
    denied: bool


class SubjectAllowed(msgspec.Struct, frozen=True, kw_only=True):
    """A subject whose media are stored again. `was_denied`: whether they were not before."""

    platform: str
    kind: str
    key: str
    was_denied: bool


SQL = Statements(__file__)
DENY, ALLOW, REMOVE = SQL("deny", int), SQL("allow", int), SQL("remove", Removed)
WOULD_REMOVE, REFERENCES = SQL("would_remove", Removed), SQL("references", References)
RUNNING, ENDED = SQL("running", str), SQL("ended", bool)
OF_ASSETS, IS_DENIED = SQL("of_assets", str), SQL("is_denied", bool)


async def forget(
    database: Database,
    platform: str,
    name: str,
    *,
    actor: str,
    reason: str,
    kind: str = PROFILES,
    dry_run: bool = False,
) -> SubjectForgotten:
    """Forget the media of what has this id or name. Raises `BadInput` and `NotFound`, and `StorageUnavailable` where it has to be repeated.

    An id is enough where the thing's own row is gone, and its assets are not, or it is denied already. What nothing is known of is not found.
    """
    check_text(reason, "reason", longest=1000)
    subject = await resolved(database, platform, name, kind)
    denied = False if dry_run else await _deny(database, subject, actor=actor, reason=reason)
    ended = dry_run or await _ended(database)
    contents, assets, objects, variants = Counter[bytes](), 0, 0, 0
    async for table, keys in _entities(database, subject):
        found = await (_look if dry_run else _remove)(database, subject.platform, table, keys, contents)
        assets, objects, variants = assets + found[0], objects + found[1], variants + found[2]
    shared = 0
    if dry_run:
        objects, variants, shared = await _would_go(database, contents)
    else:
        shared = await _left(database, list(contents))
    if not ended:
        raise StorageUnavailable(
            f"a transaction that began before {subject.key} was denied runs for more than {WAITS:.0f} s, so it may still add media of it; "
            "what was known is forgotten: repeat the command when that transaction has ended"
        )
    return SubjectForgotten(
        platform=subject.platform,
        kind=subject.kind,
        key=subject.key,
        dry_run=dry_run,
        assets=assets,
        objects=objects,
        variants=variants,
        shared=shared,
        denied=denied,
    )


async def allow(
    database: Database, platform: str, name: str, *, actor: str, reason: str, kind: str = PROFILES
) -> SubjectAllowed:
    """Let the media of a subject be stored again, from its next observation on. Raises `BadInput` and `NotFound`."""
    check_text(reason, "reason", longest=1000)
    subject = await resolved(database, platform, name, kind)
    async with database.transaction() as transaction:
        count = await transaction.only(ALLOW, _hashed(subject))
        await audit.record(
            transaction, actor=actor, action="asset.allow", target=_target(subject), detail={"reason": reason}
        )
    return SubjectAllowed(platform=subject.platform, kind=subject.kind, key=subject.key, was_denied=count > 0)


async def resolved(database: Database, platform: str, name: str, kind: str) -> Subject:
    """The subject of this id or name. Raises `BadInput` and `NotFound`."""
    check_text(name, "name", longest=500, one_line=True)
    entity = next((one for one in known_platform(platform).entities if one.kind == kind), None)
    kinds = sorted({one.kind for one in known_platform(platform).entities})
    if entity is None or not name:
        raise BadInput(f"{platform} has things of the kinds {', '.join(kinds)}, and each has a name", field="kind")
    async with database.statements() as alone:
        keys = await alone.rows(_named(entity), {"name": name, "bare": name.removeprefix("@").casefold()})
        if not keys:
            # Its rows may be gone before its assets are, so an id is enough.
            keys = await alone.rows(OF_ASSETS, {"platform": platform, "entity": entity.table, "key": name})
        if not keys:
            denied = await alone.rows(IS_DENIED, _hashed(Subject(platform, kind, entity.table, name)))
            keys = [name] if any(denied) else []
    if not keys:
        raise NotFound(f"{platform} has nothing of the kind {kind} with the id or name {name!r}")
    return Subject(platform, kind, entity.table, keys[0])


@cache
def _named(entity: Entity) -> Statement[str]:
    """The key of the thing with a name, first by its key, then by its other names. One look at an index for each. Parameters: name, bare."""
    ways = [
        f"{entity.key} = %(name)s",
        *(f"{name} IN (%(name)s, %(bare)s)" for name in entity.names),
    ]
    found = " UNION ALL ".join(
        f'(SELECT {entity.key} AS key, {rank} AS rank, observed_at FROM "{entity.table}" WHERE {way} ORDER BY observed_at DESC LIMIT 1)'  # noqa: S608 - declared
        for rank, way in enumerate(ways)
    )
    text = f"SELECT key FROM ({found}) found ORDER BY rank, observed_at DESC LIMIT 1"  # noqa: S608 - as above
    return Composed(f"assets/upkeep/forgetting.named.{entity.table}", text, str)


@cache
def _listed(entity: Entity, field: str) -> Statement[str]:
    """The next keys of the things that are listed under one, by the index of that list. Parameters: of, after (text), page (integer)."""
    text = (
        f'SELECT DISTINCT {entity.key} AS key FROM "{entity.table}" WHERE {field} = %(of)s AND {entity.key} > %(after)s '  # noqa: S608 - declared
        f"ORDER BY 1 LIMIT %(page)s"
    )
    return Composed(f"assets/upkeep/forgetting.listed.{entity.table}", text, str)


async def _entities(database: Database, subject: Subject) -> AsyncIterator[tuple[str, Sequence[str]]]:
    """The tables and keys of what belongs to the subject: itself, and what is listed under it by its key."""
    yield subject.table, [subject.key]
    for entity in known_platform(subject.platform).entities:
        field = next((one.field for one in entity.lists if one.under == subject.kind and one.theirs is None), None)
        if field is None or not entity.assets:
            continue
        after = ""
        while True:
            async with database.statements() as alone:
                keys = await alone.rows(_listed(entity, field), {"of": subject.key, "after": after, "page": PAGE})
            if keys:
                yield entity.table, keys
                after = keys[-1]
            if len(keys) < PAGE:
                break


async def _deny(database: Database, subject: Subject, *, actor: str, reason: str) -> bool:
    async with database.transaction() as transaction:
        count = await transaction.only(DENY, {**_hashed(subject), "actor": actor, "reason": reason})
        await audit.record(
            transaction, actor=actor, action="asset.forget", target=_target(subject), detail={"reason": reason}
        )
    return count > 0


async def _ended(database: Database) -> bool:
    """Wait until all transactions have ended that may not have seen a denial. Intake writes rows before it looks for denials, so its transaction has a number."""
    ends = time.monotonic() + WAITS
    async with database.statements() as alone:
        until = await alone.only(RUNNING)
    while time.monotonic() < ends:
        async with database.statements() as alone:
            if await alone.only(ENDED, {"until": until}):
                return True
        await asyncio.sleep(EVERY)
    return False


async def _remove(
    database: Database, platform: str, table: str, keys: Sequence[str], contents: Counter[bytes]
) -> tuple[int, int, int]:
    """Delete the assets of these entities, and begin the deletion of objects that nobody else has, with their smaller pictures; how many of each."""
    async with database.transaction() as transaction:
        gone = await transaction.rows(REMOVE, {"platform": platform, "entity": table, "keys": list(keys)})
        held = sorted({one.content for one in gone if one.content is not None})
        begun = set(await condemn(transaction, held)) if held else set[bytes]()
    contents.update(content for content in held if content not in begun)
    return len(gone), len(begun.intersection(held)), len(begun.difference(held))


async def _look(
    database: Database, platform: str, table: str, keys: Sequence[str], contents: Counter[bytes]
) -> tuple[int, int, int]:
    async with database.statements() as alone:
        found = await alone.rows(WOULD_REMOVE, {"platform": platform, "entity": table, "keys": list(keys)})
    contents.update(one.content for one in found if one.content is not None)
    return len(found), 0, 0


async def _would_go(database: Database, contents: Mapping[bytes, int]) -> tuple[int, int, int]:
    """Of the contents, with how many assets of the subject have each: objects that would go, smaller pictures of them, objects that would stay."""
    objects = variants = shared = 0
    names = list(contents)
    for at in range(0, len(names), PAGE):
        async with database.statements() as alone:
            for one in await alone.rows(REFERENCES, {"contents": names[at : at + PAGE]}):
                if one.assets > contents[one.content]:
                    shared += 1
                else:
                    objects, variants = objects + 1, variants + one.variants
    return objects, variants, shared


async def _left(database: Database, contents: Sequence[bytes]) -> int:
    """How many of these contents stay, because other assets have them."""
    shared = 0
    for at in range(0, len(contents), PAGE):
        async with database.statements() as alone:
            shared += len(await alone.rows(REFERENCES, {"contents": list(contents[at : at + PAGE])}))
    return shared


def _hashed(subject: Subject) -> dict[str, list[str]]:
    """A subject as intake sees it: as the thing itself, and as the thing that others are listed under."""
    return {
        "platforms": [subject.platform] * 2,
        "entities": [subject.table, subject.kind],
        "keys": [subject.key] * 2,
    }


def _target(subject: Subject) -> str:
    return f"{subject.platform}/{subject.kind}/{subject.key}"
