"""An erasure that runs: step by step, each in one transaction with the note of how far it is. `erasures` says what it is."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.assets.upkeep.deleting import Deleter
from beat_actors.database import Database, Statements, Transaction, jsonb
from beat_actors.errors import ObjectMissing, ObjectsUnavailable, StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.payloads import erasure as payloads
from beat_actors.payloads.archive import span
from beat_actors.payloads.erasure import HELD, Holder
from beat_actors.privacy.matching import Matcher
from beat_actors.privacy.pages import BLOCKS, Leaf, Seen, look_through
from beat_actors.privacy.payload_pages import look_through_payloads, naming
from beat_actors.privacy.places import PAYLOADS
from beat_actors.privacy.rules import Rule, rules
from beat_actors.requests.lifecycle import cancel
from beat_actors.requests.swept import Swept
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

MOST_ROUNDS = 10
"""Rounds after which an erasure ends though something is found still, which it says."""
BUDGET = 20.0
"""Seconds of one run of the sweep."""
PAUSE = 1.0
"""Seconds before another round, while something is in flight; twice as long each time, up to `LONGEST`."""
LONGEST = 30.0
OBJECTS = "objects"


class Position(msgspec.Struct, kw_only=True):
    """How far an erasure is. `step`: the number of the table; `leaf`, `block`: the place in it. `found`, `busy`: of this round."""

    round: int = 1
    step: int = -1
    leaf: str = ""
    block: int = 0
    found: int = 0
    busy: int = 0


class Identifiers(msgspec.Struct):
    ids: list[str]
    names: list[str]


class Job(NamedTuple):
    """A row of an erasure that runs."""

    id: int
    platform: str
    kind: str
    dry_run: bool
    identifiers: dict[str, Any]
    position: dict[str, Any]
    counts: dict[str, dict[str, int]]
    waits_for: str | None
    created_at: datetime


SQL = Statements(__file__)
SETTLE, RUNNING, OPEN = SQL("settle", bool), SQL("running", Job), SQL("open", int)
ADVANCE, END, LEAVES, OBJECT = SQL("advance", int), SQL("end", int), SQL("leaves", Leaf), SQL("object", Holder)
ELSEWHERE, HOLD = SQL("elsewhere", int), SQL("hold", int)


class Moved(Exception):
    """Another process made this step, so this one must leave no trace."""


async def go_on(database: Database, erasure_id: int, *, budget: float | None = None) -> None:
    """Go on with an erasure until it has ended, or for `budget` seconds. Raises `ObjectsUnavailable` where the bucket does not do its part."""
    ends = None if budget is None else time.monotonic() + budget
    while ends is None or time.monotonic() < ends:
        async with database.statements() as alone:
            job = await alone.row(RUNNING, {"id": erasure_id})
        if job is None:
            return
        try:
            pause = await Runner(database, job).step()
        except Moved:
            pause = 0.0
        left = pause if ends is None else ends - time.monotonic()
        await asyncio.sleep(max(0.0, min(pause, left)))


async def sweep(database: Database, epoch: int | None = None) -> Swept:
    """Go on with those that have not ended, for `BUDGET` seconds."""
    async with database.statements() as alone:
        waiting = await alone.rows(OPEN, {"epoch": epoch})
    for erasure_id in waiting:
        try:
            await go_on(database, erasure_id, budget=BUDGET / len(waiting))
        except (ObjectsUnavailable, ObjectMissing) as error:  # the others go on
            log.warning("erasure_waits", erasure=erasure_id, error=str(error))
    return Swept(count=len(waiting))


class Runner:
    """One step of an erasure: a page, an object, or the way to the next table. Each is one transaction with the note of it."""

    def __init__(self, database: Database, job: Job) -> None:
        self.database, self.job = database, job
        known = msgspec.convert(job.identifiers, Identifiers)
        self.matcher = Matcher(known.ids, known.names)
        self.was = jsonb(job.position)
        self.at = msgspec.convert(job.position, Position)
        self.counts: dict[str, dict[str, int]] = {name: dict(found) for name, found in job.counts.items()}
        self.rules = rules(job.platform)
        self.waits_for = job.waits_for

    async def step(self) -> float:
        """Do it; the seconds to wait before the next. Raises `Moved`."""
        if self.at.step < 0:
            return await self._settle()
        if self.at.step < len(self.rules):
            return await self._page()
        steps = (*PAYLOADS, OBJECTS)[self.at.step - len(self.rules) :]
        if not steps:
            return await self._round()
        return await self._object() if steps[0] == OBJECTS else await self._payloads(steps[0])

    async def _settle(self) -> float:
        """Whatever began before the tombstones were there may still write what they keep out."""
        if not self.job.dry_run:
            async with self.database.statements() as alone:
                ended = await alone.value(SETTLE, {"id": self.job.id})
            if not ended:
                self.waits_for = "a transaction that began before the erasure to end"
                async with self.database.transaction() as transaction:
                    await self._note(transaction)
                return 0.1
        self.at.step, self.waits_for = 0, None
        async with self.database.transaction() as transaction:
            await self._note(transaction)
        return 0.0

    async def _leaf(self, table: str) -> Leaf | None:
        """The part of a table that is next."""
        async with self.database.statements() as alone:
            leaves = await alone.rows(LEAVES, {"table": f'"{table}"'})
        return next(
            (
                one
                for one in leaves
                if one.name > self.at.leaf or (one.name == self.at.leaf and self.at.block < one.blocks)
            ),
            None,
        )

    async def _page(self) -> float:
        rule = self.rules[self.at.step]
        leaf = await self._leaf(rule.table)
        if leaf is None:
            return await self._next()
        block = self.at.block if leaf.name == self.at.leaf else 0
        self.at.leaf, self.at.block = leaf.name, block + BLOCKS
        seen = await self.database.again(lambda: self._look(rule, leaf.name, block))
        if seen.cancel and not self.job.dry_run:
            async with self.database.transaction() as transaction:
                await cancel(transaction, seen.cancel, reason="the person whom it is about was erased")
        return 0.0

    async def _look(self, rule: Rule, leaf: str, block: int) -> Seen:
        at, counts = msgspec.structs.replace(self.at), {name: dict(found) for name, found in self.counts.items()}
        try:
            async with self.database.transaction() as transaction:
                if await transaction.row(HOLD, {"id": self.job.id, "was": self.was}) is None:
                    raise Moved
                seen = await look_through(
                    transaction,
                    rule,
                    leaf,
                    block,
                    self.matcher,
                    platform=self.job.platform,
                    erasure=self.job.id,
                    dry_run=self.job.dry_run,
                )
                self._count(rule.table, seen)
                await self._note(transaction)
        except StorageUnavailable:
            self.at, self.counts = at, counts
            raise
        return seen

    def _count(self, table: str, seen: Seen) -> None:
        self.at.found += seen.found
        self.at.busy += seen.busy + len(seen.cancel)
        if seen.found or (self.job.dry_run and (seen.busy or seen.cancel)):
            counted = self.counts.setdefault(table, {})
            counted["deleted"] = counted.get("deleted", 0) + seen.deleted
            counted["redacted"] = counted.get("redacted", 0) + seen.redacted
            if self.job.dry_run and (seen.busy or seen.cancel):
                counted["open"] = counted.get("open", 0) + seen.busy + len(seen.cancel)

    async def _payloads(self, table: str) -> float:
        leaf = await self._leaf(table)
        if leaf is None:
            return await self._next()
        block = self.at.block if leaf.name == self.at.leaf else 0
        fetches, self.at.block = await look_through_payloads(
            self.database, table, leaf, block, self.matcher, platform=self.job.platform, until=self.job.created_at
        )
        self.at.leaf = leaf.name
        await self._erase(table, await self._here(fetches))
        return 0.0

    async def _object(self) -> float:
        """One object of the bucket of raw payloads."""
        async with self.database.statements() as alone:
            holder = await alone.row(OBJECT, {"after": self.at.block})
        if holder is None:
            return await self._next()
        store = ObjectStore.of(self.database.settings)
        if store is None:
            raise ObjectsUnavailable(
                "objects of a bucket hold raw payloads, and BEAT_S3_BUCKET is not set in this process", reason="not_set"
            )
        async with self.database.statements() as alone:
            parts = await alone.rows(HELD, {"object": holder.id, **span(holder.day)})
        whole = await store.read(holder.key)
        named = [
            part.fetch_id
            for part in parts
            if part.created_at < self.job.created_at
            and await naming(whole[part.position : part.position + part.length], self.matcher)
        ]
        self.at.block = holder.id
        await self._erase("bucket", await self._here(named))
        return 0.0

    async def _here(self, fetches: list[int]) -> list[int]:
        """Those of these fetches that were not made for another platform."""
        if not fetches:
            return []
        async with self.database.statements() as alone:
            away = set(await alone.rows(ELSEWHERE, {"ids": fetches, "platform": self.job.platform}))
        return sorted(set(fetches) - away)

    async def _erase(self, table: str, fetches: list[int]) -> None:
        if fetches and not self.job.dry_run:
            try:
                await payloads.erase(self.database, fetches)
            except ObjectsUnavailable as error:
                if error.reason == "changed":
                    raise Moved from error
                raise
        if fetches:
            self._count(table, Seen(deleted=len(fetches)))
        async with self.database.transaction() as transaction:
            await self._note(transaction)

    async def _next(self) -> float:
        """On to the next table."""
        self.at = Position(round=self.at.round, step=self.at.step + 1, found=self.at.found, busy=self.at.busy)
        async with self.database.transaction() as transaction:
            await self._note(transaction)
        return 0.0

    async def _round(self) -> float:
        """All was looked through: the end, or another round."""
        if not self.job.dry_run:
            await self._objects_of_assets()
        left = self.at.found + self.at.busy
        if self.job.dry_run or not left or self.at.round >= MOST_ROUNDS:
            said = (
                f"{left} rows named the person still in the last of {MOST_ROUNDS} rounds: erase again" if left else None
            )
            async with self.database.transaction() as transaction:
                if await transaction.row(END, {"id": self.job.id, "was": self.was, "waits_for": None if self.job.dry_run else said}) is None:  # fmt: skip
                    raise Moved
                if not self.job.dry_run:
                    target, detail = f"erasure/{self.job.id}", {"counts": self.counts}
                    await audit.record(transaction, actor="beat", action="subject.erased", target=target, detail=detail)
            return 0.0
        busy = self.at.busy
        self.at = Position(round=self.at.round + (not busy or self.at.round < MOST_ROUNDS - 2), step=0)
        self.waits_for = f"{busy} requests and calls in flight to end" if busy else None
        async with self.database.transaction() as transaction:
            await self._note(transaction)
        return min(PAUSE * 2 ** self.job.position["round"], LONGEST) if busy else 0.0

    async def _objects_of_assets(self) -> None:
        """Delete the objects whose last asset is gone."""
        store = ObjectStore.of_assets(self.database.settings)
        while store is not None and await Deleter().delete(self.database, store):
            pass

    async def _note(self, transaction: Transaction) -> None:
        """Write how far it is. Raises `Moved`."""
        values: Mapping[str, object] = {
            "id": self.job.id,
            "was": self.was,
            "position": jsonb(self.at),
            "counts": jsonb(self.counts),
            "waits_for": self.waits_for,
        }
        if await transaction.row(ADVANCE, values) is None:
            raise Moved
