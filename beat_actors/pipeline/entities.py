"""The SQL that writes a platform's records, made once for each entity from its declaration.

A record's fields are columns: the key, dimensions and metrics. Current state is upserted. The last observation wins, whichever order
observations are written in: each carries the time at which its answer came, and an older one that is written later only adds what
no newer one has told. An unknown value never overwrites a known one. Every observation is logged. What it changed is published, one event for each answer and kind. The
statement returns the media URLs that the thing's row did not have before; `assets/intake` makes assets of them.

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
from typing import Union, get_args, get_origin

import msgspec

from beat_actors.assets.intake import Media
from beat_actors.database import Composed, Statement
from beat_actors.platforms.interface import Entity

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
"""What the gate says of a record, beside the record's own fields: what it remembers (base64), the score, and the reasons for it."""
SUBJECTS = {"profile_log": "profile_id", "post_log": "post_id"}
REPEAT = 0.1
"""The share of `BEAT_LOG_DAYS` after which dimensions are logged again though they are the same."""


@cache
def column_types(entity: Entity) -> Mapping[str, str]:
    """A record's fields and their SQL types. Raises `TypeError` for a field that no column can hold."""
    found = {}
    for field in msgspec.structs.fields(entity.record):
        union = get_origin(field.type) in (Union, types.UnionType)
        kinds = [kind for kind in (get_args(field.type) if union else (field.type,)) if kind is not type(None)]
        kind = get_origin(kinds[0]) or kinds[0]
        if len(kinds) != 1 or kind not in SQL_TYPES:
            known = ", ".join(known.__name__ for known in SQL_TYPES)
            raise TypeError(f"{entity.record.__name__}.{field.name}: a record's field is one of {known}")
        found[field.name] = SQL_TYPES[kind]
    return found


@cache
def writing(entity: Entity, *, judged: bool = False) -> Statement[Media]:
    """`write_records` as a statement."""
    return Composed("pipeline/entities.write_records", write_records(entity, judged=judged), Media)


