"""What an erasure does in each table: delete rows, take identifiers out of texts, or leave what belongs to customers and operators.

Derived from `places`. What a table needs beyond that is named here. A table that is added to `places` is covered at once: its rows are deleted if one of its
columns `subject` has the person, otherwise the person's identifiers are taken out of its columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.privacy.places import How, Place, how, places

CUSTOMERS = frozenset({"account_id", "owner", "tenant", "actor", "decided_by"})
"""Columns that name customers and operators, in whatever table."""
TEXTS: Mapping[str, tuple[str, ...]] = {
    "asset_denied": ("reason",),
    "credential": ("check_detail", "dead_reason", "disabled_reason", "denials"),
    "webhook_endpoint": ("last_error",),
    "notify_sink": ("last_error",),
}
"""Of these tables only some texts are looked through; the rest is a customer's own."""
FIRST = ("scrape_request_log", "scrape_fetch")
"""Requests end before what they left behind is looked through, and entities tell which things are the person's."""

_IN_DATA = "(t.data->>'platform' IS NULL OR t.data->>'platform' = %(platform)s)"
PLATFORM: Mapping[str, str] = {
    "event": _IN_DATA,
    "outbox_event": _IN_DATA,
    "webhook_delivery": _IN_DATA,
    "quarantine": "(t.platform IS NULL OR t.platform = %(platform)s)",
    **dict.fromkeys(("profile_log", "post_log", "change_log", "trace_log", "scrape_request_log", "scrape_fetch", "asset_log", "held_record", "settlement", "entity_base"), "t.platform = %(platform)s"),
}  # fmt: skip
"""Which rows can be about a person of a platform. Somebody else may have the same handle on another one."""

_THING = "SELECT key FROM erasure_thing WHERE erasure_id = %(erasure)s"
THINGS: Mapping[str, str] = {
    "post_log": f"t.post_id IN ({_THING})",
    "held_record": f"t.key IN ({_THING})",
    "restore_item": f"t.key IN ({_THING})",
    "entity_base": f"t.key IN ({_THING})",
    "entity_check": f"t.key IN ({_THING})",
    "asset_log": f"(t.entity_key IN ({_THING}) OR t.parent_key IN ({_THING}))",
    "change_log": f"EXISTS (SELECT FROM unnest(t.keys) k WHERE k IN ({_THING}))",
    "event": f"(t.data->>'key' IN ({_THING}) OR t.data ? 'keys' AND EXISTS (SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(t.data->'keys') WHEN 'array' THEN t.data->'keys' ELSE '[]' END) k WHERE k IN ({_THING})))",
    "scrape_request_log": f"EXISTS (SELECT FROM jsonb_each_text(t.params) p WHERE p.value IN ({_THING}))",
    "scrape_fetch": f"EXISTS (SELECT FROM jsonb_each_text(t.params) p WHERE p.value IN ({_THING}))",
}
"""Where a table names things of the person, such as posts, by their keys."""
WITH: Mapping[str, tuple[str, ...]] = {
    "scrape_request_log": ("id", "status", "live"),
    "scrape_fetch": ("id", "stage"),
    "asset_log": ("content",),
    "audit_log": ("id",),
    "post_log": ("post_id",),
    "quarantine": ("id",),
    "alert": ("id",),
}
"""Columns that are read beside the texts."""
TOLD = {"post_log": "dimensions", "held_record": "record", "restore_item": "before", "entity_base": "fields"}
"""Columns whose JSON says whose the row is."""
UNIQUE = {"scrape_request_log": "idempotency_key", "alert": "key"}
"""Columns in which no two rows may have the same: the row's id is added to what is left of it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`columns`: the texts that are looked through, and rewritten. `subject`: columns with an id or a name of the person. `things`: a condition for rows that
    name things of his. `platform`: a condition for rows that can be about his platform. `beside`: further columns that are read. `names`: columns and fields of JSON
    that have an id or a name and nothing else. `entity`: whose table it is."""

    table: str
    how: How
    columns: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    things: str = "false"
    platform: str = "true"
    beside: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    entity: Entity | None = field(default=None, hash=False)


@cache
def rules(platform: str) -> tuple[Rule, ...]:
    """What is done for a person of a platform, in this order. Tables of other platforms are left out, and those that are kept."""
    entities = {entity.table: entity for entity in known_platform(platform).entities}
    names = frozenset(name for one in entities.values() if one.personal is not None for name in one.personal.subject)
    found, last = list[Rule](), list[Rule]()
    for place in places():
        entity = entities.get(place.table)
        if how(place) in (How.PAYLOAD, How.KEPT) or (place.entity and entity is None):
            continue
        rule = _of_entity(place, entity) if entity is not None else _of_engine(place, names)
        (found if entity is not None or place.table in FIRST else last).append(rule)
    return (*found, *last)


def _of_entity(place: Place, entity: Entity) -> Rule:
    listed = [one.field for one in entity.lists]
    things = " OR ".join(f"t.{name} IN ({_THING})" for name in dict.fromkeys((entity.key, *listed))) or "false"
    columns = tuple(name for name in place.columns if name != entity.key)
    beside = (entity.key, *entity.names)
    names = frozenset(place.subject)
    return Rule(place.table, How.DELETED, columns, place.subject, f"({things})", "true", beside, names, entity)


def _of_engine(place: Place, names: frozenset[str]) -> Rule:
    columns = TEXTS.get(place.table) or tuple(name for name in place.columns if name not in CUSTOMERS)
    return Rule(
        place.table,
        how(place),
        columns,
        place.subject if how(place) is How.DELETED else (),
        THINGS.get(place.table, "false"),
        PLATFORM.get(place.table, "true"),
        WITH.get(place.table, ()),
        names,
    )
