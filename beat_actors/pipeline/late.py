"""Observations that are older than the state of their thing: what no newer one tells is added to it.

They come where a payload waited or is replayed, and where two answers of one batch are about the same thing. `entities` has locked the rows and logged
the observations.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Composed, Statement, Statements, Transaction, arrays, jsonb
from beat_actors.pipeline.entities import STATE, Returned, column_types
from beat_actors.pipeline.folding import Added, Observation, add
from beat_actors.platforms.interface import Entity

Key = tuple[str, str, str]
"""A thing's key, account and owner."""


class State(NamedTuple):
    """The row of a thing."""

    key: str
    account_id: str
    owner: str
    row: dict[str, Any]


SQL = Statements(__file__)
TELL = SQL("tell")
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


async def add_late(
    transaction: Transaction,
    platform: str,
    entity: Entity,
    late: Sequence[Returned],
    given: Mapping[str, Sequence[Any]],
) -> None:
    """Add what late observations tell. `given`: the arrays that were written."""
    seen: defaultdict[Key, list[Observation]] = defaultdict(list)
    # By the place and not by the fetch: what was held of an answer and is accepted later is an entry of its own.
    records = {place: _decode(given["records"][place - 1]) for place in {one.place for one in late}}
    for one in late:
        record = records[one.place][one.nth - 1]
        seen[one.entity_key, one.account_id, one.owner].append(_observation(one, record, given, one.place - 1))
    names = arrays(sorted(seen), "keys", "accounts", "owners")
    added: dict[Key, Added] = {}
    for key, account_id, owner, row in await transaction.rows(_states(entity), names):
        found = add(entity, row, seen[key, account_id, owner])
        if found is not None:
            added[key, account_id, owner] = found
    if not added:
        return
    rows = [(*key, jsonb(found.values), bool(found.changed)) for key, found in sorted(added.items())]
    await transaction.run(_patch(entity), arrays(rows, "keys", "accounts", "owners", "patches", "changed"))
    told = [
        (*key, one.request, one.fetch, one.at, one.hold)
        for key, found in sorted(added.items())
        for one in found.changed
    ]
    if told:
        values = arrays(told, "keys", "accounts", "owners", "requests", "fetches", "observed", "holds")
        await transaction.run(TELL, {"platform": platform, "kind": entity.kind, **values})


def _observation(
    one: Returned, record: Mapping[str, Any], given: Mapping[str, Sequence[Any]], place: int
) -> Observation:
    return Observation(
        at=one.observed_at,
        fetch=given["fetches"][place],
        nth=one.nth,
        source=given["sources"][place],
        request=given["requests"][place],
        parser=given["versions"][place],
        build=given["builds"][place],
        hold=given["holds"][place] if "holds" in given else None,
        fields=record,
        empty=frozenset(record.get("empty", ())),
        hidden=frozenset(record.get("hidden", ())),
    )


@cache
def _states(entity: Entity) -> Statement[State]:
    """The rows of things, which this transaction has locked. One look into the primary key for each."""
    text = f"""
SELECT n.key, n.account_id, n.owner, to_jsonb(t) AS row FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[]) n (key, account_id, owner)
JOIN "{entity.table}" t ON (t.{entity.key}, t.account_id, t.owner) = (n.key, n.account_id, n.owner)
"""  # noqa: S608 - declared
    return Composed("pipeline/late.states", text, State)


@cache
def _patch(entity: Entity) -> Statement[None]:
    columns = ", ".join([*(name for name in column_types(entity) if name != entity.key), *STATE])
    text = f"""
UPDATE "{entity.table}" t SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(t, n.patch)),
    changed_at = CASE WHEN n.changed THEN t.observed_at ELSE t.changed_at END
FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[], %(patches)s::jsonb[], %(changed)s::boolean[])
    n (key, account_id, owner, patch, changed)
WHERE (t.{entity.key}, t.account_id, t.owner) = (n.key, n.account_id, n.owner)
"""  # noqa: S608 - declared
    return Composed("pipeline/late.patch", text)
