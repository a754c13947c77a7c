"""The SQL that writes a platform's records, made once for each entity from its declaration.

A record's fields are columns: the key, dimensions and metrics. Current state is upserted, the last observation winning and an
unknown value never overwriting a known one; every observation is logged whole; what it changed is told to those who follow changes;
media URLs that are new are due as assets.
"""

import types
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Union, get_args, get_origin

import msgspec

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
SUBJECTS = {"profile_log": "profile_id", "post_log": "post_id"}


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
def write_records(entity: Entity) -> str:
    """One statement: fetches and what was read for each -> current state, log rows and assets due. All were observed now.

    Parameters: `platform`; the arrays `fetches`, `requests`, `sources`, `versions`; `records`, a JSON array of records for each
    fetch. JSON and not jsonb: it is read once, and building the tree would cost more than reading the text.
    """
    columns = column_types(entity)
    names = list(columns)
    others = [name for name in names if name != entity.key]
    dimensions = [name for name in others if name not in entity.metrics | entity.volatile]
    metrics = [name for name in others if name in entity.metrics]
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    updates = ", ".join(f"{name} = coalesce(excluded.{name}, t.{name})" for name in others)
    lasting = [name for name in others if name not in entity.volatile]
    known = ", ".join(f"t.{name}" for name in lasting)
    seen = ", ".join(f"coalesce(excluded.{name}, t.{name})" for name in lasting)
    assets = "\nUNION ALL ".join(
        f"SELECT {entity.key} AS entity_key, '{field}' AS field, {field} AS url FROM newest WHERE {field} IS NOT NULL"  # noqa: S608
        for field in entity.assets
    )
    due = f""", due AS (
    INSERT INTO asset_log (platform, entity, entity_key, field, url)
    SELECT %(platform)s, '{entity.table}', a.entity_key, a.field, a.url FROM ({assets}) a
    -- What is known already is not even locked: an upsert that changes nothing still writes.
    LEFT JOIN asset_log k ON k.platform = %(platform)s AND k.entity = '{entity.table}' AND k.entity_key = a.entity_key
        AND k.field = a.field AND split_part(k.url, '?', 1) = split_part(a.url, '?', 1)
    WHERE k.id IS NULL ORDER BY a.entity_key, a.field
    ON CONFLICT (platform, entity, entity_key, field) DO UPDATE SET url = excluded.url, status = 'PENDING'
    WHERE split_part(asset_log.url, '?', 1) <> split_part(excluded.url, '?', 1)
)"""  # noqa: S608 - every name comes from the platform's declaration, none from outside
    version = entity.version
    newest = f"{version} DESC NULLS LAST, " if version else ""
    not_older = f" AND coalesce(excluded.{version} >= t.{version}, true)" if version else ""
    return f"""
WITH g AS (
    SELECT * FROM unnest(%(fetches)s::bigint[], %(requests)s::bigint[], %(sources)s::text[], %(versions)s::integer[],
                         %(records)b::text[]) WITH ORDINALITY AS g(fetch_id, request_id, source, parser_version, records, i)
), r AS (
    SELECT r.*, g.source, g.parser_version, g.request_id, g.fetch_id, g.i
    FROM g CROSS JOIN LATERAL ROWS FROM (json_to_recordset(g.records::json) AS ({declared}))
        WITH ORDINALITY AS r({", ".join(names)}, n)
), newest AS (
    SELECT DISTINCT ON ({entity.key}) * FROM r ORDER BY {entity.key}, {newest}i DESC, n DESC
), current AS (
    INSERT INTO "{entity.table}" AS t ({", ".join(names)}, source, parser_version, request_id, observed_at, changed_at)
    SELECT {", ".join(names)}, source, parser_version, request_id, now(), now() FROM newest
    ON CONFLICT ({entity.key}) DO UPDATE SET {updates}, source = excluded.source, parser_version = excluded.parser_version,
        request_id = excluded.request_id, observed_at = excluded.observed_at,
        changed_at = CASE WHEN ROW({known}) IS DISTINCT FROM ROW({seen}) THEN excluded.observed_at ELSE t.changed_at END
    WHERE excluded.observed_at >= t.observed_at{not_older}
    RETURNING {entity.key} AS key, request_id, changed_at = observed_at AS changed
), told AS (
    INSERT INTO change_log (at, platform, kind, request_id, keys)
    SELECT now(), %(platform)s, '{entity.kind}', request_id, array_agg(key ORDER BY key) FROM current WHERE changed
    GROUP BY request_id ORDER BY request_id
){due if entity.assets else ""}
{_observations(entity, dimensions, metrics) if entity.log else "SELECT"}
"""  # noqa: S608 - as above


def _observations(entity: Entity, dimensions: list[str], metrics: list[str]) -> str:
    return f"""
INSERT INTO {entity.log} (observed_at, platform, {SUBJECTS[entity.log or ""]}, source, parser_version, request_id, fetch_id, dimensions, metrics)
SELECT now(), %(platform)s, {entity.subject or entity.key}, source, parser_version, request_id, fetch_id,
    {_object(dimensions)}, {_object(metrics)} FROM r
"""  # noqa: S608 - as above


def _object(names: list[str]) -> str:
    pairs = ", ".join(f"'{name}', {name}" for name in names)
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
