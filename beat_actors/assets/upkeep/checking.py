"""Compares the rows of objects with the bucket, both ways.

Rows and keys are in the same order, because the hash comes first in the key. So both are read as streams, a page at a time, and memory does not grow with
their number. The contents with one first byte are one part; after each of the 256 parts the check notes how far it got, and goes on there when it was
interrupted. What it does can be repeated.

A check that finds many differences stops before it changes more: the bucket may be another one than the rows', or another installation may use it too.

- A row whose object is not in the bucket: the bucket is asked for the object itself. If it is not there, its assets are uploaded again.
- An object that no row names and that is older than `older` seconds: its deletion begins (`deleting`). A younger one may belong to an upload in flight.
- An object of another size than its row says is damaged: it is deleted, and its assets are uploaded again.
- A key that has not the form of Beat's keys is counted and left alone.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from beat_actors import audit
from beat_actors.assets.serving.places import key_of
from beat_actors.database import Database, Statements
from beat_actors.errors import Conflict, ObjectMissing
from beat_actors.transport.objects import Head, Listed, Page

PAGE = 1000
OLDER = 86_400.0
"""Seconds after which an object without a row belongs to no upload any more."""
PARTS = 256
FEW, SHARE = 50, 0.02
"""Differences of one kind that a check makes good, however many rows or objects there are, and the share of them up to which it goes on."""
KEY = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})")
LAST = b"\xff" * 33
"""Behind every content."""


class Bucket(Protocol):
    """What is used of `transport.objects.ObjectStore`."""

    async def head(self, key: str) -> Head: ...
    async def page(self, prefix: str, token: str | None = None) -> Page: ...


class Known(NamedTuple):
    """A content that rows name: as an object, as a smaller picture. `young`: it may be on its way to the bucket, or out of it."""

    content: bytes
    is_object: bool
    is_variant: bool
    young: bool
    bytes: int


class Checked(msgspec.Struct, kw_only=True):
    """What was compared, and what differed. `missing`: rows without an object; `again`: assets that are uploaded again because of it. `orphans`: objects without
    a row; `orphan_bytes`: theirs. `damaged`: objects of another size than their rows say. `young`: such objects that may belong to uploads in flight. `foreign`: keys that are not Beat's. `continued`: whether
    it went on where an earlier check was interrupted."""

    dry_run: bool
    continued: bool = False
    rows: int = 0
    objects: int = 0
    missing: int = 0
    again: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    young: int = 0
    foreign: int = 0
    damaged: int = 0

    @property
    def agree(self) -> bool:
        return not (self.missing or self.orphans or self.damaged)


SQL = Statements(__file__)
KNOWN, SEEN, MISSING, ORPHANS = SQL("known", Known), SQL("seen"), SQL("missing", int), SQL("orphans", int)
REACHED, REACH, END = SQL("reached", bytes), SQL("reach"), SQL("end")


@dataclass(slots=True)
class Check:
    """One check. `dry_run`: it changes nothing, and begins at the beginning. `many`: it makes good however much differs. `told`: is called after each part
    with its number."""

    database: Database
    bucket: Bucket
    dry_run: bool = False
    older: float = OLDER
    page: int = PAGE
    many: bool = False
    told: Callable[[int, Checked], None] = lambda _part, _found: None
    found: Checked = field(init=False)

    def __post_init__(self) -> None:
        self.found = Checked(dry_run=self.dry_run)

    async def run(self, *, actor: str, anew: bool = False) -> Checked:
        """Compare all parts that are left. `anew`: also those that an interrupted check has compared. Raises `ObjectsUnavailable` and `StorageUnavailable`,
        and `Conflict` where too much differs."""
        first = 0
        if not self.dry_run:
            async with self.database.transaction() as transaction:
                await audit.record(transaction, actor=actor, action="asset.check", target="assets")
                if anew:
                    await transaction.run(END)
                reached = await transaction.row(REACHED)
            if reached is not None:
                first, self.found.continued = reached[0] + 1, True
        for part in range(first, PARTS):
            await self._part(part)
            self.told(part, self.found)
        if not self.dry_run:
            async with self.database.statements() as alone:
                await alone.run(END)
        return self.found

    async def _part(self, part: int) -> None:
        """Walk along both streams; each content is in one of them or in both."""
        before = (self.found.rows, self._differences)
        rows, objects = self._rows(part), self._objects(f"{part:02x}/")
        known, listed = await anext(rows, None), await anext(objects, None)
        missing, orphans, seen, damaged = list[Known](), list[Listed](), list[bytes](), list[Listed]()
        while known is not None or listed is not None:
            content = None if listed is None else bytes.fromhex(listed.key[-64:])
            if listed is None or (known is not None and content is not None and known.content < content):
                assert known is not None
                missing.append(known)
                known = await anext(rows, None)
            elif known is None or (content is not None and content < known.content):
                orphans.append(listed)
                listed = await anext(objects, None)
            else:
                if known.bytes == listed.size or known.young:
                    seen.append(known.content)
                else:
                    damaged.append(listed)
                known, listed = await anext(rows, None), await anext(objects, None)
            if len(missing) + len(orphans) + len(seen) + len(damaged) >= self.page:
                await self._settle(missing, orphans, seen, damaged)
                missing, orphans, seen, damaged = [], [], [], []
        await self._settle(missing, orphans, seen, damaged)
        if not self.dry_run:
            looked, differed = self.found.rows - before[0], self._differences - before[1]
            async with self.database.statements() as alone:
                await alone.run(REACH, {"position": bytes([part]), "looked": looked, "found": differed})

    @property
    def _differences(self) -> int:
        return self.found.missing + self.found.orphans + self.found.damaged

    def _refuse_many(self) -> None:
        """Raises `Conflict` where so much differs that the bucket is hardly that of the rows."""
        found = self.found
        wrong = found.missing + found.damaged
        if wrong > max(FEW, SHARE * found.rows):
            what = f"{wrong:,} of {found.rows:,} rows have no object in the bucket, or a damaged one, so BEAT_ASSET_BUCKET may name another bucket"
        elif found.orphans > max(FEW, SHARE * found.objects):
            what = f"{found.orphans:,} of {found.objects:,} objects have no row, so another installation may use this bucket too"
        else:
            return
        raise Conflict(
            f"the check stopped, and has not changed the last of them: {what}. See what differs with `beat assets check --dry-run`; "
            "if the bucket is the right one and of this installation alone, have all of it made good with `beat assets check --many`"
        )

    async def _settle(
        self, missing: list[Known], orphans: list[Listed], seen: list[bytes], damaged: list[Listed]
    ) -> None:
        gone = [one.content for one in missing if not one.young and await self._is_gone(one.content)]
        oldest = datetime.now(UTC) - timedelta(seconds=self.older)
        old = [one for one in orphans if one.modified < oldest]
        self.found.missing += len(gone)
        self.found.orphans += len(old)
        self.found.orphan_bytes += sum(one.size for one in old)
        self.found.young += len(orphans) - len(old)
        self.found.damaged += len(damaged)
        if self.dry_run:
            return
        if not self.many:
            self._refuse_many()
        bad = [bytes.fromhex(one.key[-64:]) for one in damaged]
        async with self.database.transaction() as transaction:
            if gone or bad:
                self.found.again += await transaction.only(MISSING, {"contents": [*gone, *bad]})
            if old or bad:
                # The row of a damaged object is gone by now.
                contents = [bytes.fromhex(one.key[-64:]) for one in (*old, *damaged)]
                await transaction.run(ORPHANS, {"contents": contents, "sizes": [one.size for one in (*old, *damaged)]})
            if seen:
                await transaction.run(SEEN, {"contents": seen})

    async def _is_gone(self, content: bytes) -> bool:
        try:
            await self.bucket.head(key_of(content))
        except ObjectMissing:
            return True
        return False

    async def _rows(self, part: int) -> AsyncIterator[Known]:
        after, until = bytes([part]), bytes([part + 1]) if part + 1 < PARTS else LAST
        while True:
            async with self.database.statements() as alone:
                page = await alone.rows(KNOWN, {"after": after, "until": until, "most": self.page})
            self.found.rows += len(page)
            for one in page:
                yield one
            if len(page) < self.page:
                return
            after = page[-1].content

    async def _objects(self, prefix: str) -> AsyncIterator[Listed]:
        token: str | None = None
        while True:
            page = await self.bucket.page(prefix, token)
            for one in page.objects:
                self.found.objects += 1
                if KEY.fullmatch(one.key):
                    yield one
                else:
                    self.found.foreign += 1
            token = page.token
            if token is None:
                return
