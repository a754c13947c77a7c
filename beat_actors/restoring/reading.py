"""Reads the logs of entities, and folds them: from the newest days back, as far as is needed to know the fields that are asked for."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Composed, Statement, Statements, Transaction, arrays
from beat_actors.restoring.fold import Base, Folded, Observation, Value, fold, newest_first
from beat_actors.restoring.selection import Target

WEEK = timedelta(days=7)
WIDER = 4
"""By how much each step back is longer than the one before."""


class Key(NamedTuple):
    """The row of an entity: for an account and an owner."""

    key: str
    account_id: str
    owner: str


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row of a log. `metrics` and `dimensions` are JSON texts."""

    key: str
    account_id: str
    owner: str
    observed_at: datetime
    fetch_id: int
    source: str
    parser_version: int
    request_id: int
    metrics: str
    dimensions: str
    dimensions_at: datetime | None
    dimensions_fetch: int | None
    bad: bool

    @property
    def of(self) -> Key:
        return Key(self.key, self.account_id, self.owner)

    @property
    def whole(self) -> bool:
        """Whether it has its dimensions itself."""
        at = self.dimensions_at
        return at is None or (at == self.observed_at and self.dimensions_fetch == self.fetch_id)


class Dimensions(NamedTuple):
    """The dimensions that the observation `nth` refers to."""

    nth: int
    dimensions: str


class BaseRow(NamedTuple):
    """A row of `entity_base`; `fields` is a JSON text."""

    key: str
    account_id: str
    owner: str
    fields: str
    known_at: datetime
    source: str
    parser_version: int
    request_id: int


EXCLUDED = "l.excluded_by IS NOT NULL"


class Choice(NamedTuple):
    """Rows that are left out of the fold: an SQL condition over `l`, and its parameters. `excluded`: the condition under which rows were excluded before."""

    condition: str
    values: Mapping[str, Any]
    excluded: str = EXCLUDED


class Kept(msgspec.Struct, frozen=True):
    """A field in `entity_base`."""

    value: msgspec.Raw
    at: datetime


NOTHING = Choice("false", {})
SQL = Statements(__file__)
BASES = SQL("bases", BaseRow)
_KEPT = msgspec.json.Decoder(dict[str, Kept])


@cache
def _rows(log: str, subject: str, begins: bool, ends: bool, bad: str) -> Statement[Row]:
    """The observations of entities, one look into the index of each day for all of them."""
    bounds = (" AND l.observed_at >= %(begins)s" if begins else "") + (" AND l.observed_at < %(ends)s" if ends else "")
    text = f"""
SELECT l.{subject} AS key, l.account_id, l.owner, l.observed_at, l.fetch_id, l.source, l.parser_version, l.request_id, l.metrics::text AS metrics,
    l.dimensions::text AS dimensions, l.dimensions_at, l.dimensions_fetch, coalesce(({bad}), false) AS bad
FROM {log} l WHERE l.platform = %(platform)s AND l.{subject} = ANY(%(keys)s){bounds}"""  # noqa: S608 - names of Beat
    return Composed("restoring/reading.rows", text, Row)


@cache
def _referred(log: str, subject: str) -> Statement[Dimensions]:
    """The dimensions that observations refer to and that lie in days that were not read."""
    text = f"""
SELECT n.nth::integer AS nth, w.dimensions::text AS dimensions
FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[], %(times)s::timestamptz[], %(fetches)s::bigint[])
    WITH ORDINALITY n (key, account_id, owner, at, fetch_id, nth)
CROSS JOIN LATERAL (SELECT w.dimensions FROM {log} w WHERE w.platform = %(platform)s AND w.{subject} = n.key AND w.account_id = n.account_id
    AND w.owner = n.owner AND w.observed_at = n.at AND w.fetch_id = n.fetch_id
    AND w.dimensions_at = w.observed_at AND w.dimensions_fetch = w.fetch_id LIMIT 1) w"""  # noqa: S608 - names of Beat
    return Composed("restoring/reading.referred", text, Dimensions)


