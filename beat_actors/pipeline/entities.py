"""The SQL that writes a platform's records, made once for each entity from its declaration.

A record's fields are columns: the key, dimensions and metrics. Current state is upserted, field by field: each field has what the newest observation
that tells it says, whichever order observations are written in. An observation tells a field if it has a value, or says that the field is empty
(`empty`; of counts, `hidden` says that their owner hides them). A field of which it does not speak stays as it was. The row has the time, the source and
the rest of where its last observation came from; `older` has the same of the fields that this observation does not tell. `empty` and `hidden` name the
fields that are known to be so; a field without a value that `empty` does not name is unknown.

The statement writes observations that are newer than the row. The others come back, which is rare, and `late` adds what no newer one tells. Every
observation is logged. What it changed is published, one event for each answer and kind. The statement returns the media URLs that the thing's row did
not have before; `assets/intake` makes assets of them.

Most observations tell what is known. So the log has an observation's dimensions once: a later one with the same dimensions has its metrics and
the place of the row that has the rest (`dimensions_at`, `dimensions_fetch`; `logged` reads both together). The thing's row keeps that place and
a hash of the dimensions, and whether they are the same is decided under that row's lock. An observation is logged whole where its
dimensions are not those of the state, because it is older or its fetch told the thing in two ways, and once the row that has the dimensions is as
old as `REPEAT` says, so that it is dropped with its day no earlier than most of what refers to it.

Every row says for which account it was observed (`account_id`, empty for the installation's own requests) and with whose credential
(`owner`, empty where any credential could have made the call). State is kept apart by both: what one account has observed never
changes what another account reads, and what an owner's credential observed never becomes part of the public row.
"""

import types
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple, Union, get_args, get_origin

import msgspec

from beat_actors.database import Composed, Statement
from beat_actors.platforms.interface import Entity, fields_of

SQL_TYPES: dict[type, str] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    datetime: "timestamptz",
    Decimal: "numeric",
    dict: "jsonb",
    list: "jsonb",
}
TRUST = {"trust": "text", "trust_score": "smallint", "trust_reasons": "jsonb"}
"""What the gate says of a record: what it remembers (base64), the score, and the reasons for it."""
SUBJECTS = {"profile_log": "profile_id", "post_log": "post_id"}
REPEAT = 0.1
"""The share of `BEAT_LOG_DAYS` after which dimensions are logged again though they are the same."""
STATE = ("empty", "hidden", "older")
"""Columns of an entity's row that say what is known of its fields."""


class Returned(NamedTuple):
    """What comes back: a media URL that the thing's row did not have before; or, without a field, an observation that is older than the row, or that its own answer tells in two ways.

    `parent`: the key of the thing under which this one is listed. `taken_at`: when the post was made. `place`, `nth`: the observation is that record of
    that entry of the arrays, both from 1 on.
    """

    entity_key: str
    field: str | None
    owner: str
    account_id: str
    url: str
    observed_at: datetime
    parent: str | None
    taken_at: datetime | None
    place: int
    nth: int


@cache
def column_types(entity: Entity) -> Mapping[str, str]:
    """A record's fields and their SQL types. Raises `TypeError` for a field that no column can hold."""
    found = {}
    names = fields_of(entity.record)
    for field in msgspec.structs.fields(entity.record):
        if field.name not in names:
            continue
        union = get_origin(field.type) in (Union, types.UnionType)
        kinds = [kind for kind in (get_args(field.type) if union else (field.type,)) if kind is not type(None)]
        kind = get_origin(kinds[0]) or kinds[0]
        if len(kinds) != 1 or kind not in SQL_TYPES:
            known = ", ".join(known.__name__ for known in SQL_TYPES)
            raise TypeError(f"{entity.record.__name__}.{field.name}: a record's field is one of {known}")
        found[field.name] = SQL_TYPES[kind]
    return found


@cache
def writing(entity: Entity, *, judged: bool = False) -> Statement[Returned]:
    """`write_records` as a statement."""
    return Composed("pipeline/entities.write_records", write_records(entity, judged=judged), Returned)


