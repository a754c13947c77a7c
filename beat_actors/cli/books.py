"""The rehearsal's books: what it reads of the database while it runs, and the report at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from beat_actors.database import Transaction

ENDED = ("COMPLETE", "FAILED", "CANCELLED")

PROGRESS = "SELECT status, count(*) AS n FROM scrape_request_log WHERE id > %s GROUP BY status"
BY_SOURCE = """
SELECT source, count(*) AS calls, count(*) FILTER (WHERE outcome = 'ok') AS ok,
       count(*) FILTER (WHERE outcome IN ('rate_limited', 'quota_exhausted')) AS refused,
       count(*) FILTER (WHERE outcome = 'upstream_down') AS down,
       count(*) FILTER (WHERE outcome NOT IN ('ok', 'rate_limited', 'quota_exhausted', 'upstream_down')) AS other,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE outcome = 'ok') AS ms
FROM trace_log WHERE at >= %s GROUP BY source ORDER BY calls DESC
"""
STATE = """
SELECT (SELECT count(*) FROM credential WHERE disabled_till > clock_timestamp()) AS cooling,
       (SELECT count(*) FROM credential WHERE platform = 'instagram' AND enabled AND dead_at IS NULL
        AND (disabled_till IS NULL OR disabled_till <= clock_timestamp())) AS awake,
       (SELECT coalesce(string_agg(source || ' ' || operation, ', ' ORDER BY source, operation), '')
        FROM breaker WHERE open_until > clock_timestamp()) AS open,
       (SELECT count(*) FROM lane WHERE reasons IS NOT NULL AND blocked_until > clock_timestamp()) AS blocked,
       (SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING')) AS moving,
       (SELECT count(*) FROM scrape_fetch WHERE stage = 'WAITING') AS waiting
"""
FOUND = "SELECT count(*) FROM scrape_request_log WHERE id = ANY(%s) AND id > %s"
UNFINISHED = """
SELECT (SELECT count(*) FROM scrape_fetch WHERE stage IN ('WAITING', 'LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING'))
     + (SELECT count(*) FROM settlement)
"""
FALLBACKS = """
SELECT count(*) FROM (SELECT FROM trace_log WHERE at >= %s AND fetch_id IS NOT NULL GROUP BY fetch_id HAVING count(DISTINCT source) > 1) f
"""
EVENTS = "SELECT kind, count(*) AS n FROM credential_event WHERE at >= %s AND kind <> 'added' GROUP BY kind"
STILL_OUT = """
SELECT source || ', ' || operation AS what, open_until AS until, 1 AS n FROM breaker WHERE open_until > clock_timestamp()
UNION ALL
SELECT source || ', ' || coalesce(disabled_reason, 'resting'), max(disabled_till), count(*) FROM credential
WHERE disabled_till > clock_timestamp() GROUP BY source, disabled_reason ORDER BY until
"""
BOOKS = """
SELECT (SELECT count(*) FROM trace_log) AS traced,
       (SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total') AS charged,
       (SELECT count(*) FROM trace_log WHERE outcome = 'unknown') AS unknown,
       (SELECT count(*) FROM settlement) + (SELECT count(*) FROM credential_call) AS unsettled,
       (SELECT coalesce(max(id), 0) FROM scrape_request_log) AS last_request, clock_timestamp() AS now
"""


@dataclass(slots=True)
class Progress:
    """What the view shows while the rehearsal runs."""

    total: int
    statuses: dict[str, int] = field(default_factory=dict)
    sources: Sequence[Any] = ()
    state: Any = None
    queues: dict[str, int] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        return sum(self.statuses.get(status, 0) for status in ENDED)


@dataclass(frozen=True, slots=True)
class StillOut:
    """What comes back by itself after the report."""

    what: str
    until: datetime
    n: int


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
    sources: Sequence[Any]
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
        books = "ledger equal"
        if not self.equal:
            counts = (self.ledger, self.traced, self.charged)
            unknown = f" ({self.unknown} of unknown outcome)" if self.unknown else ""
            books = f"ledger differs by {max(counts) - min(counts)}{unknown}"
        return f"complete {self.complete} of {self.total} · lost {self.lost}{failed} · {books}"


async def look(transaction: Transaction, before: Any, progress: Progress) -> None:
    """Bring `progress` up to date."""
    rows = await transaction.rows(PROGRESS, (before.last_request,))
    progress.statuses = {row.status: row.n for row in rows}
    progress.sources = await transaction.rows(BY_SOURCE, (before.now,))
    progress.state = await transaction.row(STATE)


async def account(
    transaction: Transaction,
    before: Any,
    ledger: Any,
    progress: Progress,
    neighbours: Sequence[Neighbour],
    profiles: int,
    seconds: float,
) -> Report:
    """Close the books. `before`: the row of `BOOKS` at the start; `ledger`: the simulator's, since then."""
    after: Any = await transaction.row(BOOKS)
    statuses = progress.statuses
    return Report(
        total=progress.total,
        complete=statuses.get("COMPLETE", 0),
        failed=statuses.get("FAILED", 0) + statuses.get("CANCELLED", 0),
        lost=progress.total - progress.ended,
        sources=await transaction.rows(BY_SOURCE, (before.now,)),
        fallbacks=await transaction.value(FALLBACKS, (before.now,)),
        events={row.kind: row.n for row in await transaction.rows(EVENTS, (before.now,))},
        still_out=[StillOut(row.what, row.until, row.n) for row in await transaction.rows(STILL_OUT)],
        ledger=ledger["calls"],
        over_limit=ledger["over_limit"],
        traced=after.traced - before.traced,
        charged=after.charged - before.charged,
        unknown=after.unknown - before.unknown,
        neighbours=neighbours,
        profiles=profiles,
        seconds=seconds,
    )
