"""Compares the records that were stored of an answer with those that the parser of this checkout reads of it. Pure.

A record is compared in the form in which it is logged: metrics and dimensions, without what is unknown. What is not logged is counted only.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple, TypeAlias

import msgspec

from beat_actors.platforms.interface import Entity, Platform, Record

BEYOND = 0.01
"""A metric that changes by more than this share of its stored value counts against the threshold."""
EXAMPLES = 3
FIELDS, REASONS = 500, 50
"""Fields and reasons that are told apart at most."""

Fields: TypeAlias = Mapping[str, object]


class Observation(NamedTuple):
    """A record as a log has it. `what`: the kind of the thing where it is known, else the log. `key`: names it to people."""

    log: str
    subject: str
    what: str
    key: str
    metrics: Fields
    dimensions: Fields


class Example(msgspec.Struct, frozen=True):
    """One record of which a field changed. A value that is None was, or is, unknown."""

    key: str
    before: object
    after: object


class Change(msgspec.Struct, kw_only=True):
    """What changed of one field.

    `records`: those that have the field, before or now. `changed`: those that have another value; `added` and `removed`: those that have a value only
    now, or only had one before. `beyond`: those that count against the threshold. `largest`: the largest change of a number, as a share of
    the stored value; None where none changed, or where the stored value is 0.
    """

    field: str
    metric: bool
    records: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    beyond: int = 0
    largest: float | None = None
    examples: list[Example] = []

    @property
    def differs(self) -> int:
        return self.changed + self.added + self.removed

    @property
    def share(self) -> float:
        return self.differs / self.records if self.records else 0.0


class Tally:
    """The sum over all answers that were compared. Its size does not grow with their number."""

    def __init__(self) -> None:
        self.equal = self.changed = self.lost = self.gained = self.beyond = self.not_logged = 0
        self.fields: dict[str, Change] = {}
        self.lost_examples: list[str] = []
        self.gained_examples: list[str] = []

    @property
    def stored(self) -> int:
        """Records that were stored, and are compared."""
        return self.equal + self.changed + self.lost

    @property
    def share_beyond(self) -> float:
        return self.beyond / self.stored if self.stored else 0.0

    def compare(self, stored: Iterable[Observation], read: Iterable[Observation]) -> None:
        """Compare what one answer brought with what it would bring now."""
        groups: defaultdict[tuple[str, str], tuple[list[Observation], list[Observation]]] = defaultdict(
            lambda: ([], [])
        )
        for one in stored:
            groups[one.log, one.subject][0].append(one)
        for one in read:
            groups[one.log, one.subject][1].append(one)
        for before, after in groups.values():
            pairs, lost, gained = paired(before, after)
            for old, new in pairs:
                self._pair(old, new)
            self.lost += len(lost)
            self.gained += len(gained)
            _add(self.lost_examples, lost)
            _add(self.gained_examples, gained)

    def _pair(self, old: Observation, new: Observation) -> None:
        beyond = self._fields(new, old.metrics, new.metrics, metric=True)
        differs = old.metrics != new.metrics or old.dimensions != new.dimensions
        self._fields(new, old.dimensions, new.dimensions, metric=False)
        self.equal += not differs
        self.changed += differs
        self.beyond += beyond

    def _fields(self, new: Observation, before: Fields, after: Fields, *, metric: bool) -> bool:
        """Count the fields of a pair; whether a metric changed by so much that it counts against the threshold."""
        beyond = False
        for name in before.keys() | after.keys():
            change = self._change(f"{new.what}.{name}", metric)
            old, value = before.get(name), after.get(name)
            change.records += 1
            if old == value:
                continue
            size = relative(old, value) if metric else None
            change.changed += old is not None and value is not None
            change.added += old is None
            change.removed += value is None
            if size is not None and math.isfinite(size):
                change.largest = max(size, change.largest or 0.0)
            # A number that is no longer read is worse than one that changed. One that is read in addition takes nothing away.
            if metric and old is not None and (size is None or size > BEYOND):
                beyond = True
                change.beyond += 1
            if len(change.examples) < EXAMPLES:
                change.examples = [*change.examples, Example(new.key, old, value)]
        return beyond

    def _change(self, field: str, metric: bool) -> Change:
        if field not in self.fields and len(self.fields) >= FIELDS:
            field = "other fields"
        return self.fields.setdefault(field, Change(field=field, metric=metric))


class Reasons:
    """Why payloads or records could not be read, with how often and an example. Rare ones beyond `REASONS` are counted together."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, int] = {}

    def add(self, reason: str, fetch_id: int) -> None:
        if reason not in self.counts and len(self.counts) >= REASONS:
            reason = "other reasons"
        self.counts[reason] += 1
        self.examples.setdefault(reason, fetch_id)


