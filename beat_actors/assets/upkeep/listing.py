"""Assets as operators see them: lists in pages, one asset, and another try for those that were given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from beat_actors import audit
from beat_actors.assets.classes import AssetClass
from beat_actors.assets.serving.places import key_of
from beat_actors.data import cursors
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.shapes import one_of
from beat_actors.text import check_text

STATUSES = ("PENDING", "WAITING", "PROCESSING", "REFETCH", "COMPLETE", "FAILED", "EXPIRED", "GONE")
GIVEN_UP = ("FAILED", "EXPIRED", "GONE")
"""Statuses in which nothing more happens by itself. WAITING is among those that may be tried at once."""
AGAIN = (*GIVEN_UP, "WAITING")
CLASSES = tuple(one.name.lower() for one in AssetClass)
MAX_PAGE = 200
MOST_AGAIN = 1000
"""Assets that one call tries again."""
SCAN = 5000
"""Rows that one look for a page reads."""
LOOKS = 10
"""Looks for one page. A page that is not full by then is returned with a cursor."""


class Found(NamedTuple):
    """An asset of a page; all but `looked` and `last` are None where there is none."""

    looked: int
    last: int | None
    id: int | None
    public_id: UUID | None
    platform: str
    entity: str
    entity_key: str
    field: str
    owner: str
    account_id: str | None
    asset_class: int | None
    status: str
    failure: str | None
    attempts: int
    url: str
    expires_at: datetime | None
    deadline: datetime | None
    not_before: datetime | None
    observed_at: datetime | None
    stored_at: datetime | None
    changed_at: datetime | None
    wanted_at: datetime | None
    refetched_at: datetime | None
    parent_kind: str | None
    parent_key: str | None
    content: str | None


class Whole(NamedTuple):
    """An asset, and the object that is its content."""

    id: int
    public_id: UUID
    platform: str
    entity: str
    entity_key: str
    field: str
    owner: str
    account_id: str | None
    asset_class: int | None
    status: str
    failure: str | None
    attempts: int
    url: str
    expires_at: datetime | None
    deadline: datetime | None
    not_before: datetime | None
    observed_at: datetime | None
    stored_at: datetime | None
    changed_at: datetime | None
    wanted_at: datetime | None
    refetched_at: datetime | None
    parent_kind: str | None
    parent_key: str | None
    content: str | None
    bytes: int | None
    media_type: str | None
    width: int | None
    height: int | None
    object_since: datetime | None
    checked_at: datetime | None


class AssetView(msgspec.Struct, frozen=True, kw_only=True):
    """An asset. `id`: null until it is prepared. `deadline`: when its URL is expected to stop working; `expires_at`: when the URL itself says so. `not_before`: it is not
    tried again before. `wanted_at`: since when a reader waits for it. `refetched_at`: when its parent was asked for a fresh URL. `content`: the SHA-256
    of the last good picture, also where a newer one is missing."""

    id: str | None
    platform: str
    entity: str
    entity_key: str
    field: str
    owner: str
    account_id: str | None
    asset_class: Annotated[str | None, one_of(CLASSES)] = msgspec.field(name="class")
    status: Annotated[str, one_of(STATUSES)]
    failure: str | None
    attempts: int
    url: str
    expires_at: datetime | None
    deadline: datetime | None
    not_before: datetime | None
    observed_at: datetime | None
    stored_at: datetime | None
    changed_at: datetime | None
    wanted_at: datetime | None
    refetched_at: datetime | None
    parent_kind: str | None
    parent_key: str | None
    content: str | None


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """The object that holds an asset's picture. `checked_at`: when it was last seen in the bucket."""

    key: str
    bytes: int
    media_type: str
    width: int | None
    height: int | None
    created_at: datetime
    checked_at: datetime | None


class WholeAsset(AssetView, frozen=True, kw_only=True):
    """An asset with its object. `why`: what happens next, in a sentence."""

    stored: StoredObject | None
    why: str


