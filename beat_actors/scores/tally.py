"""What one process has counted since it last added it to the table. Does no I/O.

A process that dies loses what it has counted in the last minute: a scorecard compares thousands of calls, and is no ledger.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import msgspec

from beat_actors.platforms.interface import Outcome, Record

STEPS: tuple[float, ...] = tuple(100.0 * float(2**n) for n in range(9))
"""Milliseconds up to which the classes of `times` go; the last class is all above."""
DOWN = frozenset({Outcome.UPSTREAM_DOWN, Outcome.UNKNOWN})
ABSENT = frozenset({Outcome.MISSING, Outcome.PRIVATE, Outcome.UNSEEN})


class Counted(msgspec.Struct, kw_only=True):
    """The sums of one operation of a source; the table `source_score` explains them."""

    platform: str
    source: str
    operation: str
    calls: int = 0
    good: int = 0
    down: int = 0
    refused: int = 0
    absent: int = 0
    read: int = 0
    malformed: int = 0
    records: int = 0
    filled: int = 0
    fillable: int = 0
    held: int = 0
    impossible: int = 0
    refuted: int = 0
    ms: float = 0.0
    times: list[int] = msgspec.field(default_factory=lambda: [0] * (len(STEPS) + 1))


class Filling(msgspec.Struct, frozen=True):
    """How many records an answer had, and how many of their optional fields were filled."""

    records: int
    filled: int
    fillable: int


def filling(records: Sequence[Record]) -> Filling:
    filled = fillable = 0
    for record in records:
        values = msgspec.structs.astuple(record)
        # A required field is never None, so every None is an optional field that was not told.
        optional = _optional(type(record))
        fillable += optional
        filled += optional - values.count(None)
    return Filling(len(records), filled, fillable)


@cache
def _optional(record: type[Record]) -> int:
    """How many fields of a thing may be left out. What every record says of its fields is none of the thing's."""
    of_records = {one.name for one in msgspec.structs.fields(Record)}
    return sum(not one.required and one.name not in of_records for one in msgspec.structs.fields(record))


@dataclass(slots=True)
class Tally:
    """Counts by platform, source and operation: as many entries as the platforms declare."""

    _counted: dict[tuple[str, str, str], Counted] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._counted)

    def called(self, platform: str, source: str, operation: str, outcome: Outcome, ms: float) -> None:
        """A call was made."""
        of = self._of(platform, source, operation)
        of.calls += 1
        if outcome is Outcome.OK:
            of.good += 1
            of.ms += ms
            of.times[bisect_left(STEPS, ms)] += 1
        elif outcome in DOWN:
            of.down += 1
        elif outcome in ABSENT:
            of.absent += 1
        elif outcome is Outcome.MALFORMED:
            of.malformed += 1
        else:
            of.refused += 1

    def read(self, platform: str, source: str, operation: str, found: Filling) -> None:
        """The parser read an answer."""
        of = self._of(platform, source, operation)
        of.read += 1
        of.records += found.records
        of.filled += found.filled
        of.fillable += found.fillable

    def unread(self, platform: str, source: str, operation: str, outcome: Outcome) -> None:
        """The parser found nothing in an answer, or could not read it."""
        of = self._of(platform, source, operation)
        if outcome in ABSENT:
            of.absent += 1
        else:
            of.malformed += 1

    def judged(
        self, platform: str, source: str, operation: str, *, held: int = 0, impossible: int = 0, refuted: int = 0
    ) -> None:
        """The gate held or rejected records, or another source refuted held ones."""
        if held or impossible or refuted:
            of = self._of(platform, source, operation)
            of.held += held
            of.impossible += impossible
            of.refuted += refuted

    def take(self) -> list[Counted]:
        """All of it, which begins anew."""
        counted, self._counted = self._counted, {}
        return list(counted.values())

    def put_back(self, rows: Sequence[Counted]) -> None:
        """Count what could not be added to the table."""
        for row in rows:
            of = self._of(row.platform, row.source, row.operation)
            for name in row.__struct_fields__[3:-1]:
                setattr(of, name, getattr(of, name) + getattr(row, name))
            of.times = [a + b for a, b in zip(of.times, row.times, strict=True)]

    def _of(self, platform: str, source: str, operation: str) -> Counted:
        found = self._counted.get((platform, source, operation))
        if found is None:
            found = self._counted[platform, source, operation] = Counted(
                platform=platform, source=source, operation=operation
            )
        return found


TALLY = Tally()
"""That of this process."""
