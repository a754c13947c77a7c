"""What is counted of the observations of a source, operation and parser version, and what follows for the records that are held of it.

Normal observations are counted in the process, and are written with the next unusual one, or once they are 200. So a normal day costs next to nothing, and
an incident is counted exactly: the transaction that holds a record has locked its cohort.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from beat_actors.database import Statements, Transaction
from beat_actors.holds.canaries import is_canary
from beat_actors.holds.records import HeldRecord
from beat_actors.trust.breaker import DataBreaker
from beat_actors.trust.cohort import Cause, Cohort
from beat_actors.trust.counting import WINDOW
from beat_actors.trust.gate import NORMAL, Widened

LOOKED_AT_EVERY = 1.0
SAMPLING = "sampling"
"""The cause of an incident while it is not known."""


class Key(NamedTuple):
    platform: str
    source: str
    operation: str
    parser_version: int


class Row(NamedTuple):
    platform: str
    source: str
    operation: str
    parser_version: int
    cohort: bytes
    breaker: bytes

    @property
    def key(self) -> Key:
        return Key(*self[:4])


class Caused(NamedTuple):
    """A cohort with an incident, and held records of it."""

    platform: str
    source: str
    operation: str
    parser_version: int
    cause: str
    held: list[int]

    @property
    def key(self) -> Key:
        return Key(*self[:4])


@dataclass(slots=True)
class Counts:
    """Observations; `odd`: those out of range; `falls`, `rises`: of held numbers; `bad`: rejected ones; `refuted`: held ones that another source refuted.
    `told`: what witnesses said of held records: confirmed, refuted, or nothing."""

    seen: int = 0
    odd: int = 0
    falls: int = 0
    rises: int = 0
    bad: int = 0
    refuted: int = 0
    told: tuple[bool | None, ...] = ()

    @property
    def is_unusual(self) -> bool:
        return bool(self.odd or self.bad or self.refuted or self.told)


@dataclass(slots=True)
class Standing:
    """A cohort and its breaker, taken by a transaction. `is_canary`: it is that of a next parser, which has nothing to be sampled by while its breaker is
    open: what is counted then was read before."""

    cohort: Cohort
    breaker: DataBreaker
    is_canary: bool = False

    def count(self, counts: Counts, now: float) -> None:
        self.cohort = self.cohort.counted(counts.seen, counts.odd, now, falls=counts.falls, rises=counts.rises)
        if self.breaker.is_open and not self.is_canary:
            for good in (False,) * counts.odd + (True,) * (counts.seen - counts.odd):
                self.breaker = self.breaker.sampled(good=good)
        else:
            # While a sample is looked into, it decides about the source.
            refuted = 0 if self.cohort.is_sampling else counts.refuted
            self.breaker = self.breaker.counted(counts.seen, counts.bad + refuted, now)
        for confirms in counts.told:
            self.cohort = self.cohort.witnessed(now, confirms=confirms)
        if self.is_canary:
            self.breaker = self.breaker.doubted(self.cohort.recent, now)
        found = self.cohort.incident
        if found is not None and found.cause is Cause.SOURCE_BROKE:
            self.breaker = self.breaker.broke(
                now, "many records were out of range, and other sources refute a sample of them"
            )

    def may_ask(self) -> bool:
        """Whether one more held record is asked about now. It counts as asked."""
        if not self.cohort.may_ask_alone and not self.cohort.wanted:
            return False
        self.cohort = self.cohort.asked()
        return True

    @property
    def cause(self) -> str | None:
        found = self.cohort.incident
        if found is None:
            return None
        return SAMPLING if found.cause is None else found.cause.value


SQL = Statements(__file__)
MAKE, TAKE, WRITE, KNOW = SQL("make"), SQL("take", Row), SQL("write"), SQL("know", Row)
CAUSED = SQL("caused", Caused)
_encode = msgspec.msgpack.Encoder().encode
_cohort = msgspec.msgpack.Decoder(Cohort).decode
_breaker = msgspec.msgpack.Decoder(DataBreaker).decode
_pending: defaultdict[Key, int] = defaultdict(int)
"""Normal observations of this process that are not written yet."""


def key_of(record: HeldRecord) -> Key:
    return Key(record.about.platform, record.source, record.operation, record.parser_version)


def keys(of: Collection[Key]) -> dict[str, list[object]]:
    """The parameters that name cohorts."""
    listed = sorted(of)
    names = ("platforms", "sources", "operations", "versions")
    return {name: [key[place] for key in listed] for place, name in enumerate(names)}


def cohort_of(packed: bytes) -> Cohort:
    """A cohort as its row has it; empty where nothing was counted."""
    return _cohort(packed) if packed else Cohort()


def read(row: Row) -> Standing:
    return Standing(
        cohort_of(row.cohort),
        _breaker(row.breaker) if row.breaker else DataBreaker(),
        is_canary(*row.key),
    )


def to_write(counted: Mapping[Key, Counts], asking: Iterable[HeldRecord]) -> dict[Key, Counts]:
    """Of what was counted, what is to be written now. The rest is kept in the process."""
    wanted = {key_of(record) for record in asking}
    found: dict[Key, Counts] = {}
    for key in {*counted, *wanted}:
        counts = counted.get(key, Counts())
        if key not in wanted and not counts.is_unusual and _pending[key] + counts.seen < WINDOW:
            _pending[key] += counts.seen
            continue
        counts.seen += _pending.pop(key, 0)
        found[key] = counts
    return found


async def take(transaction: Transaction, of: Collection[Key]) -> tuple[dict[Key, Standing], float]:
    """Lock these cohorts, and read them; the database's clock (epoch seconds) once they are locked."""
    named = keys(of)
    async with transaction.pipeline() as pipeline:
        await pipeline.run(MAKE, named)
        rows = await pipeline.run(TAKE, named, binary=True)
        now = await pipeline.now()
    return {row.key: read(row) for row in rows.rows}, now.only


