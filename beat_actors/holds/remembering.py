"""What is remembered of the things that a batch has observed: one statement for each kind of things, whatever their number.

The statements are made of a platform's declarations, once for each entity.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

import msgspec

from beat_actors.database import Composed, Statement, Transaction, jsonb
from beat_actors.holds.gates import Judge
from beat_actors.platforms.interface import Entity
from beat_actors.trust.memory import NOTHING, Memory, decode


class Remembered(NamedTuple):
    """Of one thing for one account and owner. `i`: its place among those that were asked about. `trust`: the memory, packed; where there is none
    yet, `known` is the row that there is. `held`: the record that is held of it. `known_key`: the thing that has the handle that was asked for."""

    i: int
    trust: bytes | None
    known: str | None
    observed_at: datetime | None
    held: int | None
    known_key: str | None

    def memory(self, judge: Judge) -> Memory:
        """Where the row is older than the gate, its values are the first that are known."""
        if self.trust is not None:
            return decode(self.trust)
        if self.known is None or self.observed_at is None:
            return NOTHING
        try:
            (row,) = judge.facts(f"[{self.known}]".encode())
        except msgspec.ValidationError:
            return NOTHING
        return judge.gate.learn(NOTHING, row, judge.gate.accepted, at=self.observed_at.timestamp())


class Mark(NamedTuple):
    """What the row of a thing says from now on: since when a record of it is held (epoch seconds, `None`: none is), and the memory (packed)."""

    key: str
    account_id: str
    owner: str
    held_since: float | None
    trust: str | None


async def mark(transaction: Transaction, entity: Entity, marks: Sequence[Mark]) -> None:
    """Mark these things. One that has no row, since all that was told of it is held, has no mark either."""
    await transaction.run(_mark(entity), {"marks": jsonb([one._asdict() for one in marks])})


def asked(
    platform: str, entity: Entity, things: Sequence[tuple[str, str, str]], handles: Sequence[str | None]
) -> Mapping[str, object]:
    """The parameters of `remember`. `things`: (key, account, owner); `handles`: by which each was asked for. They go as JSON, since psycopg takes
    several times as long to write an array. A column in which all are empty is left empty: the others fill it up."""
    keys, accounts, owners = zip(*things, strict=True)
    return {
        "platform": platform,
        "kind": entity.kind,
        "keys": jsonb(keys),
        "accounts": _unless_empty(accounts),
        "owners": _unless_empty(owners),
        "handles": _unless_empty(handles),
    }


def _unless_empty(column: Sequence[str | None]) -> str:
    return jsonb(column) if any(column) else "[]"


@cache
def remember(entity: Entity, judge: Judge) -> Statement[Remembered]:
    """Reads what is remembered of things, and locks nothing: of two observations that are judged at the same time, both are compared with the last one
    before them. Parameters: those of `asked`. Records that are held are looked for only where any of the kind is."""
    rules = judge.rules
    named = {rules.key, *(one.name for one in rules.numbers if one.is_remembered), *rules.face}
    named |= {name for name in (rules.handle, rules.verified) if name}
    named |= {field.name for field in msgspec.structs.fields(rules.record) if field.required}
    known = ", ".join(f"'{name}', t.{name}" for name in sorted(named))
    handle, moved = "NULL::text", ""
    if rules.handle:
        # Of several that have had the handle, the one that was seen with it last. Nothing is searched where the thing itself has it, as nearly all have.
        handle = f"k.{rules.key}"
        moved = f"""
LEFT JOIN LATERAL (
    SELECT k.{rules.key} FROM "{entity.table}" k WHERE t.{rules.handle} IS DISTINCT FROM n.handle
        AND k.{rules.handle} = n.handle AND k.account_id = coalesce(n.account_id, '') AND k.owner = coalesce(n.owner, '')
    ORDER BY k.observed_at DESC LIMIT 1) k ON true"""  # noqa: S608 - declared
    text = f"""
SELECT n.i::integer AS i, t.trust, CASE WHEN t.trust IS NULL AND t.{rules.key} IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object({known}))::text END AS known,
    t.observed_at, h.id AS held, {handle} AS known_key
FROM ROWS FROM (json_array_elements_text(%(keys)s::json), json_array_elements_text(%(accounts)s::json), json_array_elements_text(%(owners)s::json),
    json_array_elements_text(%(handles)s::json)) WITH ORDINALITY AS n(key, account_id, owner, handle, i)
LEFT JOIN "{entity.table}" t ON (t.{rules.key}, t.account_id, t.owner) = (n.key, coalesce(n.account_id, ''), coalesce(n.owner, ''))
LEFT JOIN LATERAL (
    SELECT h.id FROM held_record h WHERE h.platform = %(platform)s AND h.kind = %(kind)s AND h.decided_at IS NULL
        AND (h.key, h.account_id, h.owner) = (n.key, coalesce(n.account_id, ''), coalesce(n.owner, ''))
        AND EXISTS (SELECT FROM held_record o WHERE o.platform = %(platform)s AND o.kind = %(kind)s AND o.decided_at IS NULL)) h ON true{moved}
"""  # noqa: S608 - declared
    return Composed("holds/remembering.remember", text, Remembered)


@cache
def _mark(entity: Entity) -> Statement[None]:
    """Locks the rows in the order of their keys, as `write_records` does."""
    text = f"""
WITH n AS (
    SELECT * FROM jsonb_to_recordset(%(marks)s::jsonb) AS n(key text, account_id text, owner text, held_since double precision, trust text)
), locked AS (
    SELECT t.{entity.key}, t.account_id, t.owner, n.held_since, n.trust FROM n
    JOIN "{entity.table}" t ON (t.{entity.key}, t.account_id, t.owner) = (n.key, n.account_id, n.owner)
    ORDER BY t.{entity.key}, t.account_id, t.owner FOR NO KEY UPDATE OF t
)
UPDATE "{entity.table}" t SET held_since = to_timestamp(l.held_since), trust = coalesce(decode(l.trust, 'base64'), t.trust)
FROM locked l WHERE (t.{entity.key}, t.account_id, t.owner) = (l.{entity.key}, l.account_id, l.owner)
"""  # noqa: S608 - declared
    return Composed("holds/remembering.mark", text)
