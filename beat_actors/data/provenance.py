"""Where each field of a thing is known from: the observation, its request and fetch, and the parser of a version of Beat."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from beat_actors.access.reader import OPERATOR, Reader
from beat_actors.data import reading
from beat_actors.data.items import Item, Origin
from beat_actors.database import Statements, Transaction
from beat_actors.errors import NotFound, UnknownName
from beat_actors.platforms.interface import Entity, Platform
from beat_actors.shapes import one_of

KNOWN, EMPTY, HIDDEN, UNKNOWN = "known", "empty", "hidden", "unknown"


class FieldProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """A field. `state`: `empty`, a source says that there is no value; `hidden`, the owner hides the count; `unknown`, no source has told it, so that the
    rest is null. `operation` and `software` (the version of Beat that read the answer) are null where an earlier version wrote the row."""

    state: Annotated[str, one_of((KNOWN, EMPTY, HIDDEN, UNKNOWN))]
    value: Any
    observed_at: datetime | None = None
    request: int | None = None
    fetch: int | None = None
    source: str | None = None
    operation: str | None = None
    parser_version: int | None = None
    software: str | None = None


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """A thing, field by field."""

    platform: str
    kind: str
    id: str
    fields: dict[str, FieldProvenance]


class Build(NamedTuple):
    """A parser of a version of Beat."""

    id: int
    operation: str
    software: str


SQL = Statements(__file__)
BUILDS = SQL("builds", Build)


async def provenance(
    transaction: Transaction,
    platform: Platform,
    entity: Entity,
    name: str,
    *,
    field: str | None = None,
    reader: Reader = OPERATOR,
) -> Provenance:
    """Of all fields, or of one. Two statements. Raises `UnknownName` for a field that the thing does not have, and `NotFound`."""
    if field is not None and field not in entity.fields:
        raise UnknownName(
            f"{entity.kind} have no field {field[:80]!r}; they have {', '.join(entity.fields)}", field="field"
        )
    item = await reading.find(transaction, platform, entity, name, reader=reader)
    if item is None:
        raise NotFound(f"nothing is known of {name[:80]!r} among the {entity.kind} of {platform.name}")
    names = entity.fields if field is None else (field,)
    ids = sorted({one.build for one in _origins(item) if one.build is not None})
    builds = {build.id: build for build in await transaction.rows(BUILDS, {"ids": ids})}
    fields = {name: _field(item, name, builds) for name in names}
    return Provenance(platform=platform.name, kind=entity.kind, id=str(item.fields[entity.key]), fields=fields)


def _origins(item: Item) -> Iterable[Origin]:
    return (*item.older.values(), *([item.origin] if item.origin else []))


def _field(item: Item, name: str, builds: Mapping[int, Build]) -> FieldProvenance:
    value = item.fields.get(name)
    state = KNOWN if value is not None else HIDDEN if name in item.hidden else EMPTY if name in item.empty else UNKNOWN
    origin = item.older.get(name, item.origin)
    if state == UNKNOWN or origin is None:
        return FieldProvenance(state=state, value=value)
    build = builds.get(origin.build) if origin.build is not None else None
    return FieldProvenance(
        state=state,
        value=value,
        observed_at=origin.at,
        request=origin.request,
        fetch=origin.fetch,
        source=origin.source,
        operation=build.operation if build else None,
        parser_version=origin.parser,
        software=build.software if build else None,
    )