@cache
def write_records(entity: Entity, *, judged: bool = False) -> str:
    """One statement: fetches and what was read for each -> current state and log rows. The rows that come back are of the type `Returned`. It locks the
    rows of the things in the order of their keys, also those that it does not change.

    Parameters: `platform`; `log_days`; the arrays `fetches`, `requests`, `accounts`, `owners`, `observed` (when each answer came), `sources`,
    `versions`, `builds`; `records`, a JSON array of records for each fetch. JSON and not jsonb: it is read once, and building the tree would cost more than reading the text.
    `judged`: there are two arrays more. `judgements`: a JSON array for each fetch with what the gate says of its records, in their order (`TRUST`). It
    becomes the row's where the observation is the newest. It lies beside the records, so that these are not taken apart to be told of it. `holds`: the
    held record that was accepted, null for what an answer says at once. What it changes is an event of its own.
    """
    columns = column_types(entity)
    names = list(columns)
    others = [name for name in names if name != entity.key]
    dimensions = [name for name in others if name not in entity.metrics | entity.volatile]
    metrics = [name for name in others if name in entity.metrics]
    trust = list(TRUST) if judged else []
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    updates = ", ".join(
        f"{name} = CASE WHEN excluded.{name} IS NOT NULL OR '{name}' = ANY (excluded.empty) THEN excluded.{name} ELSE t.{name} END"
        for name in others
    )
    judgement = "".join(f",\n        {name} = {_judged(name)}" for name in trust)
    lasting = [name for name in others if name not in entity.volatile]
    known = ", ".join(f"t.{name}" for name in lasting)
    seen = ", ".join(f"coalesce(excluded.{name}, t.{name})" for name in lasting)
    shared = _shares_dimensions(entity)
    hashed = (
        f", hash_record_extended(ROW({', '.join(f'r.{name}' for name in [*dimensions, 'empty', 'hidden'])}), 0) AS dimensions_hash"
        if shared
        else ""
    )
    log = _observations(entity, dimensions, metrics, judged=judged) if entity.log else ""
    hold = ", hold" if judged else ""
    into = "".join(f", {name}" for name in trust)
    values = "".join(", decode(trust, 'base64')" if name == "trust" else f", {name}" for name in trust)
    newest = f"r.{entity.version} DESC NULLS LAST, " if entity.version else ""
    return f"""
WITH g AS (
    SELECT * FROM unnest(%(fetches)s::bigint[], %(requests)s::bigint[], %(accounts)s::text[], %(owners)s::text[],
        %(observed)s::timestamptz[], %(sources)s::text[], %(versions)s::integer[], %(builds)s::integer[], %(records)b::text[]{
        ", %(judgements)b::text[], %(holds)s::bigint[]" if judged else ""
    })
        WITH ORDINALITY AS g(fetch_id, request_id, account_id, owner, observed_at, source, parser_version, build_id, records{
        ", judgements, hold" if judged else ""
    }, given)
), r AS (
    SELECT r.*, g.source, g.parser_version, g.build_id, g.request_id, g.account_id, g.owner, g.observed_at, g.fetch_id, g.given{
        ", g.hold" if judged else ""
    },
        row_number() OVER (PARTITION BY r.{entity.key}, g.account_id, g.owner ORDER BY {
        newest
    }g.observed_at DESC, g.fetch_id DESC, r.n DESC) AS place{hashed}
    FROM g CROSS JOIN LATERAL ROWS FROM (json_to_recordset(g.records::json) AS ({
        declared
    }, empty text[], hidden text[]){_judgements() if judged else ""})
        WITH ORDINALITY AS r({", ".join([*names, "empty", "hidden", *trust])}, n){_not_erased(entity)}
), current AS (
    INSERT INTO "{entity.table}" AS t ({
        ", ".join(names)
    }, empty, hidden, account_id, owner, source, parser_version, build_id, request_id, observed_fetch, observed_at, changed_at{
        ", dimensions_hash, dimensions_at, dimensions_fetch" if shared else ""
    }{into})
    SELECT {
        ", ".join(names)
    }, empty, hidden, account_id, owner, source, parser_version, build_id, request_id, fetch_id, observed_at, observed_at{
        ", dimensions_hash, observed_at, fetch_id" if shared else ""
    }{values} FROM r WHERE place = 1
    ORDER BY {entity.key}, account_id, owner
    ON CONFLICT ({entity.key}, account_id, owner) DO UPDATE SET {updates},
        source = excluded.source, parser_version = excluded.parser_version, build_id = excluded.build_id, request_id = excluded.request_id,
        observed_fetch = excluded.observed_fetch, observed_at = excluded.observed_at,
        changed_at = CASE WHEN ROW({known}) IS DISTINCT FROM ROW({seen}) OR {_cleared()} THEN excluded.observed_at
                          ELSE t.changed_at END, {_state_of(entity, others)}{_dimensions_of() if shared else ""}{
        judgement
    }
    WHERE {_newer(entity)}
    RETURNING {
        entity.key
    } AS key, request_id, account_id, owner, observed_at, observed_fetch, changed_at = observed_at AS changed{
        ", dimensions_hash, dimensions_at, dimensions_fetch" if shared else ""
    }
), told AS (
    INSERT INTO event (event_id, type, subject, account_id, owner, data)
    SELECT md5(concat_ws(' ', 'changed', %(platform)s::text, '{
        entity.kind
    }', request_id, owner, extract(epoch FROM observed_at){hold}))::uuid, 'beat.data.changed',
        'scrape_request/' || request_id, account_id, owner, jsonb_build_object('platform', %(platform)s::text, 'kind', '{
        entity.kind
    }', 'request_id', request_id, 'account_id', nullif(account_id, ''), 'observed_at', observed_at, 'keys', jsonb_agg(key ORDER BY key))
    FROM {
        _with_holds(entity) if judged else "current"
    } WHERE changed GROUP BY request_id, account_id, owner, observed_at{hold}
    ORDER BY request_id, observed_at
){f", logged AS ({log})" if log else ""}
SELECT r.{
        entity.key
    } AS entity_key, NULL AS field, r.owner, r.account_id, '' AS url, r.observed_at, NULL AS parent, NULL::timestamptz AS taken_at,
    r.given AS place, r.n AS nth
FROM r LEFT JOIN current c ON c.key = r.{entity.key} AND c.account_id = r.account_id AND c.owner = r.owner
WHERE c.key IS NULL OR r.place > 1
{_media(entity) if entity.assets else ""}
"""  # noqa: S608 - as above