async def write(transaction: Transaction, standing: Mapping[Key, Standing]) -> None:
    """Write cohorts that were taken."""
    listed = [standing[key] for key in sorted(standing)]
    values = keys(standing) | {
        "cohorts": [_encode(one.cohort) for one in listed],
        "breakers": [_encode(one.breaker) for one in listed],
        "open_since": [one.breaker.open_since or None for one in listed],
        "why": [one.breaker.why for one in listed],
        "causes": [one.cause for one in listed],
    }
    await transaction.run(WRITE, values)


async def count_unread(transaction: Transaction, unread: Mapping[Key, int]) -> None:
    """Count answers that next parsers could not read: they are bad. The transaction writes no entities."""
    counted = {key: Counts(seen=count, odd=count, bad=count) for key, count in unread.items() if is_canary(*key)}
    if not counted:
        return
    standing, now = await take(transaction, counted)
    for key, counts in counted.items():
        standing[key].count(counts, now)
    await write(transaction, standing)


async def caused(transaction: Transaction, *, most: int, epoch: int | None) -> Caused | None:
    """A cohort with an incident of which the cause is known, and held records of it."""
    return await transaction.row(CAUSED, {"most": most, "epoch": epoch})


class Widening:
    """Which ranges are widened, as it was known at most a second ago."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, Widened]] = {}

    def unknown(self, of: Collection[Key], now: float) -> list[Key]:
        """Those of the cohorts that are to be looked at. `now`: seconds of a clock that never steps."""
        return [key for key in of if key not in self._known or self._known[key][0] < now - LOOKED_AT_EVERY]

    def know(self, of: Collection[Key], rows: Iterable[Row], now: float, at: float) -> None:
        """What was found of these. `at`: epoch seconds."""
        found = {row.key: read(row).cohort.widened(at) for row in rows}
        self._known |= {key: (now, found.get(key, NORMAL)) for key in of}

    def of(self, key: Key) -> Widened:
        return self._known[key][1] if key in self._known else NORMAL


WIDENING = Widening()
