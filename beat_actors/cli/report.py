"""What the rehearsal reads of the database while it runs, and the report at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from beat_actors.database import Statements, Transaction
from beat_actors.simulator.ledger import LedgerReport

ENDED = ("COMPLETE", "FAILED", "CANCELLED")


class Counted(NamedTuple):
    """How many there are of something."""

    what: str
    n: int


class Calls(NamedTuple):
    """A source's calls by their outcome. `ms`: the median time of those that went well."""

    source: str
    calls: int
    ok: int
    refused: int
    down: int
    other: int
    ms: float | None


class State(NamedTuple):
    """Credentials that are `cooling`, or of Instagram `awake`; `open` breakers; lanes that are `blocked`; fetches `moving` and `waiting`."""

    cooling: int
    awake: int
    open: str
    blocked: int
    moving: int
    waiting: int


class Pictures(NamedTuple):
    """Media files that are stored in the bucket, and that wait for it."""

    stored: int
    waiting: int


class Counts(NamedTuple):
    """Beat's own counts of calls, and the last request, at a moment."""

    traced: int
    charged: int
    unknown: int
    unsettled: int
    last_request: int
    now: datetime


@dataclass(slots=True)
class Progress:
    """What the view shows while the rehearsal runs."""

    total: int
    statuses: dict[str, int] = field(default_factory=dict)
    sources: Sequence[Calls] = ()
    state: State | None = None
    queues: dict[str, int] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        return sum(self.statuses.get(status, 0) for status in ENDED)


@dataclass(frozen=True, slots=True)
class StillOut:
    """What recovers by itself after the report: `n` credentials of a source, or a `breaker`."""

    kind: str
    what: str
    until: datetime
    n: int


SQL = Statements(__file__)
PROGRESS, EVENTS = SQL("progress", Counted), SQL("events", Counted)
BY_SOURCE = SQL("by_source", Calls)
STATE = SQL("state", State)
UNFINISHED, FALLBACKS = SQL("unfinished", int), SQL("fallbacks", int)
STILL_OUT = SQL("still_out", StillOut)
PICTURES = SQL("pictures", Pictures)
COUNTS = SQL("counts", Counts)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A platform beside the storm: the median time of its requests in milliseconds, `None` where none was complete."""

    platform: str
    before: float | None
    during: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it. `ledger` is the simulator's count of calls; `traced` and `charged` are Beat's own, kept apart from each other.

    `profiles` were refreshed through the outage, in `seconds`.
    """

    total: int
    complete: int
    failed: int
    lost: int
    sources: Sequence[Calls]
    fallbacks: int
    events: dict[str, int]
    still_out: Sequence[StillOut]
    ledger: int
    over_limit: int
    traced: int
    charged: int
    unknown: int
    neighbours: Sequence[Neighbour]
    profiles: int
    seconds: float
    pictures: Pictures

    @property
    def equal(self) -> bool:
        return self.ledger == self.traced == self.charged

    @property
    def good(self) -> bool:
        return self.complete == self.total and self.lost == 0 and self.equal

    @property
    def cooldowns(self) -> int:
        return self.events.get("rate_limited", 0) + self.events.get("quota_exhausted", 0)

    def verdict(self) -> str:
        """The last line of the report."""
        failed = f" · failed {self.failed}" if self.failed else ""
        ledger = "ledger equal"
        if not self.equal:
            counts = (self.ledger, self.traced, self.charged)
            unknown = f" ({self.unknown} with unknown outcome)" if self.unknown else ""
            ledger = f"ledger differs by {max(counts) - min(counts)}{unknown}"
        return f"complete {self.complete} of {self.total} · lost {self.lost}{failed} · {ledger}"


async def update(transaction: Transaction, before: Counts, progress: Progress) -> None:
    """Bring `progress` up to date."""
    progress.statuses = dict(await transaction.rows(PROGRESS, {"after": before.last_request}))
    progress.sources = await transaction.rows(BY_SOURCE, {"since": before.now})
    progress.state = await transaction.only(STATE)


async def report(
    transaction: Transaction,
    before: Counts,
    ledger: LedgerReport,
    progress: Progress,
    neighbours: Sequence[Neighbour],
    profiles: int,
    seconds: float,
) -> Report:
    """What came of the rehearsal. `before`: the row of `COUNTS` at the start; `ledger`: the simulator's, since then."""
    after = await transaction.only(COUNTS)
    statuses = progress.statuses
    return Report(
        total=progress.total,
        complete=statuses.get("COMPLETE", 0),
        failed=statuses.get("FAILED", 0) + statuses.get("CANCELLED", 0),
        lost=progress.total - progress.ended,
        sources=await transaction.rows(BY_SOURCE, {"since": before.now}),
        fallbacks=await transaction.only(FALLBACKS, {"since": before.now}),
        events=dict(await transaction.rows(EVENTS, {"since": before.now})),
        still_out=await transaction.rows(STILL_OUT),
        ledger=ledger["calls"],
        over_limit=ledger["over_limit"],
        traced=after.traced - before.traced,
        charged=after.charged - before.charged,
        unknown=after.unknown - before.unknown,
        neighbours=neighbours,
        profiles=profiles,
        seconds=seconds,
        pictures=await transaction.only(PICTURES),
    )
