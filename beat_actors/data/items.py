"""One thing, of the rows of it that a reader sees: each field from the row that knows it from the newer observation. Does no I/O."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors.assets.serving.links import MediaLink


class Observed(NamedTuple):
    """What every thing's row says of its last observation, and of the fields. `age`: seconds since it. `score`: how plausible
    the gate found it. `held`: a `HeldNote` as JSON."""

    source: str
    observed_at: datetime
    changed_at: datetime | None
    request_id: int
    observed_fetch: int | None
    parser_version: int
    build_id: int | None
    empty: list[str] | None
    hidden: list[str] | None
    older: dict[str, dict[str, Any]] | None
    age: float
    score: int | None
    held: str | None


class Origin(NamedTuple):
    """The observation that a field is known from. `build`: the number of the parser's build; None where a process of an earlier version wrote it."""

    at: datetime
    source: str
    request: int
    fetch: int | None
    parser: int
    build: int | None


class FieldOrigin(msgspec.Struct, frozen=True):
    """When a field was observed last, and who said it."""

    as_of: datetime
    source: str


class HeldNote(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a thing that has to be confirmed before it is written; until then the values that were known are served. `fields`: those that are
    held; an empty name: the whole record. `rules`: which rules hold it. `state`: asking (another source is asked), waiting (it is asked again at
    `next_at`), or person (a person has to decide)."""

    fields: list[str]
    rules: list[str]
    since: datetime
    state: str
    next_at: datetime | None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: dimensions and metrics, those that are known. `as_of` is when it was observed last; `changed_at` since when it is so,
    `None` where it has not changed since that is kept. `age`: seconds since `as_of`. `media`: what is known of its media fields, where those have
    links to assets (`data/media`). `empty`: the fields that are known to have no value; `hidden`: counts of them that their owner hides. `score`: how plausible the last observation is, 0 to 100,
    `None` where it was not judged. `held`: where a newer record has to be confirmed. `older`: the fields that the last observation did not tell, and where they are known from; `origin`: where the others are known from."""

    fields: Mapping[str, Any]
    as_of: datetime
    changed_at: datetime | None
    source: str
    age: float
    score: int | None = None
    held: HeldNote | None = None
    media: Mapping[str, MediaLink] | None = None
    empty: Sequence[str] = ()
    hidden: Sequence[str] = ()
    older: Mapping[str, Origin] = {}
    origin: Origin | None = None

    def field_origins(self) -> dict[str, FieldOrigin]:
        """Of the fields that are not as new as the thing."""
        return {name: FieldOrigin(one.at, one.source) for name, one in self.older.items()}


HELD = msgspec.json.Decoder(HeldNote)
Row = tuple[Sequence[Any], Observed]
"""The values of the fields in their order, and what the row says of its last observation."""


def combined(names: Sequence[str], newest: Row, before: Row | None) -> Item:
    """The thing of the row that was observed last and of the one observed before it, if there is one."""
    values, observed = newest
    empty, hidden = set(observed.empty or ()), set(observed.hidden or ())
    older = {name: _origin(said) for name, said in (observed.older or {}).items()}
    fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if before is not None:
        known, of = before
        other = {name: _origin(said) for name, said in (of.older or {}).items()}
        for name, value in zip(names, known, strict=True):
            if value is None and name not in (of.empty or ()):
                continue
            origin = other.get(name) or own(of)
            is_known = name in fields or name in empty
            if is_known and (name not in older or older[name].at >= origin.at):
                continue
            fields.pop(name, None)
            if value is not None:
                fields[name] = value
            older[name] = origin
            for names_of, said in ((empty, of.empty), (hidden, of.hidden)):
                names_of.discard(name)
                if name in (said or ()):
                    names_of.add(name)
    return Item(
        fields=fields,
        as_of=observed.observed_at,
        changed_at=observed.changed_at,
        source=observed.source,
        age=max(observed.age, 0.0),
        score=observed.score,
        held=None if observed.held is None else HELD.decode(observed.held),
        empty=sorted(empty),
        hidden=sorted(hidden),
        older=older,
        origin=own(observed),
    )


def own(row: Observed) -> Origin:
    """Where the fields are known from that the last observation told."""
    return Origin(row.observed_at, row.source, row.request_id, row.observed_fetch, row.parser_version, row.build_id)


def _origin(said: Mapping[str, Any]) -> Origin:
    at = datetime.fromisoformat(said["at"])
    return Origin(at, said["source"], said["request"], said["fetch"], said["parser"], said["build"])