async def observations(
    transaction: Transaction,
    target: Target,
    keys: Collection[Key],
    *,
    begins: datetime | None,
    ends: datetime | None,
    choice: Choice = NOTHING,
    floor: datetime | None = None,
) -> dict[Key, list[Observation]]:
    """The observations of these entities from `begins` until before `ends`, in no order. `floor`: no older row has dimensions."""
    wanted = set(keys)
    values = {
        **choice.values,
        "platform": target.platform,
        "keys": sorted({key.key for key in wanted}),
        "begins": begins,
        "ends": ends,
    }
    statement = _rows(
        target.log, target.subject, begins is not None, ends is not None, f"({choice.excluded}) OR ({choice.condition})"
    )
    every = [(row.of, row) for row in await transaction.rows(statement, values, binary=True)]
    rows = [(key, row) for key, row in every if key in wanted]
    told = {(key, row.observed_at, row.fetch_id): row.dimensions for key, row in rows if row.whole}
    outside = sorted(
        {
            (*key, row.dimensions_at, row.dimensions_fetch)
            for key, row in rows
            if not row.whole
            and (floor is None or (row.dimensions_at is not None and row.dimensions_at >= floor))
            and (key, row.dimensions_at, row.dimensions_fetch) not in told
        }
    )
    if outside:
        asked = arrays(outside, "keys", "accounts", "owners", "times", "fetches")
        for one in await transaction.rows(
            _referred(target.log, target.subject), {**asked, "platform": target.platform}
        ):
            *of, at, fetch = outside[one.nth - 1]
            assert at is not None
            assert fetch is not None
            told[Key(*of), at, fetch] = one.dimensions
    found: defaultdict[Key, list[Observation]] = defaultdict(list)
    for key, row in rows:
        dimensions = row.dimensions
        if not row.whole:
            assert row.dimensions_at is not None
            assert row.dimensions_fetch is not None
            # Unknown where the row that has them has left the log.
            dimensions = told.get((key, row.dimensions_at, row.dimensions_fetch), "{}")
        found[key].append(
            Observation(
                row.observed_at,
                row.fetch_id,
                row.source,
                row.parser_version,
                row.request_id,
                row.metrics,
                dimensions,
                bad=row.bad,
                is_state=row.dimensions_at is not None,
            )
        )
    return found


async def folds(
    transaction: Transaction,
    target: Target,
    names: Mapping[Key, Collection[str] | None],
    *,
    begins: datetime,
    ends: datetime | None = None,
    floor: datetime | None = None,
    choice: Choice = NOTHING,
) -> dict[Key, Folded]:
    """The fold of each of these entities, of all that is before `ends`. `names`: the fields that have to be known of each; None: those that bad
    observations tell. `begins`: no bad observation is older. `floor`: what is older is taken for gone from the log.

    Reads from a week before `begins` on; for entities of which not all fields are known then, further back. Fields that are not asked for may be
    missing from the result.
    """
    read: defaultdict[Key, list[Observation]] = defaultdict(list)
    found: dict[Key, Folded] = {}
    left = set(names)
    span, since, until = WEEK, begins - WEEK, ends
    oldest = begins - timedelta(days=transaction.settings.log_days + 2)
    while left:
        first = since if since > oldest else None
        if floor is not None and (first is None or first <= floor):
            first = floor
        some_rows = await observations(transaction, target, left, begins=first, ends=until, choice=choice, floor=floor)
        for key, some in some_rows.items():
            read[key] += some
        for key in tuple(left):
            if key in some_rows or key not in found:
                found[key] = fold(newest_first(read[key]))
            folded = found[key]
            wanted = names[key]
            if folded.newest is not None and not folded.lacks(folded.affected if wanted is None else wanted):
                left.discard(key)
        if first is None or first == floor:
            break
        span, until = span * WIDER, since
        since -= span
    for key, base in (await bases(transaction, target, left if floor is None else ())).items():
        found[key] = fold(newest_first(read[key]), base)
    return found


async def bases(transaction: Transaction, target: Target, keys: Iterable[Key]) -> dict[Key, Base]:
    """What `entity_base` has of these entities."""
    wanted = arrays(sorted(keys), "keys", "accounts", "owners")
    if not wanted["keys"]:
        return {}
    rows = await transaction.rows(BASES, {**wanted, "entity": target.entity.table})
    return {Key(row.key, row.account_id, row.owner): base_of(row) for row in rows}


def base_of(row: BaseRow) -> Base:
    fields = {name: Value(bytes(one.value), one.at, one.at) for name, one in _KEPT.decode(row.fields).items()}
    return Base(fields, row.known_at, row.source, row.parser_version, row.request_id)


def names_in(rows: Sequence[Key]) -> dict[str, list[object]]:
    """Keys as parameters."""
    return arrays(rows, "keys", "accounts", "owners")
