"""The SQL by which a restore reads and writes the rows of entities, made once for each table from its declaration and its columns.

A row travels as `jsonb`, so that what an undo puts back is the whole row, with columns that a later release has added.

PostgreSQL takes the keys of a chunk for one row, whatever its statistics, because it multiplies what it knows of each of their columns. It would join them
in nested loops, and compare each with all items of the job. So `by_keys` runs these statements: each table is read through the index of its
keys, and what was read is joined by hash.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

from beat_actors.database import Composed, Statement, Statements, Transaction
from beat_actors.restoring.change import FORGOTTEN, PROVENANCE, logged_names
from beat_actors.restoring.selection import Target


class Held(NamedTuple):
    """The row of an entity as JSON text, which is locked now; None where there is none. `nth`: its place among the keys, from 1 on."""

    nth: int
    row: str | None


class HeldItem(NamedTuple):
    """A held row beside what a restore did to it. `untouched`: it is still as the restore left it. `before`: as it was before; None: unchanged, or there
    was none. `fields`: those that the restore changed."""

    nth: int
    row: str | None
    untouched: bool
    before: str | None
    fields: list[str]


class Written(NamedTuple):
    """What a chunk did to an entity. `fields`: those that changed. `removed`: the row is gone."""

    nth: int
    fields: list[str]
    removed: bool


R = TypeVar("R")
SQL = Statements(__file__)
HASHED, FREE = SQL("hashed", str), SQL("free", str)
KEYS = "unnest(%(keys)b::text[], %(accounts)b::text[], %(owners)b::text[])"
COLUMNS: Statement[str] = Composed(
    "restoring/statements.columns",
    """SELECT attname::text AS name FROM pg_attribute WHERE attrelid = to_regclass(format('%%I', %(table)s::text)) AND attnum > 0 AND NOT attisdropped
AND attgenerated = '' ORDER BY attnum""",
    str,
)


async def by_keys(transaction: Transaction, statement: Statement[R], values: Mapping[str, Any]) -> list[R]:
    """Run a statement that finds its rows by the keys that it is given, in one round trip with what tells the planner how."""
    async with transaction.pipeline() as pipeline:
        await pipeline.run(HASHED)
        answer = await pipeline.run(statement, values)
        await pipeline.run(FREE)
    return answer.rows


@cache
def hold(target: Target) -> Statement[Held]:
    """Lock the rows of entities in the order of their keys, as the stages do. Read in another statement, so that it sees what others wrote meanwhile."""
    entity = target.entity
    text = f"""
WITH n AS (SELECT * FROM {KEYS} WITH ORDINALITY n (key, account_id, owner, nth)), held AS MATERIALIZED (
    SELECT t.{entity.key} AS key, t.account_id, t.owner, to_jsonb(t)::text AS row FROM "{entity.table}" t
    WHERE t.{entity.key} = ANY(%(keys)b::text[]) AND (t.{entity.key}, t.account_id, t.owner) IN (SELECT key, account_id, owner FROM n)
    ORDER BY t.{entity.key}, t.account_id, t.owner FOR NO KEY UPDATE
)
SELECT n.nth::integer AS nth, held.row FROM n LEFT JOIN held USING (key, account_id, owner) ORDER BY n.nth
"""  # noqa: S608 - declared
    return Composed("restoring/statements.hold", text, Held)


@cache
def held_items(target: Target) -> Statement[HeldItem]:
    """The rows that were held, beside what a restore did to them."""
    entity = target.entity
    text = f"""
SELECT n.nth::integer AS nth, to_jsonb(t)::text AS row, coalesce(to_jsonb(t) = i.after, t.{entity.key} IS NULL AND i.after IS NULL) AS untouched,
    i.before::text AS before, coalesce(i.fields, '{{}}') AS fields
FROM {KEYS} WITH ORDINALITY n (key, account_id, owner, nth)
JOIN restore_item i ON i.job_id = %(job)s AND i.entity = '{entity.table}' AND (i.key, i.account_id, i.owner) = (n.key, n.account_id, n.owner)
LEFT JOIN "{entity.table}" t ON (t.{entity.key}, t.account_id, t.owner) = (n.key, n.account_id, n.owner) AND t.{entity.key} = ANY(%(keys)b::text[])
WHERE i.key = ANY(%(keys)b::text[]) ORDER BY n.nth
"""  # noqa: S608 - declared
    return Composed("restoring/statements.held_items", text, HeldItem)


@cache
def plan(target: Target) -> Statement[Written]:
    """What the changes of held rows would change; notes it, and writes no entity."""
    text = f"""
