"""Intake: media URLs that were observed become rows of `asset_log`, in the transaction that writes what was observed.

`pipeline/entities` finds the URLs that an entity's row did not have before, so an unchanged URL costs nothing here. This module reads from each URL
which picture it leads to and when it dies. One statement then compares that with the rows that exist.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from beat_actors.assets.classes import AssetClass
from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.media.urls import expiry, identity
from beat_actors.platforms.interface import Entity

DAY = timedelta(hours=24)
"""How long a URL is expected to work that does not say when it dies. Platforms remove stories after this time."""
LONGEST_URL = 8192
"""Characters. A longer one is not fetched."""


class Media(NamedTuple):
    """A media URL that was observed. `parent`: the key of the entity under which this one is listed. `taken_at`: when the post was made."""

    entity_key: str
    field: str
    owner: str
    account_id: str
    url: str
    observed_at: datetime
    parent: str | None
    taken_at: datetime | None


class Row(msgspec.Struct, frozen=True):
    """What is written of a media URL; `asset_log` explains the columns."""

    platform: str
    entity: str
    entity_key: str
    field: str
    owner: str
    account_id: str | None
    url: str
    asset_class: int
    identity: bytes
    observed_at: datetime
    expires_at: datetime | None
    deadline: datetime
    parent_kind: str
    parent_key: str


SQL = Statements(__file__)
OBSERVE = SQL("observe")


async def observe(transaction: Transaction, found: Iterable[Row]) -> None:
    """Write rows for media URLs that were observed in this transaction. It is called once in a transaction, after the entities are written."""
    if rows := newest(found):
        await transaction.run(OBSERVE, parameters(rows))


def rows_of(platform: str, entity: Entity, found: Iterable[Media]) -> list[Row]:
    """The rows of media URLs of one kind of entities. URLs that nothing can be fetched from are left out."""
    return [
        _row(platform, entity, media)
        for media in found
        if media.url.startswith(("https://", "http://")) and len(media.url) <= LONGEST_URL
    ]


def newest(rows: Iterable[Row]) -> list[Row]:
    """One row for each asset: accounts with rows of their own share it."""
    by_asset: dict[tuple[str, ...], Row] = {}
    for row in rows:
        asset = (row.platform, row.entity, row.entity_key, row.field, row.owner)
        other = by_asset.get(asset)
        if other is None or row.observed_at > other.observed_at:
            by_asset[asset] = row
    return list(by_asset.values())


def parameters(rows: Sequence[Row]) -> dict[str, str]:
    """Those of the statement `observe`. As JSON, because as arrays they cost the driver twenty times as much."""
    return {"media": jsonb(rows)}


def deadline(
    asset_class: AssetClass, observed_at: datetime, expires_at: datetime | None, taken_at: datetime | None
) -> datetime:
    """When the URL is expected to die."""
    ends = expires_at or observed_at + DAY
    if asset_class is not AssetClass.STORY:
        return ends
    # A story that is older is one that its author keeps for longer.
    removed = taken_at + DAY if taken_at and observed_at - DAY < taken_at <= observed_at else observed_at + DAY
    return min(ends, removed)


def _row(platform: str, entity: Entity, media: Media) -> Row:
    asset_class = entity.assets[media.field]
    expires_at = expiry(media.url, media.observed_at)
    parent = entity.parent if media.parent is not None else None
    return Row(
        platform=platform,
        entity=entity.table,
        entity_key=media.entity_key,
        field=media.field,
        owner=media.owner,
        account_id=media.account_id or None,
        url=media.url,
        asset_class=asset_class,
        identity=identity(media.url),
        observed_at=media.observed_at,
        expires_at=expires_at,
        deadline=deadline(asset_class, media.observed_at, expires_at, media.taken_at),
        parent_kind=entity.kind if parent is None else parent.under,
        parent_key=media.entity_key if media.parent is None else media.parent,
    )
