"""The sweep over assets that older processes wrote: it fills the columns that those processes do not know.

An asset gets what its entity's row says now, as if that had just been observed. Where the row is gone, its own URL counts.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from beat_actors.assets import intake
from beat_actors.assets.classes import AssetClass
from beat_actors.assets.intake import Media
from beat_actors.database import Composed, Database, Statement, Statements, Transaction, arrays
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platforms

MOST = 500
"""Assets of one run."""
GIVEN_UP = "unfetchable: its URL is not one of the web, its platform is not installed, or its pictures are not stored"


class Unprepared(NamedTuple):
    platform: str
    entity: str
    entity_key: str
    field: str
    owner: str
    url: str
    created_at: datetime


SQL = Statements(__file__)
UNPREPARED, GIVE_UP = SQL("unprepared", Unprepared), SQL("give_up")


async def prepare(database: Database, epoch: int | None = None) -> int:
    """Prepare the next assets; how many there were. Raises `StorageUnavailable`."""
    async with database.transaction() as transaction:
        found = await transaction.rows(UNPREPARED, {"most": MOST, "epoch": epoch})
        if found:
            await intake.observe(transaction, await _rows(transaction, found))
            names = ("platforms", "entities", "keys", "fields", "owners")
            of = arrays([asset[:5] for asset in found], *names)
            await transaction.run(GIVE_UP, {**of, "class": AssetClass.OTHER, "failure": GIVEN_UP})
    return len(found)


async def _rows(transaction: Transaction, found: Sequence[Unprepared]) -> list[intake.Row]:
    groups: dict[tuple[str, Entity], list[Unprepared]] = {}
    for asset in found:
        platform = platforms().get(asset.platform)
        for entity in () if platform is None else platform.entities:
            if entity.table == asset.entity and asset.field in entity.assets:
                groups.setdefault((asset.platform, entity), []).append(asset)
    rows: list[intake.Row] = []
    for (name, entity), assets in groups.items():
        media = {
            (asset.entity_key, asset.field, asset.owner): Media(
                asset.entity_key, asset.field, asset.owner, "", asset.url, asset.created_at, None, None
            )
            for asset in assets
        }
        of = arrays([(asset.entity_key, asset.owner) for asset in assets], "keys", "owners")
        for one in await transaction.rows(_now(entity), of):
            if one[:3] in media:
                media[one[:3]] = one
        rows += intake.rows_of(name, entity, media.values())
    return rows


@cache
def _now(entity: Entity) -> Statement[Media]:
    """What the rows of these things say of their media. Parameters: arrays of equal length, `keys` and `owners`. The row that was observed last comes
    last. It reads the rows of these things, by their primary key."""
    fields = ", ".join(f"('{field}', o.{field})" for field in entity.assets)
    parent = f"o.{entity.parent.field}" if entity.parent is not None else "NULL"
    taken_at = f"o.{entity.newest}" if entity.newest else "NULL::timestamptz"
    text = f"""
SELECT o.{entity.key} AS entity_key, v.field, o.owner, o.account_id, v.url, o.observed_at, {parent}::text AS parent, {taken_at} AS taken_at
FROM (SELECT DISTINCT * FROM unnest(%(keys)s::text[], %(owners)s::text[]) AS u(key, owner)) u
JOIN "{entity.table}" o ON o.{entity.key} = u.key AND o.owner = u.owner
CROSS JOIN LATERAL (VALUES {fields}) AS v(field, url) WHERE v.url IS NOT NULL ORDER BY o.observed_at
"""  # noqa: S608 - every name comes from a platform's declaration
    return Composed("assets/preparing.now", text, Media)