def _judgements() -> str:
    """What the gate says of the records, in their order."""
    return f", json_to_recordset(g.judgements::json) AS ({', '.join(f'{name} {kind}' for name, kind in TRUST.items())})"


def _with_holds(entity: Entity) -> str:
    """The rows that are written, each with the held record that it is. An answer whose rest was written before has had its event."""
    return f"""(SELECT c.*, r.hold FROM current c
        JOIN r ON r.place = 1 AND (r.{entity.key}, r.account_id, r.owner) = (c.key, c.account_id, c.owner)) c"""  # noqa: S608 - declared


def _not_erased(entity: Entity) -> str:
    """Leaves out records of persons that were erased. No hash is computed as long as nobody is. A record with ids is judged by these alone, since a
    name may belong to somebody else by now."""
    columns = entity.personal.subject if entity.personal is not None else ()
    ids = [name for name in columns if not name.endswith(("handle", "_name"))]
    names = [name for name in columns if name not in ids]
    if not columns:
        return ""
    hashed = [f"beat_subject(k.key, %(platform)s, 'id', r.{name})" for name in ids]
    unknown = " AND ".join(f"r.{name} IS NULL" for name in ids) or "true"
    hashed += [f"CASE WHEN {unknown} THEN beat_subject(k.key, %(platform)s, 'name', r.{name}) END" for name in names]
    return f"""
    WHERE NOT EXISTS (SELECT FROM tombstone) OR NOT EXISTS (
        SELECT FROM tombstone_key k JOIN tombstone s ON s.subject IN ({", ".join(hashed)}))"""  # noqa: S608 - declared


