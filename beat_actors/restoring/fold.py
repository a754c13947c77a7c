"""The fold of a log into the state of an entity: of each field, the value of the newest observation that tells it. Pure.

Values stay JSON texts as the log has them, so nothing is lost on the way back into a row. Observations and values refer to nothing that refers to them, so
the garbage collector need not look at them: a chunk has thousands.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

Raw = msgspec.Raw
NULL = b"null"
_DECODER = msgspec.json.Decoder(dict[str, Raw])


class Observation(msgspec.Struct, gc=False):
    """A row of a log. `metrics`, `dimensions`: JSON texts. `bad`: it is left out of the fold. `is_state`: its fetch told the entity once, or this is
    the last of several things that it told."""

    observed_at: datetime
    fetch_id: int
    source: str
    parser_version: int
    request_id: int
    metrics: str
    dimensions: str
    bad: bool = False
    is_state: bool = True
    _told: dict[str, bytes] | None = None

    @property
    def order(self) -> tuple[datetime, int, bool]:
        return (self.observed_at, self.fetch_id, self.is_state)

    @property
    def told(self) -> Mapping[str, bytes]:
        """The fields that it tells, each with its value as JSON."""
        if self._told is None:
            told = {name: bytes(value) for name, value in _DECODER.decode(self.dimensions).items()}
            for name, value in _DECODER.decode(self.metrics).items():
                told[name] = bytes(value)
            self._told = told
        return self._told


class Value(msgspec.Struct, gc=False):
    """A field's value as JSON, and since when the log has it without a break: the time of the oldest observation of the run that was read. `of`: the
    observation that tells it; None where it is kept from before the log begins. `goes_on`: no older observation tells another value."""

    value: bytes
    at: datetime
    since: datetime
    of: Observation | None = None
    goes_on: bool = True


@dataclass(frozen=True, slots=True)
class Base:
    """The last good state of an entity before the log: of fields that no kept row tells."""

    fields: Mapping[str, Value]
    observed_at: datetime
    source: str
    parser_version: int
    request_id: int


@dataclass(slots=True)
class Folded:
    """The fold of what was read. `fields`: those that a good observation tells. `newest`: the newest good observation, or the base where there is
    none. `affected`: fields that bad observations tell, `first_bad`: when the first of them was made."""

    fields: dict[str, Value] = field(default_factory=dict)
    newest: Observation | Base | None = None
    affected: set[str] = field(default_factory=set)
    first_bad: datetime | None = None
    bad_requests: set[int] = field(default_factory=set)

    def lacks(self, names: Collection[str]) -> set[str]:
        return {name for name in names if name not in self.fields}


def newest_first(observations: Iterable[Observation]) -> list[Observation]:
    return sorted(observations, key=lambda one: one.order, reverse=True)


def fold(observations: Sequence[Observation], base: Base | None = None) -> Folded:
    """Fold observations, newest first. `base` is older than all of them."""
    found = Folded()
    for one in observations:
        if one.bad:
            found.affected |= one.told.keys()
            found.first_bad = one.observed_at
            found.bad_requests.add(one.request_id)
            continue
        if found.newest is None:
            found.newest = one
        _take(found, one)
    if base is not None:
        found.newest = found.newest or base
        for name, value in base.fields.items():
            found.fields.setdefault(name, value)
    return found


def _take(found: Folded, one: Observation) -> None:
    fields, at = found.fields, one.observed_at
    for name, value in one.told.items():
        known = fields.get(name)
        if known is None:
            fields[name] = Value(value, at, at, one)
        elif known.goes_on:
            if known.value == value:
                known.since = at
            else:
                known.goes_on = False