class AssetPage(msgspec.Struct, frozen=True, kw_only=True):
    """Assets, newest first. `next_cursor`: of the next page; null: there is none. A page may have fewer assets than were asked for, and a next one."""

    assets: list[AssetView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to list. `asset_class`: the name of a class. `cursor` is the one that the page before gave."""

    platform: str | None = None
    status: str | None = None
    asset_class: str | None = None
    account_id: str | None = None
    failure: str | None = None
    cursor: str | None = None
    limit: int = 50


SQL = Statements(__file__)
PAGE, ONE, ONCE_MORE = SQL("page", Found), SQL("one", Whole), SQL("again", UUID)


async def page(database: Database, wanted: Filter) -> AssetPage:
    """The assets that the filter selects. Reads at most `LOOKS` x `SCAN` rows, of each status. Raises `BadInput`."""
    known = _checked(wanted)
    before = None if wanted.cursor is None else cursors.read(wanted.cursor, cursors.Before).id
    shown, more = list[AssetView](), True
    async with database.statements() as alone:
        for _ in range(LOOKS):
            rows = await alone.rows(PAGE, {**known, "before": before, "most": wanted.limit - len(shown)})
            found = [row for row in rows if row.id is not None]
            shown += map(view, found)
            if len(shown) >= wanted.limit:
                before = found[-1].id
                break
            before, more = rows[0].last, rows[0].looked >= SCAN
            if not more:
                break
    return AssetPage(
        assets=shown, next_cursor=cursors.write(cursors.Before(before)) if more and before is not None else None
    )


async def one(database: Database, asset: str) -> WholeAsset:
    """An asset by its id. Raises `NotFound`."""
    async with database.statements() as alone:
        row = await alone.row(ONE, {"asset": uuid(asset)})
    if row is None:
        raise NotFound(f"no asset {asset}")
    stored = None
    if row.content is not None and row.bytes is not None and row.object_since is not None:
        stored = StoredObject(
            key=key_of(bytes.fromhex(row.content)),
            bytes=row.bytes,
            media_type=row.media_type or "",
            width=row.width,
            height=row.height,
            created_at=row.object_since,
            checked_at=row.checked_at,
        )
    return WholeAsset(**msgspec.structs.asdict(view(row)), stored=stored, why=why(row))


async def again(transaction: Transaction, assets: Sequence[str], *, actor: str, reason: str) -> int:
    """Try assets again that were given up, or that wait for a later try; how many. Raises `BadInput`, and `NotFound` for what is no id."""
    if not 0 < len(assets) <= MOST_AGAIN:
        raise BadInput(f"1 to {MOST_AGAIN:,} assets at a time", field="assets")
    check_text(reason, "reason", longest=1000)
    known = {"assets": [uuid(asset) for asset in assets], "statuses": list(AGAIN)}
    done = await transaction.rows(ONCE_MORE, known)
    target = f"asset/{assets[0]}" if len(assets) == 1 else "assets"
    detail = {"reason": reason, "assets": len(done), "first": str(assets[0])}
    await audit.record(transaction, actor=actor, action="asset.retry", target=target, detail=detail)
    return len(done)


def view(row: Found | Whole) -> AssetView:
    return AssetView(
        id=None if row.public_id is None else str(row.public_id),
        platform=row.platform,
        entity=row.entity,
        entity_key=row.entity_key,
        field=row.field,
        owner=row.owner,
        account_id=row.account_id,
        asset_class=None if row.asset_class is None else AssetClass(row.asset_class).name.lower(),
        status=row.status,
        failure=row.failure,
        attempts=row.attempts,
        url=row.url,
        expires_at=row.expires_at,
        deadline=row.deadline,
        not_before=row.not_before,
        observed_at=row.observed_at,
        stored_at=row.stored_at,
        changed_at=row.changed_at,
        wanted_at=row.wanted_at,
        refetched_at=row.refetched_at,
        parent_kind=row.parent_kind,
        parent_key=row.parent_key,
        content=row.content,
    )


NEXT = {
    "PENDING": "it waits for its turn: `beat assets backlog` shows when its class is done",
    "PROCESSING": "it is being fetched and stored",
    "WAITING": "it failed and is tried again later, or at once with `beat assets retry ID --reason …`",
    "REFETCH": "its URL does not work any more; a request asks its parent for a fresh one",
    "COMPLETE": "it is stored",
    "FAILED": "what its URL gave is not stored; a new URL or `beat assets retry ID --reason …` tries it again",
    "EXPIRED": "its URL expired before it was stored, and its parent gave no fresh one; a new observation tries it again",
    "GONE": "its platform does not have it any more; a new observation tries it again",
}


def why(row: Whole) -> str:
    """What an asset waits for, or why it is not stored; with the reason, where there is one."""
    said = NEXT[row.status].replace("ID", str(row.public_id))
    return f"{said} ({row.failure})" if row.failure else said


def uuid(text: str) -> UUID:
    """Raises `NotFound` for what is the id of no asset."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"{text!r} is not the id of an asset; `beat assets list` shows ids") from None


def _checked(wanted: Filter) -> dict[str, object]:
    if not 1 <= wanted.limit <= MAX_PAGE:
        raise BadInput(f"limit must be a whole number from 1 to {MAX_PAGE}", field="limit")
    if wanted.status is not None and wanted.status not in STATUSES:
        raise BadInput(f"status is one of {', '.join(STATUSES)}", field="status")
    if wanted.asset_class is not None and wanted.asset_class not in CLASSES:
        raise BadInput(f"class is one of {', '.join(CLASSES)}", field="class")
    if wanted.platform is not None:
        known_platform(wanted.platform)
    for name in ("account_id", "failure"):
        check_text(getattr(wanted, name) or "", name, longest=200)
    return {
        "statuses": [wanted.status] if wanted.status is not None else list(STATUSES),
        "scan": SCAN,
        "platform": wanted.platform,
        "account": wanted.account_id,
        "failure": wanted.failure,
        "class": None if wanted.asset_class is None else CLASSES.index(wanted.asset_class),
    }
