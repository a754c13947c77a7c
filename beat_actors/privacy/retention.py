"""Entities that nobody observed for `BEAT_ENTITY_DAYS` are forgotten, with the media that are due for them. Off unless that is set.

`observed_at` changes with each observation, so an index on it would cost every write. The sweep walks each table by its primary key
instead, page by page, and goes on at the next run where its time was over. Rows that stay cost it a look and hold up nothing.
"""

import time
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from beat_actors.database import Database, Statement
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platforms
from beat_actors.requests.swept import Swept

PAGE = 2000
BUDGET = 15.0
"""Seconds of one run."""
START = ("", "", "")

Position = tuple[str, str, str]
"""Key, account_id and owner of the last row that was looked at."""


class Page(NamedTuple):
    """Rows of a page that were deleted and looked at, and the last one's `Position`."""

    gone: int
    seen: int
    key: str
    account_id: str
    owner: str


@cache
def forget_page(platform: str, entity: Entity) -> Statement[Page]:
    """One page of an entity's table: deletes what is too old, and of `asset_log` what no other row of that key and owner needs.
    The objects of these assets are marked as perhaps unused, but for those that others hold locked.

    Parameters: `key`, `account`, `owner` (the position), `page` (rows), `days`, `epoch`. One row: how many were deleted (`gone`) and
    looked at (`seen`), and the position of the last; no row where the table ends. A row that is observed meanwhile stays.
    """
    text = f"""
WITH limits AS MATERIALIZED (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS oldest
), page AS MATERIALIZED (
    SELECT ctid AS place, {entity.key} AS key, account_id, owner, observed_at FROM "{entity.table}"
    WHERE ({entity.key}, account_id, owner) > (%(key)s, %(account)s, %(owner)s)
    ORDER BY {entity.key}, account_id, owner LIMIT %(page)s
), gone AS (
    DELETE FROM "{entity.table}" t
    WHERE ctid = ANY(ARRAY(SELECT place FROM page WHERE observed_at < (SELECT oldest FROM limits)))
      AND observed_at < (SELECT oldest FROM limits) AND beat_leads(%(epoch)s)
    RETURNING t.{entity.key} AS key, t.account_id, t.owner
), base AS (
    DELETE FROM entity_base b USING gone g WHERE b.entity = '{entity.table}' AND b.key = g.key AND b.account_id = g.account_id AND b.owner = g.owner
), assets AS (
    DELETE FROM asset_log a USING (SELECT DISTINCT key, owner FROM gone) g
    WHERE a.platform = '{platform}' AND a.entity = '{entity.table}' AND a.entity_key = g.key AND a.owner = g.owner
      AND NOT EXISTS (SELECT FROM "{entity.table}" o WHERE o.{entity.key} = g.key AND o.owner = g.owner
                      AND o.observed_at >= (SELECT oldest FROM limits))
    RETURNING a.content
), objects AS (
    -- Others may have them too: who deletes objects looks again (`assets/upkeep/deleting`).
    UPDATE asset_object SET unused_since = clock_timestamp() WHERE content = ANY(ARRAY(
        SELECT content FROM asset_object WHERE content = ANY(ARRAY(SELECT content FROM assets WHERE content IS NOT NULL)) AND unused_since IS NULL AND deleting_since IS NULL
        ORDER BY content FOR NO KEY UPDATE SKIP LOCKED))
)
SELECT (SELECT count(*) FROM gone)::integer AS gone, (SELECT count(*) FROM page)::integer AS seen, key, account_id, owner
FROM page ORDER BY key DESC, account_id DESC, owner DESC LIMIT 1
"""  # noqa: S608 - every name comes from a platform's declaration
    return Statement(f"privacy/retention.{entity.table}", "", text, Page)


@dataclass(slots=True)
class Entities:
    """The sweep, with the position that it reached in each table. Another process begins anew, which costs a look at each row."""

    page: int = PAGE
    budget: float = BUDGET
    _reached: dict[str, Position] = field(default_factory=dict)

    async def forget(self, database: Database, epoch: int | None = None) -> Swept:
        """Delete until each table is walked through or the time is over. Raises `StorageUnavailable`."""
        days = database.settings.entity_days
        if days is None:
            return Swept()
        ends = time.monotonic() + self.budget
        gone = 0
        tables = [(name, entity) for name, platform in platforms().items() for entity in platform.entities]
        # Those that the last run left in the middle come first.
        for name, entity in sorted(tables, key=lambda each: each[1].table not in self._reached):
            gone += await self._table(database, name, entity, {"days": days, "epoch": epoch}, ends)
        return Swept(count=gone)

    async def _table(
        self, database: Database, platform: str, entity: Entity, known: dict[str, int | None], ends: float
    ) -> int:
        gone = 0
        position = self._reached.get(entity.table, START)
        while time.monotonic() < ends:
            at = dict(zip(("key", "account", "owner"), position, strict=True))
            async with database.statements() as alone:
                row = await alone.row(forget_page(platform, entity), {**known, **at, "page": self.page})
            gone += row.gone if row else 0
            if row is None or row.seen < self.page:
                self._reached.pop(entity.table, None)
                return gone
            position = self._reached[entity.table] = (row.key, row.account_id, row.owner)
        # At the latest the next run goes on here, before the tables that it has walked through.
        self._reached.setdefault(entity.table, position)
        return gone
