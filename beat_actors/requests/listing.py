"""Lists of requests, and how many there are: by key and not by offset, so that the last page costs what the first does.

The text of a query depends on which conditions a filter has, so that each is planned for itself and can use its index."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from beat_actors.data import cursors
from beat_actors.database import Composed, Statements, Transaction
from beat_actors.requests.views import STATUSES, Filter, Page, RequestView, Row

SCANNED = 10_000
"""Requests with a tag, or that have not ended, that are looked at for one page. Where fewer of them match than the page holds, the page is short and its cursor goes on."""
COUNTED = 100_000
"""Requests with a tag that are counted, the newest ones."""

SQL = Statements(__file__)
UNFINISHED = "r.status IN ('PENDING', 'PROCESSING')"
CONDITIONS: Mapping[str, str] = {
    "platform": "r.platform = %(platform)s",
    "flow": "r.flow = %(flow)s",
    "status": "r.status = %(status)s",
    "account_id": "r.account_id = %(account_id)s",
    "batch_id": "r.batch_id = %(batch_id)s",
    "api_key_id": "r.api_key_id = %(api_key_id)s",
    "error": "r.data #>> '{error,code}' = %(error)s",
    "unfinished": UNFINISHED,
    "uncollected": "r.collected_at IS NULL AND r.scraped_at IS NOT NULL",
    "created_after": "r.created_at >= %(created_after)s",
    "created_before": "r.created_at < %(created_before)s",
}
"""The condition of each field of a filter that is set."""
Value = str | int | bool | datetime | UUID | None


class Edge(NamedTuple):
    """How many requests were looked at, and the oldest of them."""

    n: int
    last: int | None


class InStatus(NamedTuple):
    """How many requests are in a status."""

    status: str
    n: int


class Matching(NamedTuple):
    """Rows of a page, newest first, and the cursor of the next page."""

    rows: list[Row]
    next_cursor: str | None


async def matching(transaction: Transaction, wanted: Filter, limit: int) -> Matching:
    """The requests that match, from the cursor on, `limit` at most; by key and not by offset, so that the last page costs what the first does."""
    before = None if wanted.cursor is None else cursors.read(wanted.cursor, cursors.Before).id
    params = _params(wanted) | {"before": before, "rows": limit + 1, "most": SCANNED}
    where = [*_conditions(wanted), *(["r.id < %(before)s"] if before is not None else [])]
    looked = looked_at(wanted, before) if wanted.tags or wanted.unfinished else ""
    rows = await transaction.rows(Composed("page", _filled("page", where, looked), Row), params)
    if len(rows) > limit:
        return Matching(rows[:limit], cursor_after(rows[limit - 1].id))
    if not looked:
        return Matching(rows, None)
    edge = await _edge(transaction, looked, params)
    return Matching(rows, None if edge.last is None or edge.n < SCANNED else cursor_after(edge.last))


async def list_scrape_data(transaction: Transaction, wanted: Filter) -> Page:
    """One page of requests. A page of requests with a tag may be short, or empty, and have a next one."""
    found = await matching(transaction, wanted, wanted.limit)
    return Page([RequestView.of(row) for row in found.rows], found.next_cursor)


async def count_by_status(transaction: Transaction, wanted: Filter) -> tuple[dict[str, int], bool]:
    """How many requests there are in each status under the same filter, and whether all are counted: of those with a tag, the `COUNTED` newest."""
    params = _params(wanted) | {"most": COUNTED}
    looked = looked_at(wanted, None) if wanted.tags else ""
    whole = not looked or (await _edge(transaction, looked, params)).n < COUNTED
    counts = Composed("counts", _filled("counts", _conditions(wanted), looked), InStatus)
    found = {row.status: row.n for row in await transaction.rows(counts, params)}
    return {status: found.get(status, 0) for status in STATUSES}, whole


def looked_at(wanted: Filter, before: int | None) -> str:
    """The query for the newest requests with the first tag of the filter, or, where it has none, that have not ended."""
    one, key = ("t", "t.request_id") if wanted.tags else ("r", "r.id")
    where = ["t.tag = %(tag)s"] if wanted.tags else [UNFINISHED]
    if wanted.account_id is not None:
        where.append(f"{one}.account_id = %(account_id)s")
    if before is not None:
        where.append(f"{key} < %(before)s")
    return SQL.fragment("tagged" if wanted.tags else "unfinished").replace("{where}", " AND ".join(where))


def tag_of(name: str, value: str) -> UUID:
    """How `request_tag` names a tag."""
    return UUID(hashlib.md5(f"{name}\x1f{value}".encode(), usedforsecurity=False).hexdigest())


def cursor_after(request_id: int) -> str:
    """Where the page after this request begins."""
    return cursors.write(cursors.Before(request_id))


async def _edge(transaction: Transaction, looked: str, params: Mapping[str, Value]) -> Edge:
    text = SQL.fragment("edge").replace("{looked}", looked)
    return await transaction.only(Composed("edge", text, Edge), params)


def _filled(fragment: str, where: list[str], looked: str) -> str:
    """A fragment with its conditions, among the requests that were `looked` at where that is not empty."""
    of_those = SQL.fragment("of_those").replace("{looked}", looked) if looked else ""
    return SQL.fragment(fragment).replace("{of_those}", of_those).replace("{where}", " AND ".join(where) or "true")


def _conditions(wanted: Filter) -> list[str]:
    tags = [f"r.tags ->> %(name{n})s::text = %(value{n})s" for n in range(len(wanted.tags))]
    return [text for name, text in CONDITIONS.items() if _is_set(getattr(wanted, name))] + tags


def _params(wanted: Filter) -> dict[str, Value]:
    found: dict[str, Value] = {name: getattr(wanted, name) for name in CONDITIONS}
    for n, (name, value) in enumerate(wanted.tags.items()):
        found |= {f"name{n}": name, f"value{n}": value}
        if n == 0:
            found["tag"] = tag_of(name, value)
    return found


def _is_set(value: Value) -> bool:
    return value is not None and value is not False
