"""Reading things, lists of them and their history. The SQL is made from a platform's declarations, once for each.

A key of one account sees what a request of that account brought: a profile is public, but that somebody asked for it is not, and
insights are not even public. What is logged is looked for in the log; of the rest `account_seen` knows whose requests brought it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from beat_actors.data import cursors
from beat_actors.database import Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.pipeline.entities import SUBJECTS, column_types
from beat_actors.platforms.interface import Entity, Listed, Platform

MAX_PAGE = 1000
OBSERVED = ("source", "observed_at", "changed_at")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: dimensions and metrics, those that are known. `as_of` is when it was observed last; `changed_at` since when it is so,
    `None` where it has not changed since that is kept. `age`: seconds since `as_of`."""

    fields: Mapping[str, Any]
    as_of: datetime
    changed_at: datetime | None
    source: str
    age: float


class Items(msgspec.Struct, frozen=True):
    """A page of things, newest first; `next_cursor` is `None` on the last one."""

    items: Sequence[Item]
    next_cursor: str | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One observation, as it was made."""

    as_of: datetime
    source: str
    request_id: int | None
    dimensions: dict[str, Any]
    metrics: dict[str, Any]


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
    fetch_id: int
    passed: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A thing that somebody asks for, by its key or one of its names."""

    platform: Platform
    entity: Entity
    name: str
    account_id: str | None = None


async def find(
    transaction: Transaction, platform: Platform, entity: Entity, name: str, *, account_id: str | None = None
) -> Item | None:
    """The thing of that key, or of that name: the one that was observed last. One statement."""
    (item,) = await find_all(transaction, [Asked(platform, entity, name, account_id)])
    return item


async def find_all(transaction: Transaction, asked: Sequence[Asked]) -> list[Item | None]:
    """For each the thing or `None`, in one statement for each kind of things among them."""
    found: list[Item | None] = [None] * len(asked)
    kinds: dict[tuple[str, Entity, bool], list[int]] = {}
    for place, one in enumerate(asked):
        kinds.setdefault((one.platform.name, one.entity, one.account_id is not None), []).append(place)
    for (platform, entity, of_account), places in kinds.items():
        values = {
            "names": [asked[place].name for place in places],
            "bare": [asked[place].name.removeprefix("@").lower() for place in places],
        }
        if of_account:
            values["accounts"] = [str(asked[place].account_id) for place in places]
        for row in await transaction.rows(_find(platform, entity, of_account), values):
            found[places[row.nth - 1]] = _item(entity, row)
    return found


async def items(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    listed: Listed,
    of: Any,
    *,
    limit: int,
    cursor: str | None = None,
    account_id: str | None = None,
) -> Items:
    """A page of what belongs to `of`, a value of the field `listed.field`. One statement. Raises `BadInput`."""
    place = None if cursor is None else cursors.read(cursor, Place)
    if place is not None and place.newest is not None and entity.newest is None:
        raise BadInput("this cursor is of another list", field="cursor")
    undated = place is not None and place.newest is None
    sql = _list(platform.name, entity, listed.field, account_id is not None, place is not None, undated)
    values = {"of": of, "limit": limit + 1, "account": account_id}
    if place is not None:
        values |= {"newest": place.newest, "key": place.key}
    found = [_item(entity, row) for row in await transaction.rows(sql, values)]
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
    subject: Any,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: str | None = None,
    account_id: str | None = None,
) -> History:
    """A page of the observations of `subject`, from `since` until before `until`. One statement. Raises `BadInput`, `NotFound`."""
    if entity.log is None:
        raise NotFound(f"of {entity.kind} no history is kept, only what they are now")
    moment = None if cursor is None else cursors.read(cursor, Moment)
    values: dict[str, Any] = {"platform": platform.name, "subject": subject, "account": account_id, "limit": limit + 1}
    conditions = []
    if since is not None:
        conditions.append("l.observed_at >= %(since)s")
        values["since"] = since
    if until is not None:
        conditions.append("l.observed_at < %(until)s")
        values["until"] = until
    if moment is not None:
        conditions.append("l.observed_at <= %(at)s AND (l.observed_at, l.fetch_id) <= (%(at)s, %(fetch)s)")
        values |= {"at": moment.at, "fetch": moment.fetch_id}
    if account_id is not None:
        conditions.append(
            "EXISTS (SELECT FROM scrape_request_log r WHERE r.id = l.request_id AND r.account_id = %(account)s)"
        )
    # What one fetch observed of a subject was written at once and never changes, so counting within it is safe.
    rows = await transaction.rows(
        f"""
        SELECT l.observed_at, l.fetch_id, l.source, l.request_id, l.dimensions, l.metrics FROM {entity.log} l
        WHERE {" AND ".join(["l.platform = %(platform)s", f"l.{SUBJECTS[entity.log]} = %(subject)s", *conditions])}
        ORDER BY l.observed_at DESC, l.fetch_id DESC, l.dimensions, l.metrics LIMIT %(limit)s OFFSET {moment.passed if moment else 0}
        """,  # noqa: S608 - put together from declarations
        values,
    )
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


