"""Reading entities, lists of them and their history. The SQL is made from a platform's declarations, once for each kind of reader.

One thing may have several rows: one for each account that had it observed and, apart from the public one, one for each owner
(`access.reader` says which of them a reader sees). Of the rows that a reader sees, the one observed last is shown. A field that the row observed
before it knows from a newer observation is taken from that row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NamedTuple, cast

import msgspec

from beat_actors.access.reader import OPERATOR, Reader, Sees, visible
from beat_actors.data import cursors
from beat_actors.data.items import Item, Observed, combined
from beat_actors.database import Composed, Statement, Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.holds.gates import platform_judging
from beat_actors.pipeline.entities import SUBJECTS, column_types, logged
from beat_actors.platforms.interface import Entity, Listed, Platform
from beat_actors.platforms.reading import name as bare_name

MAX_PAGE = 1000
MAX_PASSED = 1_000_000
"""Observations of one fetch that a cursor can have passed: PostgreSQL reads as many for the next page."""


class Logged(NamedTuple):
    """A row of a log."""

    observed_at: datetime
    fetch_id: int
    source: str
    request_id: int | None
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    hidden: list[str] | None


class Items(msgspec.Struct, frozen=True):
    """A page of things, newest first; `next_cursor` is `None` on the last one."""

    items: Sequence[Item]
    next_cursor: str | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One observation, as it was made. A field that is null is empty, one that is not there was not told. `hidden`: counts that their owner hides."""

    as_of: datetime
    source: str
    request_id: int | None
    dimensions: dict[str, Any]
    metrics: dict[str, Any]
    hidden: list[str] | msgspec.UnsetType = msgspec.UNSET


class History(msgspec.Struct, frozen=True):
    """A page of observations, newest first; `next_cursor` is `None` on the last one."""

    snapshots: list[Snapshot]
    next_cursor: str | None


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of a list ended."""

    newest: datetime | None
    key: str


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of a history ended: `passed` observations of this fetch, which were all made at one time, have been shown."""

    at: datetime
    fetch_id: cursors.RowId
    passed: Annotated[int, msgspec.Meta(ge=0, le=MAX_PASSED)]


class Found(NamedTuple):
    """A thing that was asked for. `nth`: its place among those that were asked for, from 1 on."""

    nth: int
    item: Item


@dataclass(frozen=True, slots=True)
class Asked:
    """A thing that somebody asks for, by its key or one of its names."""

    platform: Platform
    entity: Entity
    name: str
    reader: Reader = OPERATOR


async def find(
    transaction: Transaction, platform: Platform, entity: Entity, name: str, *, reader: Reader = OPERATOR
) -> Item | None:
    """The thing of that key, or of that name: the one that was observed last. One statement."""
    (item,) = await find_all(transaction, [Asked(platform, entity, name, reader)])
    return item


async def find_all(transaction: Transaction, asked: Sequence[Asked]) -> list[Item | None]:
    """For each the thing or `None`, in one statement for each kind of things among them."""
    found: list[Item | None] = [None] * len(asked)
    kinds: dict[tuple[str, Entity, Sees], list[int]] = {}
    for place, one in enumerate(asked):
        kinds.setdefault((one.platform.name, one.entity, one.reader.sees), []).append(place)
    for (platform, entity, sees), places in kinds.items():
        values = {
            "names": [asked[place].name for place in places],
            "bare": [bare_name(asked[place].name.removeprefix("@")) for place in places],
            "accounts": [asked[place].reader.account_id for place in places],
        }
        for row in await transaction.rows(_find(platform, entity, sees), values):
            found[places[row.nth - 1]] = row.item
    return found


async def items(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    listed: Listed,
    of: object,
    *,
    limit: int,
    cursor: str | None = None,
    reader: Reader = OPERATOR,
) -> Items:
    """A page of what belongs to `of`, a value of the field `listed.field`. One statement. Raises `BadInput`."""
    place = None if cursor is None else cursors.read(cursor, Place)
    if place is not None and place.newest is not None and entity.newest is None:
        raise BadInput("this cursor is of another list", field="cursor")
    undated = place is not None and place.newest is None
    sql = _list(platform.name, entity, listed.field, reader.sees, place is not None, undated)
    values = {"of": of, "limit": limit + 1, "account": reader.account_id}
    if place is not None:
        values |= {"newest": place.newest, "key": place.key}
    found = await transaction.rows(sql, values)
    page = found[:limit]
    after = None
    if len(found) > limit:
        last = page[-1].fields
        after = cursors.write(Place(last.get(entity.newest) if entity.newest else None, last[entity.key]))
    return Items(page, after)


