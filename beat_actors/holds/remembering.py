"""What is remembered of the things that a batch has observed: one statement for each kind of things, whatever their number.

The statements are made of a platform's declarations, once for each entity.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

import msgspec

from beat_actors.database import Composed, Statement, Transaction, jsonb
from beat_actors.holds.gates import Judge
from beat_actors.platforms.interface import Entity, EntityRules
from beat_actors.trust.memory import NOTHING, Memory, decode


class Remembered(NamedTuple):
    """Of one thing. `of`: its place among those that were asked about; where all are of one account and owner, its key, and then what is known of it may
    come in several rows. `trust`: the memory, packed; where there is none yet, `known` is the row that there is. `observed_at`: of the thing's row;
    where its key was asked for and it has a memory, only if it is later than the first answer of those that are to be judged.
    `held`: the record that is held of it. `known_key`: the thing that has the handle that was asked for."""

    of: int | str
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
SELECT n.i::integer AS of, t.trust, {_known(rules)} AS known, t.observed_at, h.id AS held, {handle} AS known_key
FROM ROWS FROM (json_array_elements_text(%(keys)s::json), json_array_elements_text(%(accounts)s::json), json_array_elements_text(%(owners)s::json),
    json_array_elements_text(%(handles)s::json)) WITH ORDINALITY AS n(key, account_id, owner, handle, i)
LEFT JOIN "{entity.table}" t ON (t.{rules.key}, t.account_id, t.owner) = (n.key, coalesce(n.account_id, ''), coalesce(n.owner, ''))
LEFT JOIN LATERAL (
    SELECT h.id FROM held_record h WHERE h.platform = %(platform)s AND h.kind = %(kind)s AND h.decided_at IS NULL
        AND (h.key, h.account_id, h.owner) = (n.key, coalesce(n.account_id, ''), coalesce(n.owner, ''))
        AND EXISTS (SELECT FROM held_record o WHERE o.platform = %(platform)s AND o.kind = %(kind)s AND o.decided_at IS NULL)) h ON true{moved}
"""  # noqa: S608 - declared
    return Composed("holds/remembering.remember", text, Remembered)


def are_alike(things: Iterable[tuple[str, str, str]]) -> bool:
    """Whether all of them are of one account and owner."""
    return len({thing[1:] for thing in things}) == 1


def asked_alike(
    platform: str,
    entity: Entity,
    things: Sequence[tuple[str, str, str]],
    handles: Sequence[str | None],
    first: datetime,
) -> Mapping[str, object]:
    """The parameters of `remember_alike`. `things`: of one account and owner, each once; `handles` as in `asked`; `first`: when the first of the
    answers came that are to be judged."""
    _, account, owner = things[0]
    return {
        "platform": platform,
        "kind": entity.kind,
        "keys": _array([key for key, _, _ in things]),
        "account": account,
        "owner": owner,
        "handles": _array(handles) if any(handles) else "{}",
        "first": first,
    }


def _array(texts: Sequence[str | None]) -> str:
    """An array as PostgreSQL reads it. Written here, it costs a tenth of what it costs psycopg."""
    quoted = ["NULL" if text is None else f'"{text}"' for text in texts]
    if any(text and ("\\" in text or '"' in text) for text in texts):
        escaped = (text and text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
        quoted = ["NULL" if text is None else f'"{text}"' for text in escaped]
    return f"{{{','.join(quoted)}}}"


@cache
def remember_alike(entity: Entity, judge: Judge) -> Statement[Remembered]:
    """As `remember`, of things of one account and owner. PostgreSQL looks for all of them in one pass over the index, which costs it two thirds of as
    many single looks. A thing has no row, one, or one for each of: what is remembered, what is held, and who has its handle.

    Parameters: those of `asked_alike`."""
    rules = judge.rules
    keys = "ANY (%(keys)s::text[])"
    ours = "{0}.account_id = %(account)s AND {0}.owner = %(owner)s"
    text = f"""
SELECT t.{rules.key} AS of, t.trust, {_known(rules)} AS known,
    CASE WHEN t.trust IS NULL OR t.observed_at > %(first)s THEN t.observed_at END AS observed_at, NULL::bigint AS held, NULL::text AS known_key
FROM "{entity.table}" t WHERE t.{rules.key} = {keys} AND {ours.format("t")}
UNION ALL SELECT h.key, NULL, NULL, NULL, h.id, NULL FROM held_record h
WHERE h.platform = %(platform)s AND h.kind = %(kind)s AND h.decided_at IS NULL AND h.key = {keys} AND {ours.format("h")}
"""  # noqa: S608 - declared
    if rules.handle:
        # Who was seen with a handle last is looked up for each. Whether the thing itself has it is asked only where that is another one.
        text += f"""UNION ALL SELECT n.key, NULL, NULL, NULL, NULL, k.{rules.key}
FROM unnest(%(keys)s::text[], %(handles)s::text[]) AS n(key, handle)
CROSS JOIN LATERAL (
    SELECT k.{rules.key} FROM "{entity.table}" k WHERE k.{rules.handle} = n.handle AND {ours.format("k")}
    ORDER BY k.observed_at DESC LIMIT 1) k
WHERE k.{rules.key} <> n.key AND (
    SELECT count(*) FROM "{entity.table}" t WHERE t.{rules.key} = n.key AND {ours.format("t")} AND t.{rules.handle} = n.handle) = 0
"""  # noqa: S608 - declared
    return Composed("holds/remembering.remember_alike", text, Remembered)


def _known(rules: EntityRules) -> str:
    """The row as the rules read it, where it is older than the gate."""
    named = {rules.key, *(one.name for one in rules.numbers if one.is_remembered), *rules.face}
    named |= {name for name in (rules.handle, rules.verified) if name}
    named |= {field.name for field in msgspec.structs.fields(rules.record) if field.required}
    known = ", ".join(f"'{name}', t.{name}" for name in sorted(named))
    return f"CASE WHEN t.trust IS NULL AND t.{rules.key} IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object({known}))::text END"


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