Pair = tuple[Observation, Observation]


def paired(
    before: Sequence[Observation], after: Sequence[Observation]
) -> tuple[list[Pair], list[Observation], list[Observation]]:
    """The records of one subject by pairs, those that are only stored, and those that are only read.

    An answer may have a subject several times: insights are logged under their post, and a list may name a post twice. What is equal is one pair,
    then what has the same dimensions, then what is left in its order.
    """
    if len(before) == len(after) == 1:
        return [(before[0], after[0])], [], []
    pairs: list[Pair] = []
    old, new = list(before), list(after)
    for same in (_equal, _same_dimensions):
        for one in list(old):
            found = next((each for each in new if same(one, each)), None)
            if found is not None:
                pairs.append((one, found))
                old.remove(one)
                new.remove(found)
    both = min(len(old), len(new))
    pairs += zip(old[:both], new[:both], strict=True)
    return pairs, old[both:], new[both:]


def _equal(one: Observation, other: Observation) -> bool:
    return one.metrics == other.metrics and one.dimensions == other.dimensions


def _same_dimensions(one: Observation, other: Observation) -> bool:
    return one.dimensions == other.dimensions


def relative(before: object, after: object) -> float | None:
    """By which share of the stored number it changes; infinite where it was 0, None where one of the two is no number."""
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return None
    return abs(after - before) / abs(before) if before else math.inf


class Names(NamedTuple):
    """The fields of an entity that are logged."""

    metrics: tuple[str, ...]
    dimensions: tuple[str, ...]


@cache
def names_of(entity: Entity) -> Names:
    others = [name for name in entity.fields if name != entity.key]
    return Names(
        tuple(name for name in others if name in entity.metrics),
        tuple(name for name in others if name not in entity.metrics | entity.volatile),
    )


def observation(platform: Platform, record: Record) -> Observation | None:
    """A record in the form in which it is logged; None where things of its kind are not logged."""
    entity = platform.entity_of(record)
    if entity.log is None:
        return None
    names, key = names_of(entity), str(getattr(record, entity.key))
    subject = key if entity.subject is None else str(getattr(record, entity.subject))
    metrics, dimensions = _known(record, names.metrics), _known(record, names.dimensions)
    return Observation(entity.log, subject, entity.kind, key, metrics, dimensions)


def _known(record: Record, names: Iterable[str]) -> Fields:
    return {name: _logged(value) for name in names if (value := getattr(record, name)) is not None}


def _logged(value: object) -> object:
    """A value as it comes back from the log."""
    if isinstance(value, datetime):
        at = value.astimezone(UTC)
        fraction = f".{at.microsecond:06d}".rstrip("0") if at.microsecond else ""
        return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}+00:00"
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str | int | float):
        return value
    return _without_nulls(msgspec.to_builtins(value))


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def _add(examples: list[str], more: Iterable[Observation]) -> None:
    for one in more:
        if len(examples) == EXAMPLES:
            return
        examples.append(f"{one.what} {one.key}")