def value_of(parent: Entity, listed: Listed, fields: Mapping[str, Any]) -> Any:
    """By what the list's things point to this one; `None` where that is not known."""
    return fields.get(listed.theirs or parent.key)


@cache
def _find(platform: str, entity: Entity, of_account: bool) -> str:
    columns, visible = _columns(entity), _visible(platform, entity, "asked.account") if of_account else ""
    ways = [f"{entity.key} = asked.name", *(f"{name} IN (asked.name, asked.bare)" for name in entity.names)]
    found = "\nUNION ALL ".join(
        f'SELECT {columns}, {rank} AS rank FROM "{entity.table}" p WHERE {way}{visible}'  # noqa: S608 - declared
        for rank, way in enumerate(ways)
    )
    accounts, account = (", %(accounts)s::text[]", ", account") if of_account else ("", "")
    return f"""
SELECT asked.nth, found.*, extract(epoch FROM clock_timestamp() - found.observed_at)::float8 AS age
FROM unnest(%(names)s::text[], %(bare)s::text[]{accounts}) WITH ORDINALITY asked (name, bare{account}, nth)
CROSS JOIN LATERAL (SELECT * FROM ({found}) found ORDER BY rank, observed_at DESC LIMIT 1) found
"""  # noqa: S608 - declared


@cache
def _list(platform: str, entity: Entity, field: str, of_account: bool, goes_on: bool, undated: bool) -> str:
    """In the order in which an index on (field, newest DESC) lies: what has no time comes first."""
    order = [f"{name} DESC" for name in (entity.newest, entity.key) if name]
    visible = _visible(platform, entity, "%(account)s") if of_account else ""
    after = ""
    if goes_on and entity.newest is None:
        after = f" AND {entity.key} < %(key)s"
    elif goes_on and undated:
        after = f" AND ({entity.newest} IS NOT NULL OR {entity.key} < %(key)s)"
    elif goes_on:
        after = f" AND ({entity.newest}, {entity.key}) < (%(newest)s, %(key)s)"
    return f"""
SELECT {_columns(entity)}, extract(epoch FROM clock_timestamp() - observed_at)::float8 AS age FROM "{entity.table}" p
WHERE {field} = %(of)s{after}{visible} ORDER BY {", ".join(order)} LIMIT %(limit)s
"""  # noqa: S608 - declared


def _columns(entity: Entity) -> str:
    return ", ".join([*column_types(entity), *OBSERVED])


def _visible(platform: str, entity: Entity, account: str) -> str:
    if entity.log is None:
        # The request that brought it last is asked too: what it brought may be older than `account_seen`.
        return f""" AND (EXISTS (
    SELECT FROM account_seen s WHERE s.account_id = {account} AND s.platform = '{platform}' AND s.kind = '{entity.kind}' AND s.key = p.{entity.key})
    OR EXISTS (SELECT FROM scrape_request_log r WHERE r.id = p.request_id AND r.account_id = {account}))"""  # noqa: S608 - declared
    return f""" AND EXISTS (
    SELECT FROM {entity.log} l JOIN scrape_request_log r ON r.id = l.request_id
    WHERE l.platform = '{platform}' AND l.{SUBJECTS[entity.log]} = p.{entity.subject or entity.key} AND r.account_id = {account})"""


def _item(entity: Entity, row: Any) -> Item:
    fields = {name: value for name in column_types(entity) if (value := getattr(row, name)) is not None}
    return Item(
        fields=fields, as_of=row.observed_at, changed_at=row.changed_at, source=row.source, age=max(row.age, 0.0)
    )