WITH {_compared(target)}, noted AS (
    UPDATE restore_item i SET state = 'PLANNED', fields = d.fields,
        before = (SELECT jsonb_object_agg(name, d.before->name) FROM unnest(d.fields) name),
        after = (SELECT jsonb_object_agg(name, d.after->name) FROM unnest(d.fields) name WHERE NOT d.removed)
    FROM d WHERE {_of_item(target, "d")}
)
SELECT nth::integer AS nth, fields, removed FROM d ORDER BY nth"""  # noqa: S608 - declared
    return Composed("restoring/statements.plan", text, Written)


@cache
def apply(target: Target, columns: tuple[str, ...]) -> Statement[Written]:
    """Write the changes of held rows where they change anything, note the rows before and after, and publish it: one event for each account and owner."""
    entity = target.entity
    same = f"t.{entity.key} = ANY(%(keys)b::text[]) AND t.{entity.key} = d.key AND t.account_id = d.account_id AND t.owner = d.owner"
    text = f"""
WITH {_compared(target, columns)}, u AS (
    UPDATE "{entity.table}" t SET {_assigned(columns)}
    FROM d CROSS JOIN LATERAL jsonb_populate_record(NULL::"{entity.table}", d.after) r
    WHERE {same} AND d.differs AND NOT d.removed RETURNING d.nth, to_jsonb(t) AS after
), gone AS (
    DELETE FROM "{entity.table}" t USING d WHERE {same} AND d.removed RETURNING d.nth
), noted AS (
    UPDATE restore_item i SET state = 'DONE', fields = d.fields, before = CASE WHEN d.differs THEN d.before END, after = u.after
    FROM d LEFT JOIN u ON u.nth = d.nth WHERE {_of_item(target, "d")}
), {_published(target, "false")}
SELECT nth::integer AS nth, fields, removed FROM d ORDER BY nth"""  # noqa: S608 - declared
    return Composed("restoring/statements.apply", text, Written)


@cache
def put_back(target: Target, columns: tuple[str, ...]) -> Statement[Written]:
    """Put held rows back as they were before a restore; `before`: whole rows as JSON texts, NULL where nothing is to be written. A row that the restore
    removed is inserted again. `kept`: for each a JSON list of the fields that an undo leaves."""
    entity = target.entity
    names = ", ".join(f'"{name}"' for name in columns)
    text = f"""
WITH d AS (
    SELECT n.*, i.fields, false AS removed FROM unnest(%(keys)b::text[], %(accounts)b::text[], %(owners)b::text[], %(before)b::text[], %(kept)b::text[])
        WITH ORDINALITY n (key, account_id, owner, before, kept, nth)
    JOIN restore_item i ON (i.key, i.account_id, i.owner) = (n.key, n.account_id, n.owner)
    WHERE i.job_id = %(job)s AND i.entity = '{entity.table}' AND i.key = ANY(%(keys)b::text[])
), u AS (
    INSERT INTO "{entity.table}" AS t ({names})
    SELECT {", ".join(f'r."{name}"' for name in columns)} FROM d CROSS JOIN LATERAL jsonb_populate_record(NULL::"{entity.table}", d.before::jsonb) r
    WHERE d.before IS NOT NULL ORDER BY d.key, d.account_id, d.owner
    ON CONFLICT ({entity.key}, account_id, owner) DO UPDATE SET {_assigned(columns, "excluded")}
), noted AS (
    UPDATE restore_item i SET state = 'UNDONE', kept = ARRAY(SELECT jsonb_array_elements_text(d.kept::jsonb)) FROM d WHERE {_of_item(target, "d")}
), {_published(target, "true")}
SELECT nth::integer AS nth, coalesce(fields, '{{}}') AS fields, removed FROM d ORDER BY nth"""  # noqa: S608 - declared
    return Composed("restoring/statements.put_back", text, Written)


@cache
def merged(target: Target) -> Statement[Held]:
    """What rows would be with changes, as JSON texts; it writes nothing. `rows`: whole rows, `values`: the changes."""
    text = f"""
SELECT n.nth::integer AS nth, to_jsonb(jsonb_populate_record(jsonb_populate_record(NULL::"{target.entity.table}", n.row::jsonb), n.values::jsonb))::text AS row
FROM unnest(%(rows)b::text[], %(values)b::text[]) WITH ORDINALITY n (row, values, nth) ORDER BY n.nth"""  # noqa: S608 - declared
    return Composed("restoring/statements.merged", text, Held)


@cache
def exclude(target: Target, condition: str) -> Statement[None]:
    """Mark observations of these entities, so that no later fold has them."""
    text = f"UPDATE {target.log} l SET excluded_by = %(job)s WHERE l.{target.subject} = ANY(%(keys)b::text[]) AND {condition}"  # noqa: S608 - names of Beat
    return Composed("restoring/statements.exclude", text)


@cache
def include(target: Target) -> Statement[None]:
    """Take the mark of a restore off again."""
    text = f"""UPDATE {target.log} l SET excluded_by = NULL WHERE l.platform = %(platform)s AND l.{target.subject} = ANY(%(keys)b::text[])