@cache
def write_records(entity: Entity, *, judged: bool = False) -> str:
    """One statement: fetches and what was read for each -> current state and log rows. The rows that come back are of the type `Media`: URLs in media
    fields that the thing's row did not have before. Where a thing has no media fields, no row comes back.

    Parameters: `platform`; `log_days`; the arrays `fetches`, `requests`, `accounts`, `owners`, `observed` (when each answer came), `sources`,
    `versions`; `records`, a JSON array of records for each fetch. JSON and not jsonb: it is read once, and building the tree would cost more than reading the text.
    `judged`: a record may have what the gate says of it beside its own fields (`TRUST`). It becomes the row's where the observation is the newest.
    """
    columns = column_types(entity)
    names = list(columns)
    others = [name for name in names if name != entity.key]
    dimensions = [name for name in others if name not in entity.metrics | entity.volatile]
    metrics = [name for name in others if name in entity.metrics]
    trust = list(TRUST) if judged else []
    declared = ", ".join(f"{name} {kind}" for name, kind in {**columns, **(TRUST if judged else {})}.items())
    version = entity.version
    # The provider's own version of a thing says more than the time at which it was asked.
    newer = "excluded.observed_at >= t.observed_at"
    if version:
        newer = (
            f"coalesce(CASE WHEN excluded.{version} <> t.{version} THEN excluded.{version} > t.{version} END, {newer})"
        )
    updates = ", ".join(
        f"{name} = CASE WHEN {newer} THEN coalesce(excluded.{name}, t.{name}) ELSE coalesce(t.{name}, excluded.{name}) END"
        for name in others
    )
    judgement = "".join(
        f",\n        {name} = CASE WHEN {newer} THEN {_judged(name)} ELSE t.{name} END" for name in trust
    )
    adds = " OR ".join(f"(t.{name} IS NULL AND excluded.{name} IS NOT NULL)" for name in others) or "false"
    lasting = [name for name in others if name not in entity.volatile]
    known = ", ".join(f"t.{name}" for name in lasting)
    seen = ", ".join(f"coalesce(excluded.{name}, t.{name})" for name in lasting)
    shared = _shares_dimensions(entity)
    hashed = (
        f", hash_record_extended(ROW({', '.join(f'r.{name}' for name in dimensions)}), 0) AS dimensions_hash"
        if shared
        else ""
    )
    log = _observations(entity, dimensions, metrics, judged=judged) if entity.log else ""
    into = "".join(f", {name}" for name in trust)
    values = "".join(", decode(trust, 'base64')" if name == "trust" else f", {name}" for name in trust)
    newest = f"r.{version} DESC NULLS LAST, " if version else ""
    return f"""
WITH g AS (
    SELECT * FROM unnest(%(fetches)s::bigint[], %(requests)s::bigint[], %(accounts)s::text[], %(owners)s::text[],
        %(observed)s::timestamptz[], %(sources)s::text[], %(versions)s::integer[], %(records)b::text[])
        WITH ORDINALITY AS g(fetch_id, request_id, account_id, owner, observed_at, source, parser_version, records, i)
), r AS (
    SELECT r.*, g.source, g.parser_version, g.request_id, g.account_id, g.owner, g.observed_at, g.fetch_id,
        row_number() OVER (PARTITION BY r.{entity.key}, g.account_id, g.owner ORDER BY {
        newest
    }g.observed_at DESC, g.i DESC, r.n DESC) AS place{hashed}
    FROM g CROSS JOIN LATERAL ROWS FROM (json_to_recordset(g.records::json) AS ({declared}))
        WITH ORDINALITY AS r({", ".join([*names, *trust])}, n){_not_erased(entity)}
), current AS (
    INSERT INTO "{entity.table}" AS t ({
        ", ".join(names)
    }, account_id, owner, source, parser_version, request_id, observed_at, changed_at{
        ", dimensions_hash, dimensions_at, dimensions_fetch" if shared else ""
    }{into})
    SELECT {", ".join(names)}, account_id, owner, source, parser_version, request_id, observed_at, observed_at{
        ", dimensions_hash, observed_at, fetch_id" if shared else ""
    }{values} FROM r WHERE place = 1
    ORDER BY {entity.key}, account_id, owner
    ON CONFLICT ({entity.key}, account_id, owner) DO UPDATE SET {updates},
        source = CASE WHEN {newer} THEN excluded.source ELSE t.source END,
        parser_version = CASE WHEN {newer} THEN excluded.parser_version ELSE t.parser_version END,
        request_id = CASE WHEN {newer} THEN excluded.request_id ELSE t.request_id END,
        observed_at = greatest(excluded.observed_at, t.observed_at),
        changed_at = CASE WHEN NOT ({newer}) OR ROW({known}) IS DISTINCT FROM ROW({
        seen
    }) THEN greatest(excluded.observed_at, t.observed_at)
                          ELSE t.changed_at END{_dimensions_of(newer) if shared else ""}{judgement}
    WHERE {newer} OR {adds}
    RETURNING {entity.key} AS key, request_id, account_id, owner, observed_at, changed_at = observed_at AS changed{
        ", dimensions_hash, dimensions_at, dimensions_fetch" if shared else ""
    }
), told AS (
    INSERT INTO event (event_id, type, subject, account_id, owner, data)
    SELECT md5(concat_ws(' ', 'changed', %(platform)s::text, '{
        entity.kind
    }', request_id, owner, extract(epoch FROM observed_at)))::uuid, 'beat.data.changed',
        'scrape_request/' || request_id, account_id, owner, jsonb_build_object('platform', %(platform)s::text, 'kind', '{
        entity.kind
    }', 'request_id', request_id, 'account_id', nullif(account_id, ''), 'observed_at', observed_at, 'keys', jsonb_agg(key ORDER BY key))
    FROM current WHERE changed GROUP BY request_id, account_id, owner, observed_at ORDER BY request_id, observed_at
){f", logged AS ({log})" if entity.assets and log else ""}
{_media(entity) if entity.assets else log or "SELECT"}
"""  # noqa: S608 - as above


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


