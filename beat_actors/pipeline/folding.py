"""The fold of observations into the state of a thing: what an observation adds that is older than what is known. Does no I/O.

Each field has what the newest observation that tells it says. The statement in `entities` does this for newer observations. Here is the rest of it, for
those that come late. A row is as `to_jsonb` gives it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beat_actors.platforms.interface import Entity

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one record of an answer tells, and where it came from. `fields`: its values, as JSON has them. `nth`: its place in its answer. `hold`:
    the held record that was accepted."""

    at: datetime
    fetch: int
    nth: int
    source: str
    request: int
    parser: int
    build: int | None
    fields: Row
    empty: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    hold: int | None = None

    def tells(self, name: str) -> bool:
        return self.fields.get(name) is not None or name in self.empty

    def origin(self, entity: Entity) -> dict[str, Any]:
        """Where it came from, as `older` has it."""
        found = {
            "at": self.at.isoformat(),
            "source": self.source,
            "request": self.request,
            "fetch": self.fetch,
            "parser": self.parser,
            "build": self.build,
        }
        return found | ({"version": self.fields.get(entity.version)} if entity.version else {})


@dataclass(frozen=True, slots=True)
class Added:
    """What late observations add to a row. `values`: the columns that change. `changed`: the observations that brought another value."""

    values: dict[str, Any]
    changed: tuple[Observation, ...]


def add(entity: Entity, row: Row, late: Iterable[Observation]) -> Added | None:
    """What observations that are older than the last one of a row add to it; `None` where they tell nothing that no newer one tells."""
    known, empty, hidden = dict(row), set(row["empty"] or ()), set(row["hidden"] or ())
    older: dict[str, Any] = dict(row["older"] or {})
    values: dict[str, Any] = {}
    changed = []
    for one in sorted(late, key=lambda each: (each.at, each.fetch, each.nth), reverse=True):
        brought = False
        for name in entity.fields:
            if name == entity.key or not one.tells(name):
                continue
            is_known = known[name] is not None or name in empty
            if is_known and (name not in older or not _is_after(entity, one, older[name])):
                continue
            value = one.fields.get(name)
            brought |= value != known[name]
            known[name] = values[name] = value
            older[name] = one.origin(entity)
            for of, names in ((empty, one.empty), (hidden, one.hidden)):
                of.discard(name)
                if name in names:
                    of.add(name)
        if brought:
            changed.append(one)
    if older == (row["older"] or {}):
        return None
    state = {"older": older, "empty": sorted(empty) or None, "hidden": sorted(hidden) or None}
    return Added({**values, **state}, tuple(changed))


def _is_after(entity: Entity, one: Observation, origin: Row) -> bool:
    """Whether an observation is newer than that from which a field is known."""
    if entity.version:
        version, known = _time(one.fields.get(entity.version)), _time(origin.get("version"))
        if version is not None and known is not None and version != known:
            return version > known
    at = datetime.fromisoformat(origin["at"])
    return (one.at, one.fetch) > (at, origin["fetch"] or 0)


def _time(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None