async def history(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    subject: object,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: str | None = None,
    reader: Reader = OPERATOR,
) -> History:
    """A page of the observations of `subject`, from `since` until before `until`. One statement. Raises `BadInput`, `NotFound`."""
    if entity.log is None:
        raise NotFound(f"{entity.kind} have no history")
    moment = None if cursor is None else cursors.read(cursor, Moment)
    values: dict[str, Any] = {
        "platform": platform.name,
        "subject": subject,
        "account": reader.account_id,
        "limit": limit + 1,
    }
    conditions = [
        "l.platform = %(platform)s AND l.excluded_by IS NULL",
        f"l.{SUBJECTS[entity.log]} = %(subject)s",
        visible(reader.sees, "l", "%(account)s::text", "l.platform"),
    ]
    if since is not None:
        conditions.append("l.observed_at >= %(since)s")
        values["since"] = since
    if until is not None:
        conditions.append("l.observed_at < %(until)s")
        values["until"] = until
    if moment is not None:
        conditions.append("l.observed_at <= %(at)s AND (l.observed_at, l.fetch_id) <= (%(at)s, %(fetch)s)")
        values |= {"at": moment.at, "fetch": moment.fetch_id}
    # What one fetch observed of a subject was written at once and never changes, so counting within it is safe.
    text = f"""
        SELECT observed_at, fetch_id, source, request_id, dimensions, metrics, hidden
        FROM {logged(entity.log, f"{' AND '.join(conditions)} ORDER BY l.observed_at DESC, l.fetch_id DESC, l.dimensions, l.metrics LIMIT %(limit)s OFFSET {moment.passed if moment else 0}")} l
        ORDER BY observed_at DESC, fetch_id DESC, dimensions, metrics
        """  # noqa: S608 - put together from declarations
    rows = await transaction.rows(Composed("data/reading.history", text, Logged), values)
    page = rows[:limit]
    after = None
    if len(rows) > limit:
        last = page[-1]
        same = sum((row.observed_at, row.fetch_id) == (last.observed_at, last.fetch_id) for row in page)
        earlier = moment.passed if moment and (moment.at, moment.fetch_id) == (last.observed_at, last.fetch_id) else 0
        after = cursors.write(Moment(last.observed_at, last.fetch_id, same + earlier))
    snapshots = [
        Snapshot(
            as_of=row.observed_at,
            source=row.source,
            request_id=row.request_id,
            dimensions=row.dimensions,
            metrics=row.metrics,
            hidden=row.hidden or msgspec.UNSET,
        )
        for row in page
    ]
    return History(snapshots, after)


