"""Entities as they were at a time: as Beat knew them then, or as is known by now of that time.

Both are folds of the log. What Beat knew at a time has the observations that were written by then, also such as were excluded later. What is known by
now of a time has the observations that were made by then, whenever they were written, without those that are excluded now.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec

from beat_actors.access.reader import Reader, Sees, visible
from beat_actors.data.items import Item
from beat_actors.database import Composed, Statement, Transaction
from beat_actors.errors import BadInput
from beat_actors.pipeline.entities import column_types
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.restoring.fold import NULL, Folded
from beat_actors.restoring.reading import NOTHING, Choice, Key, folds
from beat_actors.restoring.selection import Target

MOST = 200
"""Entities of one page."""
LATER = "coalesce(l.written_at, l.observed_at) > %(then)s"
"""What was written after a time."""
EXCLUDED_THEN = "l.excluded_by IS NOT NULL AND coalesce((SELECT j.created_at FROM restore_job j WHERE j.id = l.excluded_by), '-infinity') <= %(then)s"


class Seen(NamedTuple):
    """A row that the reader sees, and which of its fields are known now."""

    key: str
    account_id: str
    owner: str
    known: list[str]


class Moment(NamedTuple):
    """`at`: the time. `known_now`: what is known of it by now, not what was known then."""

    at: datetime
    known_now: bool = False


async def as_of(
    transaction: Transaction, platform: Platform, entity: Entity, keys: Sequence[str], moment: Moment, reader: Reader
) -> dict[str, Item]:
    """The entities of these keys at a time, at most `MOST`; those that were not observed by then are left out. Fields that are not logged, such as
    signed URLs, are missing. Raises `BadInput` for entities without a log of their own."""
    if entity.log is None or entity.subject is not None:
        raise BadInput(f"{entity.kind} have no log by which they are known at an earlier time", field="as_of")
    target = Target(platform.name, entity)
    values = {"keys": list(keys[:MOST]), "account": reader.account_id}
    seen = await transaction.rows(_seen(target, reader.sees), values)
    names = {Key(*row[:3]): row.known for row in seen}
    folded = await folds(
        transaction,
        target,
        names,
        begins=moment.at,
        ends=moment.at + timedelta(microseconds=1),
        choice=NOTHING if moment.known_now else Choice(LATER, {"then": moment.at}, EXCLUDED_THEN),
    )
    rows: dict[str, list[Folded]] = {}
    for key, one in folded.items():
        if one.newest is not None:
            rows.setdefault(key.key, []).append(one)
    return {key: _item(entity, key, some, moment.at) for key, some in rows.items()}


def _item(entity: Entity, key: str, rows: Sequence[Folded], at: datetime) -> Item:
    """The row that was observed last; a field that is unknown in it is taken from the one before."""
    order = sorted(rows, key=_observed_at, reverse=True)
    fields: dict[str, Any] = {entity.key: key}
    for name, kind in column_types(entity).items():
        for row in order:
            value = row.fields.get(name)
            if value is not None and value.value != NULL:
                fields[name] = _value(kind, value.value)
                break
    newest = order[0].newest
    assert newest is not None
    changed = max((value.since for value in order[0].fields.values()), default=newest.observed_at)
    return Item(
        fields=fields,
        as_of=newest.observed_at,
        changed_at=changed,
        source=newest.source,
        age=max((at - newest.observed_at).total_seconds(), 0.0),
    )


def _observed_at(row: Folded) -> datetime:
    assert row.newest is not None
    return row.newest.observed_at


def _value(kind: str, value: bytes) -> object:
    return msgspec.json.decode(value, type=datetime) if kind == "timestamptz" else msgspec.json.decode(value)


@cache
def _seen(target: Target, sees: Sees) -> Statement[Seen]:
    """The rows of entities that a reader sees, one look into the index for each entity."""
    entity = target.entity
    names = ", ".join(
        f"CASE WHEN t.{name} IS NOT NULL THEN '{name}' END"
        for name in column_types(entity)
        if name not in entity.volatile | {entity.key}
    )
    text = f"""
SELECT t.{entity.key} AS key, t.account_id, t.owner, array_remove(ARRAY[{names}], NULL) AS known FROM "{entity.table}" t
WHERE t.{entity.key} = ANY(%(keys)s) AND {visible(sees, "t", "%(account)s::text", f"'{target.platform}'")}"""  # noqa: S608 - declared
    return Composed("restoring/as_of.seen", text, Seen)
