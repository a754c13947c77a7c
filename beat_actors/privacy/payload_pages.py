"""Raw payloads that name a person. Each is read: the index does not say whom an answer names."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from beat_actors.database import Composed, Database, Statement
from beat_actors.pipeline.records import unpack
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.privacy.matching import Matcher
from beat_actors.privacy.pages import BLOCKS, Leaf

BLOCKS_OF_BODIES = 8
"""Blocks of a page of a table with bodies, which lie beside it and are large."""


class Body(NamedTuple):
    """A payload. `body` is None where it lies in the bucket."""

    fetch_id: int
    body: bytes | None
    next_cursor: str | None


@lru_cache(maxsize=256)
def _reading(table: str, leaf: str) -> Statement[Body]:
    """Parameters: first, last (text: places), sources (text[]), until (timestamptz)."""
    body = "NULL::bytea" if table == "archived_payload" else "body"
    mine = " AND source = ANY(%(sources)s)" if table == "raw_payload" else ""
    sql = (
        f"SELECT fetch_id, {body} AS body, next_cursor FROM {leaf} "  # noqa: S608 - of the catalogue
        f"WHERE ctid >= %(first)s::tid AND ctid < %(last)s::tid AND created_at < %(until)s{mine}"
    )
    return Composed(f"privacy/payload_pages.reading.{table}", sql, Body)


async def look_through_payloads(
    database: Database, table: str, leaf: Leaf, block: int, matcher: Matcher, *, platform: str, until: datetime
) -> tuple[list[int], int]:
    """The fetches of a page whose payloads name the person, and where the next page begins. Only payloads from before `until`."""
    last = block + (BLOCKS if table == "archived_payload" else BLOCKS_OF_BODIES)
    values = {"first": f"({block},0)", "last": f"({last},0)", "until": until, "sources": _sources(platform)}
    async with database.statements() as alone:
        rows = await alone.rows(_reading(table, leaf.name), values, binary=True)
    found = []
    for row in rows:
        named = row.next_cursor is not None and matcher.in_text(row.next_cursor)
        if named or (row.body is not None and await naming(row.body, matcher)):
            found.append(row.fetch_id)
    return found, last


async def naming(frame: bytes, matcher: Matcher) -> bool:
    """Whether a packed payload names the person. One that cannot be read is taken to do so."""

    def look() -> bool:
        try:
            return matcher.in_payload(unpack(frame))
        except ValueError:
            return True

    return await asyncio.to_thread(look)


def _sources(platform: str) -> Sequence[str]:
    return sorted(known_platform(platform).sources)
