"""The JSON Schema of each type and major version of event data, and what a change of one breaks for consumers.

Schemas allow fields that they do not name: a consumer that validates with an older schema accepts events of a newer release.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from beat_actors.events.catalog import EVENTS, EventType

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{name}"
SAID = frozenset({"title", "description", "examples", "$schema", "$id", "$defs"})
"""Keywords that say nothing of what a value may be."""
Schema = Mapping[str, Any]


def schema(event: EventType, major: int) -> dict[str, Any]:
    """The schema of the data of a type's major version, draft 2020-12, complete in itself."""
    kind = event.payloads[major - 1]
    _, parts = msgspec.json.schema_components([kind], ref_template=REF)
    whole = parts.pop(kind.__name__)
    made = {"$schema": DIALECT, "$id": f"/schemas/{event.name}/{major}", **whole, "title": event.name}
    return made | {"$defs": parts} if parts else made


def schemas() -> dict[tuple[str, int], dict[str, Any]]:
    """Every schema, by the name of the type and the major version."""
    return {
        (event.name, major): schema(event, major)
        for event in EVENTS.values()
        for major in range(1, len(event.payloads) + 1)
    }


def breaks(old: Schema, new: Schema) -> list[str]:
    """What a consumer that was written for `old` may trip over in data of `new`, or that one written for `new` may trip over in older data, which are
    kept and replayed; in sentences, none if only optional fields were added."""
    return list(_breaks(old, new, old, new, ""))


def _breaks(old: Schema, new: Schema, of_old: Schema, of_new: Schema, place: str) -> Iterator[str]:
    """`of_old`, `of_new`: the whole schemas, for their `$defs`. `place`: where the two stand in them."""
    before, after = _kinds(old, of_old), _kinds(new, of_new)
    at = place or "the data"
    if before.keys() != after.keys():
        yield f"{at}: {_or(before)} became {_or(after)}"
    for kind in before.keys() & after.keys():
        yield from _changes(before[kind], after[kind], of_old, of_new, place)


def _changes(old: Schema, new: Schema, of_old: Schema, of_new: Schema, place: str) -> Iterator[str]:
    """As `_breaks`, for two schemas of one type of JSON values."""
    at = place or "the data"
    held, fields = old.get("properties", {}), new.get("properties", {})
    for name, field in held.items():
        inner = f"{place}.{name}".lstrip(".")
        if name not in fields:
            yield f"{inner} was removed"
        else:
            yield from _breaks(field, fields[name], of_old, of_new, inner)
    must, musts = set(old.get("required", ())), set(new.get("required", ()))
    yield from (f"{place}.{name}".lstrip(".") + " is optional now" for name in sorted((must - musts) & fields.keys()))
    yield from (f"{place}.{name}".lstrip(".") + " is required now" for name in sorted(musts - must))
    if set(old.get("enum", ())) != set(new.get("enum", ())):
        yield f"{at}: the values {_or(old.get('enum', ()))} became {_or(new.get('enum', ()))}"
    for part in ("items", "additionalProperties"):
        was, becomes = old.get(part, True), new.get(part, True)
        if isinstance(was, Mapping) and isinstance(becomes, Mapping):
            yield from _breaks(was, becomes, of_old, of_new, f"{place}[]")
        elif was != becomes:
            yield f"{at}: `{part}` has changed"
    known = SAID | {"type", "properties", "required", "enum", "items", "additionalProperties"}
    for rule in sorted((old.keys() | new.keys()) - known):
        if old.get(rule) != new.get(rule):
            yield f"{at}: `{rule}` has changed"


def _kinds(part: Schema, whole: Schema) -> dict[str, Schema]:
    """The types of JSON values that a schema allows, each with its own schema; `any` where it names none."""
    if "$ref" in part:
        return _kinds(whole["$defs"][part["$ref"].removeprefix(REF.format(name=""))], whole)
    if "anyOf" in part:
        return {kind: found for each in part["anyOf"] for kind, found in _kinds(each, whole).items()}
    return {part.get("type", "any"): part}


def _or(words: Iterable[object]) -> str:
    return " or ".join(sorted(map(str, words))) or "any"