def split(entity: Entity, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Dimensions and metrics."""
    metrics = {name: value for name, value in fields.items() if name in entity.metrics}
    return {name: value for name, value in fields.items() if name not in metrics}, metrics


def lists_under(platform: Platform, kind: str) -> dict[str, tuple[Entity, Listed]]:
    """What is listed under the things of a kind, by the name of the list."""
    return {
        listed.name or entity.kind: (entity, listed)
        for entity in platform.entities
        for listed in entity.lists
        if listed.under == kind
    }


def value_of(parent: Entity, listed: Listed, fields: Mapping[str, object]) -> object | None:
    """By what the list's things point to this one; `None` where that is not known."""
    return fields.get(listed.theirs or parent.key)


@cache
def _find(platform: str, entity: Entity, sees: Sees) -> Statement[Found]:
    ways = [f"p.{entity.key} = asked.name", *(f"p.{name} IN (asked.name, asked.bare)" for name in entity.names)]
    mine = visible(sees, "p", "asked.account", f"'{platform}'")
    found = "\nUNION ALL ".join(
        f'SELECT p.*, {rank} AS rank FROM "{entity.table}" p WHERE {way} AND {mine}'  # noqa: S608 - declared
        for rank, way in enumerate(ways)
    )
    text = f"""
SELECT asked.nth, {columns_of(entity)}
FROM unnest(%(names)s::text[], %(bare)s::text[], %(accounts)s::text[]) WITH ORDINALITY asked (name, bare, account, nth)
CROSS JOIN LATERAL (SELECT * FROM ({found}) found ORDER BY rank, observed_at DESC LIMIT 1) p
{older_of(platform, entity, sees, "asked.account")}
"""  # noqa: S608 - declared
    item, columns = maker_of(entity)
    return Composed(
        "data/reading.find",
        text,
        Found,
        columns=("nth", *columns),
        make=lambda values: Found(cast(int, values[0]), item(values[1:])),
    )


@cache
def _list(platform: str, entity: Entity, field: str, sees: Sees, goes_on: bool, undated: bool) -> Statement[Item]:
    """In the order of an index on (field, newest DESC): what has no time comes first."""
    order = [f"p.{name} DESC" for name in (entity.newest, entity.key) if name]
    after = ""
    if goes_on and entity.newest is None:
        after = f" AND p.{entity.key} < %(key)s"
    elif goes_on and undated:
        after = f" AND (p.{entity.newest} IS NOT NULL OR p.{entity.key} < %(key)s)"
    elif goes_on:
        after = f" AND (p.{entity.newest}, p.{entity.key}) < (%(newest)s, %(key)s)"
    account = "%(account)s::text"
    # The reader sees one row of a thing, the newest: a newer one that the reader sees too takes this one's place.
    text = f"""
SELECT {columns_of(entity)} FROM "{entity.table}" p
{older_of(platform, entity, sees, account)}
WHERE p.{field} = %(of)s{after} AND {visible(sees, "p", account, f"'{platform}'")} AND NOT EXISTS (
    SELECT FROM "{entity.table}" n WHERE n.{entity.key} = p.{entity.key} AND {visible(sees, "n", account, f"'{platform}'")}
        AND (n.observed_at, n.account_id, n.owner) > (p.observed_at, p.account_id, p.owner))
ORDER BY {", ".join(order)} LIMIT %(limit)s
"""  # noqa: S608 - declared
    item, columns = maker_of(entity)
    return Composed("data/reading.list", text, Item, columns=columns, make=item)


def older_of(platform: str, entity: Entity, sees: Sees, account: str) -> str:
    """`q`: of the same thing, the row that the reader sees too and that was observed before `p`."""
    return f"""LEFT JOIN LATERAL (
    SELECT * FROM "{entity.table}" q WHERE q.{entity.key} = p.{entity.key} AND (q.account_id, q.owner) <> (p.account_id, p.owner)
        AND {visible(sees, "q", account, f"'{platform}'")} ORDER BY q.observed_at DESC LIMIT 1) q ON true"""  # noqa: S608 - declared


def columns_of(entity: Entity) -> str:
    own = [name for name in Observed._fields if name not in ("age", "score", "held")]
    columns = [f"{row}.{name} AS {row}_{name}" for row in ("p", "q") for name in (*column_types(entity), *own)]
    columns += [f"extract(epoch FROM clock_timestamp() - {row}.observed_at)::float8 AS {row}_age" for row in ("p", "q")]
    return ", ".join([*columns, *_judgement_of(entity)])


def _judgement_of(entity: Entity) -> tuple[str, str]:
    """The score, and what is held of the thing: looked up only where the row says that something is."""
    platform = platform_judging(entity)
    if platform is None:
        return "NULL::smallint AS score", "NULL::text AS held"
    held = f"""CASE WHEN p.held_since IS NOT NULL THEN (
        SELECT jsonb_build_object('fields', h.fields, 'rules', jsonb_path_query_array(h.reasons, '$[*].rule'), 'since', h.held_at, 'state', h.state,
            'next_at', h.next_at)::text
        FROM held_record h WHERE h.platform = '{platform}' AND h.kind = '{entity.kind}' AND h.key = p.{entity.key}::text
            AND (h.account_id, h.owner) = (p.account_id, p.owner) AND h.decided_at IS NULL) END AS held"""  # noqa: S608 - declared
    return "p.trust_score AS score", held


def maker_of(entity: Entity) -> tuple[Callable[[Sequence[object]], Item], tuple[str, ...]]:
    """What makes an item of the values of `columns_of`, and their names."""
    names = tuple(column_types(entity))
    own = [name for name in Observed._fields if name not in ("age", "score", "held")]
    columns = [f"{row}_{name}" for row in ("p", "q") for name in (*names, *own)] + ["p_age", "q_age", "score", "held"]
    width, last = len(names), len(names) + len(own)

    def row(values: Sequence[Any], age: Any, score: Any = None, held: Any = None) -> tuple[Sequence[Any], Observed]:
        return values[:width], Observed._make([*values[width:], age, score, held])

    def item(values: Sequence[object]) -> Item:
        before = row(values[last : 2 * last], values[-3]) if values[-3] is not None else None
        return combined(names, row(values[:last], values[-4], values[-2], values[-1]), before)

    return item, tuple(columns)
