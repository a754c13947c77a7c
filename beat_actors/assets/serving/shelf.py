"""What readers get of assets: which content an asset has, who may read it, and whether its picture has to be fetched first.

Nothing here goes to an origin. A reader of what is not stored marks its row as wanted; the uploader claims such rows before all others.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from beat_actors.access.reader import Reader, Sees
from beat_actors.assets.serving.lookup import Lookup
from beat_actors.database import Database, Statements

FRESH = 10.0
"""Seconds for which a process uses what it knows of an asset. What was forgotten is served for this time at most."""
KEPT = 50.0
"""Seconds for which it uses this while the database does not answer."""
OF_A_VARIANT = 50.0
"""Seconds for which it uses that a variant exists. The bytes of a variant never change."""


class Asset(NamedTuple):
    """An asset as it is served. `content`: SHA-256 of the last good picture. `is_current`: that picture is the one that was observed last.

    `media_type`, `bytes`, `width`: of the content. `wanted`: a reader waits for it already. `later`: seconds until it may be fetched again, `None`: at
    once. `may_refetch`: it has a parent that was not asked for because of it during the last day.
    """

    public_id: UUID
    platform: str
    owner: str
    status: str
    content: bytes | None
    media_type: str | None
    bytes: int | None
    width: int | None
    is_current: bool
    wanted: bool
    later: float | None
    may_refetch: bool


class Wanted(NamedTuple):
    """A smaller picture that a reader wants of some content."""

    content: bytes
    width: int
    media_type: str


class Variant(NamedTuple):
    """A smaller picture of `content`: the object `variant`, of the type `shown_as`."""

    content: bytes
    width: int
    media_type: str
    variant: bytes
    bytes: int
    shown_as: str


class Step(Enum):
    """What the process does for a reader. `WANT`: it marks the row as wanted and waits. `ASK`: it has the parent asked for and does not wait, since
    that takes longer than a reader can be kept. `NOTHING`: nothing can be had for now, or for ever."""

    SERVE = "serve"
    WAIT = "wait"
    WANT = "want"
    ASK = "ask"
    NOTHING = "nothing"


SQL = Statements(__file__)
LOOK, WANT, ASK, ENDED = SQL("look", Asset), SQL("want"), SQL("ask"), SQL("ended", UUID)
MAY, VARIANTS = SQL("may", bool), SQL("variants", Variant)


def step(asset: Asset) -> Step:
    """The next step for a reader of this asset."""
    if asset.content is not None and asset.is_current:
        return Step.SERVE
    match asset.status:
        case "PROCESSING":
            return Step.WAIT
        case "PENDING":
            return Step.WAIT if asset.wanted else Step.WANT
        case "WAITING" if not asset.later or asset.later <= 0:
            return Step.WAIT if asset.wanted else Step.WANT
        case "EXPIRED" if asset.may_refetch:
            return Step.ASK
    return Step.NOTHING


class Shelf:
    """One for each process and event loop: what it knows of assets and their variants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.assets: Lookup[UUID, Asset] = Lookup(self._look, fresh=FRESH, kept=KEPT)
        self.variants: Lookup[Wanted, Variant] = Lookup(self._look_for_variants, fresh=OF_A_VARIANT, kept=KEPT)

    async def may_read(self, asset: Asset, reader: Reader) -> bool:
        """Whether this reader may read it: what has no owner is public. Raises `StorageUnavailable`."""
        if not asset.owner or reader.sees is Sees.ALL:
            return True
        if reader.account_id is None:
            return False
        values = {"account_id": reader.account_id, "platform": asset.platform, "owner": asset.owner}
        async with self._database.statements() as alone:
            return bool(await alone.value(MAY, values))

    async def want(self, asset: UUID) -> None:
        """Mark a row as wanted, if it still is one that can be fetched. Raises `StorageUnavailable`."""
        async with self._database.statements() as alone:
            await alone.run(WANT, {"ids": [asset]})

    async def ask(self, asset: UUID) -> None:
        """Let the parent of an expired asset be asked for again, unless that was done within a day. Raises `StorageUnavailable`."""
        async with self._database.statements() as alone:
            await alone.run(ASK, {"ids": [asset]})

    async def ended(self, ids: Collection[UUID]) -> set[UUID]:
        """Those of these rows that no reader has to wait for any longer, whatever became of them. Raises `StorageUnavailable`."""
        async with self._database.statements() as alone:
            return set(await alone.rows(ENDED, {"ids": sorted(ids)}))

    async def made(self, wanted: Collection[Wanted]) -> set[Wanted]:
        """Those of these variants that exist. Raises `StorageUnavailable`."""
        return set(await self._look_for_variants(wanted))

    async def close(self) -> None:
        await self.assets.close()
        await self.variants.close()

    async def _look(self, ids: Collection[UUID]) -> Mapping[UUID, Asset]:
        async with self._database.statements() as alone:
            return {row.public_id: row for row in await alone.rows(LOOK, {"ids": list(ids)}, binary=True)}

    async def _look_for_variants(self, wanted: Collection[Wanted]) -> Mapping[Wanted, Variant]:
        async with self._database.statements() as alone:
            return _by_wanted(await alone.rows(VARIANTS, _columns(wanted), binary=True))


def _columns(wanted: Iterable[Wanted]) -> dict[str, object]:
    each = list(wanted)
    return {
        "contents": [one.content for one in each],
        "widths": [one.width for one in each],
        "media_types": [one.media_type for one in each],
    }


def _by_wanted(rows: Iterable[Variant]) -> dict[Wanted, Variant]:
    return {Wanted(row.content, row.width, row.media_type): row for row in rows}
