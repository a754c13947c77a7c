"""Taking payloads out of PostgreSQL and out of the bucket, for good.

S3 changes no object, so one that holds an erased payload is written again without it, under another key, and the old one is deleted. Each
object is one step. A run that was interrupted is repeated from its beginning, and passes over the steps that are done.
"""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from itertools import accumulate
from typing import NamedTuple

from beat_actors import audit
from beat_actors.database import Database, Statements
from beat_actors.errors import BadInput, ObjectMissing, ObjectsUnavailable
from beat_actors.payloads.archive import BEGIN, Object, delete, folder, key_of, span
from beat_actors.payloads.reading import LOCK
from beat_actors.text import check_text
from beat_actors.transport.objects import ObjectStore


class Holder(NamedTuple):
    """An object that holds payloads."""

    id: int
    key: str
    day: date
    sha256: bytes


class Part(NamedTuple):
    """A payload, and where it lies in its object."""

    fetch_id: int
    created_at: datetime
    position: int
    length: int


class Replaced(NamedTuple):
    """Payloads of an object that lie in another one now, and that are erased."""

    moved: int
    erased: int


class Erased(NamedTuple):
    """Payloads that are erased, objects that were written again or deleted for it, and `left`: the keys of old objects that belong to another
    database's folder, which are not deleted here."""

    payloads: int
    objects: int
    left: list[str]


SQL = Statements(__file__)
RAW, OBJECTS, HELD, REPLACE = SQL("raw", int), SQL("objects", Holder), SQL("held", Part), SQL("replace", Replaced)
OF_REQUESTS = SQL("of_requests", int)
MOST = 1000
"""Requests whose payloads are erased together."""


async def erase_of_requests(database: Database, ids: Sequence[int], *, actor: str, reason: str) -> Erased:
    """Erase all raw payloads of these requests, and put on record that it was asked for. Raises `BadInput`, and what `erase` raises."""
    if not 0 < len(ids) <= MOST:
        raise BadInput(f"1 to {MOST} requests at a time", field="request")
    check_text(reason, "reason", longest=1000)
    async with database.transaction() as transaction:
        fetches = await transaction.rows(OF_REQUESTS, {"ids": list(ids)})
        for request_id in ids:
            target = f"request/{request_id}"
            await audit.record(
                transaction, actor=actor, action="payloads.erase", target=target, detail={"reason": reason}
            )
    return await erase(database, fetches)


async def erase(database: Database, fetches: Sequence[int]) -> Erased:
    """Erase all raw payloads of these fetches. Raises `ObjectsUnavailable` where the bucket does not do its part; then it is to be run again.

    Bounded by the objects that hold them: each costs two requests of its size and a look at its day's index.
    """
    asked = {"fetches": list(fetches)}
    async with database.transaction() as transaction:
        await transaction.run(LOCK)
        erased = await transaction.only(RAW, asked)
        holders = await transaction.rows(OBJECTS, asked, binary=True)
    if not holders:
        return Erased(erased, 0, [])
    store = ObjectStore.of(database.settings)
    if store is None:
        said = f"{len(holders)} objects of a bucket hold them, and BEAT_S3_BUCKET is not set in this process"
        raise ObjectsUnavailable(said, reason="not_set")
    place, left = await folder(database), list[str]()
    for holder in holders:
        erased += await _without(database, store, place, holder, set(fetches))
        await delete(database, store, place, [Object(holder.id, holder.key)])
        if not holder.key.startswith(place):
            left.append(holder.key)
    return Erased(erased, len(holders), left)


async def _without(database: Database, store: ObjectStore, place: str, holder: Holder, fetches: set[int]) -> int:
    """Replace an object by one without these fetches' payloads; how many those were."""
    async with database.statements() as alone:
        parts = await alone.rows(HELD, {"object": holder.id, **span(holder.day)})
    rest = [part for part in parts if part.fetch_id not in fetches]
    new, body = None, b""
    if rest:
        whole = await store.read(holder.key)
        if hashlib.sha256(whole).digest() != holder.sha256:
            raise ObjectMissing(f"the object {holder.key} is damaged, so its other payloads cannot be copied")
        body = b"".join(whole[part.position : part.position + part.length] for part in rest)
        key = key_of(place, holder.day)
        async with database.statements() as alone:
            new = await alone.only(BEGIN, {"key": key, "day": holder.day, "epoch": None})
        if not await store.put(key, body):
            raise ObjectsUnavailable(f"the bucket {store.where} has {key} already, which is new", reason="exists")
    values = {
        "old": holder.id,
        "new": new,
        "size": len(body),
        "sha256": hashlib.sha256(body).digest(),
        "fetches": [part.fetch_id for part in rest],
        "times": [part.created_at for part in rest],
        "positions": list(accumulate([0, *(part.length for part in rest[:-1])])) if rest else [],
    }
    async with database.transaction() as transaction:
        await transaction.run(LOCK)
        replaced = await transaction.only(REPLACE, {**values, **span(holder.day)})
        if replaced.moved != len(rest):
            raise ObjectsUnavailable(f"the object {holder.key} was replaced by somebody else", reason="changed")
    return replaced.erased