def _newer(entity: Entity) -> str:
    """Whether the observation is not older than the row. The provider's own version of a thing says more than the time at which it was asked."""
    newer = "(excluded.observed_at, excluded.observed_fetch) >= (t.observed_at, coalesce(t.observed_fetch, 0))"
    if entity.version is None:
        return newer
    version = entity.version
    return f"coalesce(CASE WHEN excluded.{version} <> t.{version} THEN excluded.{version} > t.{version} END, {newer})"


def _cleared() -> str:
    """Whether a known value becomes empty. Most observations say nothing to be empty, and end at the first condition: of an unknown one, PostgreSQL
    would look at the others too."""
    return """(excluded.empty IS NOT NULL AND NOT excluded.empty <@ coalesce(t.empty, '{}')
            AND EXISTS (SELECT FROM unnest(excluded.empty) f WHERE to_jsonb(t) -> f <> 'null'))"""


def _state_of(entity: Entity, others: list[str]) -> str:
    """What is known of the fields after a newer observation. Most tell all that the one before told, so `older` stays empty.

    `lost`: the observation has no value where the row has one. Then, and where the row has `older` already, each field is looked at: those that it does
    not tell keep what `older` says of them, or get what the row says of itself.
    """
    lost = " OR ".join(f"excluded.{name} IS NULL AND t.{name} IS NOT NULL" for name in others)
    own = origin("t", entity)
    kept = "SELECT f FROM unnest({of}) f WHERE to_jsonb(excluded) -> f = 'null' AND f <> ALL (coalesce(excluded.empty, '{{}}'))"
    listed = '(SELECT array_agg(f ORDER BY f COLLATE "C") FROM (SELECT unnest(excluded.{name}) UNION {kept}) u(f))'

    def union(name: str) -> str:
        both = listed.format(name=name, kept=kept.format(of=f"t.{name}"))
        return f"{name} = CASE WHEN t.{name} IS NULL OR t.{name} = excluded.{name} THEN excluded.{name} ELSE {both} END"

    return f"""{union("empty")},
        {union("hidden")},
        older = CASE WHEN t.older IS NULL AND (t.empty IS NULL OR t.empty = excluded.empty) AND NOT ({lost}) THEN NULL ELSE (
            SELECT jsonb_object_agg(f, coalesce(t.older -> f, {own})) FROM ({kept.format(of=f"'{{{','.join(others)}}}'::text[]")}) silent(f)
            WHERE to_jsonb(t) -> f <> 'null' OR f = ANY (t.empty)) END"""  # noqa: S608 - as above


def origin(row: str, entity: Entity) -> str:
    """Where an observation came from, as `older` has it."""
    version = f", 'version', {row}.{entity.version}" if entity.version else ""
    return f"""jsonb_build_object('at', {row}.observed_at, 'source', {row}.source, 'request', {row}.request_id, 'fetch', {row}.observed_fetch,
            'parser', {row}.parser_version, 'build', {row}.build_id{version})"""


def logged(log: str, which: str) -> str:
    """A subquery: the rows `l` of a log for which `which` holds, each with the dimensions that were observed. `which` may have an order and a limit.

    Columns: `observed_at`, `fetch_id`, `request_id`, `source`, the log's subject, `dimensions`, `metrics`, `hidden`. Where the row that has the dimensions was
    dropped with an earlier day, they are empty. Each is found by one look into the index of the log.
    """
    subject, itself = (
        SUBJECTS[log],
        "(l.dimensions_at, l.dimensions_fetch) IS NOT DISTINCT FROM (l.observed_at, l.fetch_id)",
    )
    return f"""(
    SELECT l.observed_at, l.fetch_id, l.request_id, l.source, l.{subject}, l.metrics, l.hidden,
        CASE WHEN l.dimensions_at IS NULL OR {itself} THEN l.dimensions ELSE coalesce(w.dimensions, '{{}}') END AS dimensions
    FROM (SELECT * FROM {log} l WHERE {which}) l
    LEFT JOIN LATERAL (
        SELECT w.dimensions FROM {log} w WHERE w.platform = l.platform AND w.{subject} = l.{subject} AND w.account_id = l.account_id AND w.owner = l.owner
            AND w.observed_at = l.dimensions_at AND w.fetch_id = l.dimensions_fetch
            AND w.dimensions_at = w.observed_at AND w.dimensions_fetch = w.fetch_id AND NOT {itself} LIMIT 1) w ON true)"""  # noqa: S608 - names of Beat


