"""What a fold means for the row of an entity. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar

import msgspec

from beat_actors.pipeline.entities import column_types
from beat_actors.platforms.interface import Entity
from beat_actors.restoring.fold import NULL, Folded, Observation

PROVENANCE = ("source", "parser_version", "request_id", "observed_at")
FORGOTTEN = ("dimensions_hash", "dimensions_at", "dimensions_fetch", "trust", "trust_score", "trust_reasons")
"""Columns that follow from the observation that a row had: the next observation is logged whole, and the gate learns anew."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a row gets: JSON by column. `removed`: it goes, because nothing but bad observations tells of it."""

    values: Mapping[str, bytes]
    removed: bool = False

    @property
    def text(self) -> str:
        """As a JSON object."""
        return (
            b"{" + b",".join([b'"%s":%s' % (name.encode(), value) for name, value in self.values.items()]) + b"}"
        ).decode()


@cache
def required_names(entity: Entity) -> frozenset[str]:
    """The fields that every record has, so that their columns are never empty."""
    return frozenset(field.name for field in msgspec.structs.fields(entity.record) if field.required)


@cache
def logged_names(entity: Entity) -> frozenset[str]:
    """The fields of an entity that its log has."""
    return frozenset(column_types(entity)) - entity.volatile - {entity.key}


def change_of(entity: Entity, row: Mapping[str, msgspec.Raw], folded: Folded, names: Collection[str]) -> Change:
    """Set these fields of a row to the fold. Those that no good observation tells become unknown, unless every record
    has them. `row`: as it is now.

    A row stays, without these fields, where it has others that no bad observation tells: it was known before its log begins.
    """
    wanted = logged_names(entity) & set(names)
    if folded.newest is None and not _known_before(entity, row, folded):
        return Change({}, removed=True)
    required = required_names(entity)
    values = {
        name: folded.fields[name].value if name in folded.fields else NULL
        for name in sorted(wanted)
        if name in folded.fields or name not in required
    }
    newest = folded.newest
    if newest is not None:
        values["source"] = msgspec.json.encode(newest.source)
        values["parser_version"] = b"%d" % newest.parser_version
        values["request_id"] = b"%d" % newest.request_id
        values["observed_at"] = time(newest.observed_at)
    elif folded.first_bad is not None:
        values["observed_at"] = time(folded.first_bad - timedelta(microseconds=1))
    values |= _origins(entity, row, folded)
    values["changed_at"] = _changed_at(row, folded, wanted, values["observed_at"])
    return Change(values)


K = TypeVar("K")


def known_in(entity: Entity, rows: Mapping[K, Mapping[str, msgspec.Raw]]) -> dict[K, list[str]]:
    """The logged fields that each of these rows has a value of."""
    names = sorted(logged_names(entity))
    return {key: [name for name in names if bytes(row.get(name, NULL)) != NULL] for key, row in rows.items()}


def time(at: datetime) -> bytes:
    return f'"{at.isoformat()}"'.encode()


def _known_before(entity: Entity, row: Mapping[str, msgspec.Raw], folded: Folded) -> bool:
    return any(name in row and bytes(row[name]) != NULL for name in logged_names(entity) - folded.affected)


def _origins(entity: Entity, row: Mapping[str, msgspec.Raw], folded: Folded) -> dict[str, bytes]:
    """Columns that say of each field where it came from and whether it is known to be empty, where the table has them."""
    newest, names = folded.newest, logged_names(entity)
    found: dict[str, bytes] = {}
    if "observed_fetch" in row:
        found["observed_fetch"] = b"%d" % newest.fetch_id if isinstance(newest, Observation) else NULL
        found["build_id"] = NULL
    if "older" in row:
        before = {} if bytes(row["older"]) == NULL else msgspec.json.decode(row["older"], type=dict[str, msgspec.Raw])
        older = {name: one for name, one in before.items() if name not in folded.fields}
        older |= {
            name: msgspec.Raw(_origin(one.of))
            for name, one in folded.fields.items()
            if name in names and one.of is not None and one.of is not newest
        }
        found["older"] = msgspec.json.encode(older) if older else NULL
    if "empty" in row and "hidden" in row:
        told = {name for name, one in folded.fields.items() if one.value == NULL and name in names}
        empty = sorted(told | _kept_names(row, "empty", folded))
        found["empty"] = msgspec.json.encode(empty) if empty else NULL
        hidden = sorted(set(empty) & _names(row["hidden"]))
        found["hidden"] = msgspec.json.encode(hidden) if hidden else NULL
    return found


def _kept_names(row: Mapping[str, msgspec.Raw], column: str, folded: Folded) -> set[str]:
    return _names(row[column]) - folded.fields.keys() - folded.affected


def _names(column: msgspec.Raw) -> set[str]:
    return set() if bytes(column) == NULL else msgspec.json.decode(column, type=set[str])


def _origin(one: Observation) -> bytes:
    """As the column `older` has it."""
    parts = {
        "at": one.observed_at,
        "source": one.source,
        "request": one.request_id,
        "fetch": one.fetch_id,
        "parser": one.parser_version,
        "build": None,
    }
    return msgspec.json.encode(parts)


def _changed_at(row: Mapping[str, msgspec.Raw], folded: Folded, wanted: Collection[str], observed_at: bytes) -> bytes:
    """Since when it is so: when the last of these fields took its value, or earlier than that where others did."""
    was = bytes(row.get("changed_at", NULL))
    if was != NULL and folded.first_bad is not None and msgspec.json.decode(was, type=datetime) < folded.first_bad:
        return was
    taken = [folded.fields[name].since for name in wanted if name in folded.fields]
    return time(max(taken)) if taken else observed_at
