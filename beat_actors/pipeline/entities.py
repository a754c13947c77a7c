"""The SQL that writes a platform's records, made once for each entity from its declaration.

A record's fields are columns: the key, dimensions and metrics. Current state is upserted. The last observation wins, whichever order
observations are written in: each carries the time at which its answer came, and an older one that is written later only adds what
no newer one has told. An unknown value never overwrites a known one. Every observation is logged whole. What it changed goes to the change log. Media URLs
that are new become assets to store.

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
    """One statement: fetches and what was read for each -> current state, log rows and assets due.

    Parameters: `platform`; the arrays `fetches`, `requests`, `accounts`, `owners`, `observed` (when each answer came), `sources`,
    `versions`; `records`, a JSON array of records for each fetch. JSON and not jsonb: it is read once, and building the tree would cost more than reading the text.
    """
    columns = column_types(entity)
    names = list(columns)
    others = [name for name in names if name != entity.key]
    dimensions = [name for name in others if name not in entity.metrics | entity.volatile]
    metrics = [name for name in others if name in entity.metrics]
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
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
    adds = " OR ".join(f"(t.{name} IS NULL AND excluded.{name} IS NOT NULL)" for name in others) or "false"
    lasting = [name for name in others if name not in entity.volatile]
    known = ", ".join(f"t.{name}" for name in lasting)
    seen = ", ".join(f"coalesce(excluded.{name}, t.{name})" for name in lasting)
    assets = "\nUNION ALL ".join(
        f"(SELECT DISTINCT ON ({entity.key}, owner) {entity.key} AS entity_key, owner, '{field}' AS field, {field} AS url "  # noqa: S608
        f"FROM newest WHERE {field} IS NOT NULL ORDER BY {entity.key}, owner, observed_at DESC, i DESC)"
        for field in entity.assets
    )
    due = f""", due AS (
    INSERT INTO asset_log (platform, entity, entity_key, field, owner, url)
    SELECT %(platform)s, '{entity.table}', a.entity_key, a.field, a.owner, a.url FROM ({assets}) a
    -- What is known already is not even locked: an upsert that changes nothing still writes.
    LEFT JOIN asset_log k ON k.platform = %(platform)s AND k.entity = '{entity.table}' AND k.entity_key = a.entity_key
        AND k.field = a.field AND k.owner = a.owner AND split_part(k.url, '?', 1) = split_part(a.url, '?', 1)
    WHERE k.id IS NULL ORDER BY a.entity_key, a.field, a.owner
    ON CONFLICT (platform, entity, entity_key, field, owner) DO UPDATE SET url = excluded.url, status = 'PENDING'
    WHERE split_part(asset_log.url, '?', 1) <> split_part(excluded.url, '?', 1)
)"""  # noqa: S608 - every name comes from the platform's declaration, none from outside
    newest = f"{version} DESC NULLS LAST, " if version else ""
    return f"""
WITH g AS (
    SELECT * FROM unnest(%(fetches)s::bigint[], %(requests)s::bigint[], %(accounts)s::text[], %(owners)s::text[],
        %(observed)s::timestamptz[], %(sources)s::text[], %(versions)s::integer[], %(records)b::text[])
        WITH ORDINALITY AS g(fetch_id, request_id, account_id, owner, observed_at, source, parser_version, records, i)
), r AS (
    SELECT r.*, g.source, g.parser_version, g.request_id, g.account_id, g.owner, g.observed_at, g.fetch_id, g.i
    FROM g CROSS JOIN LATERAL ROWS FROM (json_to_recordset(g.records::json) AS ({declared}))
        WITH ORDINALITY AS r({", ".join(names)}, n)
), newest AS (
    SELECT DISTINCT ON ({entity.key}, account_id, owner) * FROM r ORDER BY {entity.key}, account_id, owner, {newest}observed_at DESC, i DESC, n DESC
), current AS (
    INSERT INTO "{entity.table}" AS t ({", ".join(names)}, account_id, owner, source, parser_version, request_id, observed_at, changed_at)
    SELECT {", ".join(names)}, account_id, owner, source, parser_version, request_id, observed_at, observed_at FROM newest
    ON CONFLICT ({entity.key}, account_id, owner) DO UPDATE SET {updates},
        source = CASE WHEN {newer} THEN excluded.source ELSE t.source END,
        parser_version = CASE WHEN {newer} THEN excluded.parser_version ELSE t.parser_version END,
        request_id = CASE WHEN {newer} THEN excluded.request_id ELSE t.request_id END,
        observed_at = greatest(excluded.observed_at, t.observed_at),
        changed_at = CASE WHEN NOT ({newer}) OR ROW({known}) IS DISTINCT FROM ROW({seen}) THEN greatest(excluded.observed_at, t.observed_at)
                          ELSE t.changed_at END
    WHERE {newer} OR {adds}
    RETURNING {entity.key} AS key, request_id, account_id, owner, changed_at = observed_at AS changed
), told AS (
    INSERT INTO change_log (at, platform, kind, request_id, account_id, owner, keys)
    SELECT now(), %(platform)s, '{entity.kind}', request_id, account_id, owner, array_agg(key ORDER BY key) FROM current WHERE changed
    GROUP BY request_id, account_id, owner ORDER BY request_id
){due if entity.assets else ""}
{_observations(entity, dimensions, metrics) if entity.log else "SELECT"}
"""  # noqa: S608 - as above


def _observations(entity: Entity, dimensions: list[str], metrics: list[str]) -> str:
    return f"""
INSERT INTO {entity.log} (observed_at, platform, {SUBJECTS[entity.log or ""]}, account_id, owner, source, parser_version, request_id, fetch_id, dimensions, metrics)
SELECT observed_at, %(platform)s, {entity.subject or entity.key}, account_id, owner, source, parser_version, request_id, fetch_id,
    {_object(dimensions)}, {_object(metrics)} FROM r
"""  # noqa: S608 - as above


def _object(names: list[str]) -> str:
    pairs = ", ".join(f"'{name}', {name}" for name in names)
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