def _shares_dimensions(entity: Entity) -> bool:
    """Where several things are logged under one subject, a row does not tell which it is of, so each is logged whole."""
    return entity.log is not None and entity.subject is None


def _dimensions_of() -> str:
    same = f"t.dimensions_hash = excluded.dimensions_hash AND t.dimensions_at > excluded.observed_at - {REPEAT} * make_interval(days => %(log_days)s)"
    return f""",
        dimensions_hash = excluded.dimensions_hash,
        dimensions_at = CASE WHEN {same} THEN t.dimensions_at ELSE excluded.dimensions_at END,
        dimensions_fetch = CASE WHEN {same} THEN t.dimensions_fetch ELSE excluded.dimensions_fetch END"""


def _media(entity: Entity) -> str:
    """Media URLs that the thing's row did not have before. Most observations have none."""
    parent = f"r.{entity.parent.field}" if entity.parent is not None else "NULL"
    taken_at = f"r.{entity.newest}" if entity.newest else "NULL::timestamptz"
    fields = ", ".join(f"('{field}', r.{field}, o.{field})" for field in entity.assets)
    return f"""
UNION ALL SELECT r.{entity.key}, v.field, r.owner, r.account_id, v.url, r.observed_at, {parent}::text, {taken_at}, r.given, r.n
FROM r LEFT JOIN "{entity.table}" o ON (o.{entity.key}, o.account_id, o.owner) = (r.{entity.key}, r.account_id, r.owner)
CROSS JOIN LATERAL (VALUES {fields}) AS v(field, url, known)
WHERE r.place = 1 AND v.url <> coalesce(v.known, '') AND r.observed_at >= coalesce(o.observed_at, '-infinity')"""  # noqa: S608 - as above


def _judged(name: str) -> str:
    """What is remembered stays where the observation says nothing of it; its score and reasons are of this observation alone."""
    return f"coalesce(excluded.{name}, t.{name})" if name == "trust" else f"excluded.{name}"


def _observations(entity: Entity, dimensions: list[str], metrics: list[str], *, judged: bool) -> str:
    into = f"observed_at, platform, {SUBJECTS[entity.log or '']}, account_id, owner, source, parser_version, build_id, request_id, fetch_id, hidden, metrics"
    told = f"r.observed_at, %(platform)s, r.{entity.subject or entity.key}, r.account_id, r.owner, r.source, r.parser_version, r.build_id, r.request_id, r.fetch_id, r.hidden, {_object(metrics)}"
    if judged:
        into, told = f"{into}, trust_score", f"{told}, r.trust_score"
    whole = _object(dimensions)
    if not _shares_dimensions(entity):
        return f"INSERT INTO {entity.log} ({into}, dimensions) SELECT {told}, {whole} FROM r"  # noqa: S608 - as above
    # An observation that is not the state, because it is older or the fetch told it in two ways, matches nothing and is logged whole.
    place = "(c.dimensions_at, c.dimensions_fetch) = (r.observed_at, r.fetch_id)"
    return f"""
INSERT INTO {entity.log} ({into}, dimensions, dimensions_at, dimensions_fetch)
SELECT {told}, CASE WHEN c.key IS NULL OR {place} THEN {whole} ELSE '{{}}' END, c.dimensions_at, c.dimensions_fetch
FROM r LEFT JOIN current c ON c.key = r.{entity.key} AND c.account_id = r.account_id AND c.owner = r.owner
    AND c.dimensions_hash = r.dimensions_hash
"""  # noqa: S608 - as above


def _object(names: list[str]) -> str:
    """The fields that an observation tells, with null for those that are empty. Most have none."""
    pairs = ", ".join(f"'{name}', r.{name}" for name in names)
    known = f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
    empty = f"SELECT coalesce(jsonb_object_agg(f, NULL), '{{}}') FROM unnest(r.empty) f WHERE f = ANY ('{{{','.join(names)}}}')"  # noqa: S608 - as above
    return f"CASE WHEN r.empty IS NULL THEN {known} ELSE {known} || ({empty}) END"