AND l.observed_at >= %(since)s AND l.observed_at < %(until)s AND l.excluded_by = %(job)s"""  # noqa: S608 - names of Beat
    return Composed("restoring/statements.include", text)


@cache
def collect(target: Target, condition: str) -> Statement[int]:
    """Note the entities of which observations from `begins` until before `ends` are selected; how many are new."""
    entity = target.entity
    text = f"""
WITH found AS (
    INSERT INTO restore_item (job_id, entity, key, account_id, owner)
    SELECT DISTINCT %(job)s::bigint, '{entity.table}', l.{target.subject}, l.account_id, l.owner FROM {target.log} l
    JOIN "{entity.table}" t ON t.{entity.key} = l.{target.subject} AND t.account_id = l.account_id AND t.owner = l.owner
    WHERE {condition} AND l.observed_at >= %(begins)s AND l.observed_at < %(ends)s
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*)::integer AS found FROM found"""  # noqa: S608 - declared
    return Composed("restoring/statements.collect", text, int)


def _compared(target: Target, columns: tuple[str, ...] = ()) -> str:
    """`d`: the held rows with their changes, the fields that differ, and whether anything does. `columns`: of the table, where the rows are written."""
    entity = target.entity
    fields = ", ".join(f"'{name}'" for name in sorted(logged_names(entity)))
    provenance = " OR ".join(f"c.before->'{name}' IS DISTINCT FROM c.after->'{name}'" for name in PROVENANCE)
    forgotten = ", ".join(f"'{name}', null" for name in FORGOTTEN if name in columns)
    return f"""c AS MATERIALIZED (
    SELECT n.nth, n.key, n.account_id, n.owner, n.removed::boolean AS removed, to_jsonb(t) AS before,
        to_jsonb(jsonb_populate_record(t, n.values::jsonb)) AS after
    FROM unnest(%(keys)b::text[], %(accounts)b::text[], %(owners)b::text[], %(values)b::text[], %(removed)b::text[])
        WITH ORDINALITY n (key, account_id, owner, values, removed, nth)
    JOIN "{entity.table}" t ON t.{entity.key} = n.key AND t.account_id = n.account_id AND t.owner = n.owner
    WHERE t.{entity.key} = ANY(%(keys)b::text[])
), d AS MATERIALIZED (
    SELECT c.nth, c.key, c.account_id, c.owner, c.removed, c.before, c.after || jsonb_build_object({forgotten}) AS after,
        CASE WHEN c.removed THEN ARRAY(SELECT name FROM unnest(ARRAY[{fields}]) name WHERE c.before->name <> 'null' ORDER BY name)
             ELSE ARRAY(SELECT name FROM unnest(ARRAY[{fields}]) name WHERE c.before->name IS DISTINCT FROM c.after->name ORDER BY name) END AS fields,
        c.removed OR {provenance} OR EXISTS (SELECT FROM unnest(ARRAY[{fields}]) name WHERE c.before->name IS DISTINCT FROM c.after->name) AS differs
    FROM c
)"""  # noqa: S608 - declared


def _published(target: Target, undone: str) -> str:
    return f"""told AS (
    INSERT INTO event (event_id, type, subject, account_id, owner, data)
    SELECT md5(concat_ws(' ', 'restored', %(job)s::text, '{undone}', '{target.entity.table}', min(key), account_id, owner))::uuid, 'beat.data.restored',
        'restore/' || %(job)s::text, account_id, owner, jsonb_build_object('platform', '{target.platform}', 'kind', '{target.entity.kind}',
        'restore_id', %(job)s::bigint, 'undone', {undone}, 'account_id', nullif(account_id, ''), 'keys', jsonb_agg(key ORDER BY key))
    FROM d WHERE cardinality(fields) > 0 GROUP BY account_id, owner ORDER BY account_id, owner
)"""  # noqa: S608 - declared


def _of_item(target: Target, row: str) -> str:
    same = f"i.key = {row}.key AND i.account_id = {row}.account_id AND i.owner = {row}.owner"
    return f"i.job_id = %(job)s AND i.entity = '{target.entity.table}' AND i.key = ANY(%(keys)b::text[]) AND {same}"


def _assigned(columns: tuple[str, ...], of: str = "r") -> str:
    return ", ".join(f'"{name}" = {of}."{name}"' for name in columns)
