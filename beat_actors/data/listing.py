"""All that is known of a kind, a page at a time, in the order of the keys. The SQL is made from a platform's declarations, as in `reading`."""

from functools import cache

import msgspec

from beat_actors.access.reader import OPERATOR, Reader, Sees, visible
from beat_actors.data import cursors
from beat_actors.data.items import Item
from beat_actors.data.reading import Items, columns_of, maker_of, older_of
from beat_actors.database import Composed, Statement, Transaction
from beat_actors.platforms.interface import Entity, Platform


class Key(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended."""

    key: str


async def known(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    *,
    limit: int,
    cursor: str | None = None,
    reader: Reader = OPERATOR,
) -> Items:
    """A page of the things of a kind that the reader sees. One statement. Raises `BadInput` for a cursor that no page gave.

    It reads an index from the cursor on: (key, account_id, owner), or (account_id, key) for an account. So the last page costs what the
    first does, and an account's page costs what its own things cost, however many others have.
    """
    after = None if cursor is None else cursors.read(cursor, Key).key
    values = {"key": after, "limit": limit + 1, "account": reader.account_id}
    found = await transaction.rows(_page(platform.name, entity, reader.sees, after is not None), values)
    page = found[:limit]
    return Items(page, cursors.write(Key(page[-1].fields[entity.key])) if len(found) > limit else None)


@cache
def _page(platform: str, entity: Entity, sees: Sees, goes_on: bool) -> Statement[Item]:
    account = "%(account)s::text"
    # Said of both sides, so that a plan that merges them begins at the cursor and not at the first key.
    from_here = f" AND n.{entity.key} > %(key)s" if goes_on else ""
    conditions = [
        visible(sees, "p", account, f"'{platform}'"),
        # The reader sees one row of a thing, the newest: a newer one that the reader sees too takes this one's place.
        f"""NOT EXISTS (SELECT FROM "{entity.table}" n WHERE n.{entity.key} = p.{entity.key}{from_here}
            AND {visible(sees, "n", account, f"'{platform}'")}
            AND (n.observed_at, n.account_id, n.owner) > (p.observed_at, p.account_id, p.owner))""",
    ]
    if goes_on:
        conditions.append(f"p.{entity.key} > %(key)s")
    text = f"""
SELECT {columns_of(entity)} FROM "{entity.table}" p
{older_of(platform, entity, sees, account)}
WHERE {" AND ".join(conditions)}
ORDER BY p.{entity.key} LIMIT %(limit)s
"""  # noqa: S608 - declared
    item, columns = maker_of(entity)
    return Composed("data/listing.page", text, Item, columns=columns, make=item)