def logged(log: str, which: str) -> str:
    """A subquery: the rows `l` of a log for which `which` holds, each with the dimensions that were observed. `which` may have an order and a limit.

    Columns: `observed_at`, `fetch_id`, `request_id`, `source`, the log's subject, `dimensions`, `metrics`. Where the row that has the dimensions was
    dropped with an earlier day, they are empty. Each is found by one look into the index of the log.
    """
    subject, itself = (
        SUBJECTS[log],
        "(l.dimensions_at, l.dimensions_fetch) IS NOT DISTINCT FROM (l.observed_at, l.fetch_id)",
    )
    return f"""(
    SELECT l.observed_at, l.fetch_id, l.request_id, l.source, l.{subject}, l.metrics,
        CASE WHEN l.dimensions_at IS NULL OR {itself} THEN l.dimensions ELSE coalesce(w.dimensions, '{{}}') END AS dimensions
    FROM (SELECT * FROM {log} l WHERE {which}) l
    LEFT JOIN LATERAL (
        SELECT w.dimensions FROM {log} w WHERE w.platform = l.platform AND w.{subject} = l.{subject} AND w.account_id = l.account_id AND w.owner = l.owner
            AND w.observed_at = l.dimensions_at AND w.fetch_id = l.dimensions_fetch
            AND w.dimensions_at = w.observed_at AND w.dimensions_fetch = w.fetch_id AND NOT {itself} LIMIT 1) w ON true)"""  # noqa: S608 - names of Beat


def _shares_dimensions(entity: Entity) -> bool:
    """Where several things are logged under one subject, a row does not tell which it is of, so each is logged whole."""
    return entity.log is not None and entity.subject is None


def _dimensions_of(newer: str) -> str:
    same = f"{newer} AND t.dimensions_hash = excluded.dimensions_hash AND t.dimensions_at > excluded.observed_at - {REPEAT} * make_interval(days => %(log_days)s)"
    return f""",
        dimensions_hash = CASE WHEN {newer} THEN excluded.dimensions_hash ELSE t.dimensions_hash END,
        dimensions_at = CASE WHEN {same} THEN t.dimensions_at WHEN {newer} THEN excluded.dimensions_at ELSE t.dimensions_at END,
        dimensions_fetch = CASE WHEN {same} THEN t.dimensions_fetch WHEN {newer} THEN excluded.dimensions_fetch ELSE t.dimensions_fetch END"""


def _media(entity: Entity) -> str:
    """Media URLs that the thing's row did not have before. Most observations have none."""
    parent = f"r.{entity.parent.field}" if entity.parent is not None else "NULL"
    taken_at = f"r.{entity.newest}" if entity.newest else "NULL::timestamptz"
    fields = ", ".join(f"('{field}', r.{field}, o.{field})" for field in entity.assets)
    return f"""
SELECT r.{entity.key} AS entity_key, v.field, r.owner, r.account_id, v.url, r.observed_at, {parent}::text AS parent, {taken_at} AS taken_at
FROM r LEFT JOIN "{entity.table}" o ON (o.{entity.key}, o.account_id, o.owner) = (r.{entity.key}, r.account_id, r.owner)
CROSS JOIN LATERAL (VALUES {fields}) AS v(field, url, known)
WHERE r.place = 1 AND v.url <> coalesce(v.known, '') AND r.observed_at >= coalesce(o.observed_at, '-infinity')"""  # noqa: S608 - as above


def _judged(name: str) -> str:
    """What is remembered stays where the observation says nothing of it; its score and reasons are of this observation alone."""
    return f"coalesce(excluded.{name}, t.{name})" if name == "trust" else f"excluded.{name}"


def _observations(entity: Entity, dimensions: list[str], metrics: list[str], *, judged: bool) -> str:
    into = f"observed_at, platform, {SUBJECTS[entity.log or '']}, account_id, owner, source, parser_version, request_id, fetch_id, metrics"
    told = f"r.observed_at, %(platform)s, r.{entity.subject or entity.key}, r.account_id, r.owner, r.source, r.parser_version, r.request_id, r.fetch_id, {_object(metrics)}"
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
    pairs = ", ".join(f"'{name}', r.{name}" for name in names)
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
