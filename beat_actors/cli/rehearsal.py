"""The main job of `beat up`: refresh many profiles while one provider goes down and another answers 429, and account for it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from beat_actors.engine import Engine
from beat_actors.errors import BeatError
from beat_actors.simulator.client import SimulatorClient

PLATFORM, FLOW = "instagram", "refresh_profile_by_handle"
# So many that the providers' own limits let the whole run through, with one provider down and one refusing.
CREDENTIALS = {"graphapi": 3, "arraybobo": 4, "jotucker": 4, "lama": 3, "bestsolutions": 3}
OUTAGE, STORM = ("graphapi", 6.0), ("jotucker", 6.0)
LATENCY = 0.08
CHUNK = 100
PATIENCE = 180.0

PROGRESS = "SELECT status, count(*) AS n FROM scrape_request_log WHERE id > %s GROUP BY status"
BY_SOURCE = """
SELECT source, count(*) AS calls, count(*) FILTER (WHERE outcome = 'ok') AS ok,
       count(*) FILTER (WHERE outcome = 'rate_limited') AS refused, count(*) FILTER (WHERE outcome = 'upstream_down') AS down,
       count(*) FILTER (WHERE outcome = 'unknown') AS unknown, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms
FROM trace_log WHERE at >= %s GROUP BY source ORDER BY calls DESC
"""
STATE = """
SELECT (SELECT count(*) FROM credential WHERE disabled_till > clock_timestamp()) AS cooling,
       (SELECT count(*) FROM credential WHERE dead_at IS NOT NULL) AS dead,
       (SELECT coalesce(string_agg(source || ' ' || operation, ', '), '') FROM breaker WHERE open_until > clock_timestamp()) AS open,
       (SELECT count(*) FROM lane WHERE reasons IS NOT NULL) AS blocked,
       (SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING')) AS moving,
       (SELECT count(*) FROM scrape_fetch WHERE stage = 'WAITING') AS waiting
"""
FALLBACKS = """
SELECT count(*) FROM (SELECT fetch_id FROM trace_log WHERE at >= %s GROUP BY fetch_id HAVING count(DISTINCT source) > 1) f
"""
EVENTS = "SELECT kind, count(*) AS n FROM credential_event WHERE at >= %s AND kind <> 'added' GROUP BY kind"
BOOKS = """
SELECT (SELECT count(*) FROM trace_log) AS traced,
       (SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total') AS charged,
       (SELECT count(*) FROM trace_log WHERE outcome = 'unknown') AS unknown,
       (SELECT count(*) FROM settlement) AS unsettled,
       (SELECT coalesce(max(id), 0) FROM scrape_request_log) AS last_request, clock_timestamp() AS now
"""


@dataclass(slots=True)
class Progress:
    """What the view shows while the rehearsal runs."""

    total: int
    statuses: dict[str, int] = field(default_factory=dict)
    sources: list[Any] = field(default_factory=list)
    state: Any = None
    news: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        return sum(self.statuses.get(status, 0) for status in ("COMPLETE", "FAILED", "CANCELLED"))


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. `ledger` is the simulator's count of calls; `traced` and `charged` are Beat's own, twice."""

    total: int
    complete: int
    failed: int
    lost: int
    sources: list[Any]
    fallbacks: int
    events: dict[str, int]
    ledger: int
    over_limit: int
    traced: int
    charged: int
    unknown: int
    seconds: float

    @property
    def equal(self) -> bool:
        return self.ledger == self.traced == self.charged

    @property
    def good(self) -> bool:
        return self.complete == self.total and self.lost == 0 and self.equal

    def verdict(self) -> str:
        """The last line of the report."""
        failed = f" · failed {self.failed}" if self.failed else ""
        books = "ledger equal"
        if not self.equal:
            unknown = f", {self.unknown} of unknown outcome" if self.unknown else ""
            books = f"ledger differs (provider {self.ledger}, traced {self.traced}, charged {self.charged}{unknown})"
        return f"complete {self.complete} of {self.total} · lost {self.lost}{failed} · {books}"


Show = Callable[[Progress], None]


class Rehearsal:
    def __init__(self, engine: Engine, api_url: str, *, profiles: int, show: Show, stopped: Callable[[], bool]) -> None:
        assert engine.settings.simulator_url is not None
        self._engine = engine
        self._api_url = api_url
        self._simulator_url = engine.settings.simulator_url
        self._progress = Progress(profiles)
        self._show = show
        self._stopped = stopped
        self._started = 0.0

    async def run(self) -> Report | None:
        """`None` if it was stopped before its end."""
        async with SimulatorClient(self._simulator_url) as simulator:
            await simulator.clear_faults()
            await simulator.set_latency(LATENCY)
            await self._add_credentials()
            await simulator.reset_ledger()
            before = await self._row(BOOKS)
            self._started = time.monotonic()
            first = max(1, self._progress.total // 4)
            await self._submit(0, first)
            await self._until(before, lambda: self._progress.ended >= first)
            if self._stopped():
                return None
            await simulator.add_fault("outage", OUTAGE[0], seconds=OUTAGE[1])
            await simulator.add_fault("rate_limit", STORM[0], seconds=STORM[1], retry_after=5)
            self._tell(f"{OUTAGE[0]} goes down, {STORM[0]} answers 429, both for {OUTAGE[1]:g} s")
            await self._submit(first, self._progress.total)
            await self._until(before, lambda: self._progress.ended >= self._progress.total)
            seconds = time.monotonic() - self._started
            if self._stopped():
                return None
            await simulator.clear_faults()
            return await self._account(simulator, before, seconds)

    async def _add_credentials(self) -> None:
        for source, number in CREDENTIALS.items():
            for i in range(number):
                key = f"rehearsal-{source}-{i}"
                secret = (
                    {"token": key, "user_id": str(17_841_400_000_000_001 + i)} if source == "graphapi" else {"key": key}
                )
                await self._engine.credentials.add(source, secret, label=f"rehearsal {i + 1}")

    async def _submit(self, start: int, end: int) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            for chunk in range(start, end, CHUNK):
                body = {
                    "requests": [
                        {"platform": PLATFORM, "flow": FLOW, "params": {"handle": f"creator_{n:06d}"}}
                        for n in range(chunk, min(chunk + CHUNK, end))
                    ]
                }
                async with http.post(f"{self._api_url}/v1/scrape-requests", json=body) as response:
                    answer = await response.json()
                    if response.status != 202 or answer["refused"]:
                        raise BeatError(f"the API did not take the requests: HTTP {response.status}, {answer}")

    async def _until(self, before: Any, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        open_before = ""
        while not self._stopped() and time.monotonic() < deadline:
            async with self._engine.database.transaction() as transaction:
                rows = await transaction.rows(PROGRESS, (before.last_request,))
                self._progress.sources = await transaction.rows(BY_SOURCE, (before.now,))
                self._progress.state = await transaction.row(STATE)
            self._progress.statuses = {row.status: row.n for row in rows}
            self._progress.seconds = time.monotonic() - self._started
            is_open = self._progress.state.open
            if is_open != open_before:
                self._tell(f"breaker open: {is_open}" if is_open else "all breakers closed")
                open_before = is_open
            self._show(self._progress)
            if reached():
                return
            await asyncio.sleep(0.2)

    async def _account(self, simulator: SimulatorClient, before: Any, seconds: float) -> Report:
        after = await self._row(BOOKS)
        for _ in range(50):  # outcomes that came back last are settled within moments
            if not after.unsettled:
                break
            await asyncio.sleep(0.1)
            after = await self._row(BOOKS)
        ledger = await simulator.ledger()
        async with self._engine.database.transaction() as transaction:
            fallbacks = await transaction.value(FALLBACKS, (before.now,))
            events = {row.kind: row.n for row in await transaction.rows(EVENTS, (before.now,))}
        statuses = self._progress.statuses
        return Report(
            total=self._progress.total,
            complete=statuses.get("COMPLETE", 0),
            failed=statuses.get("FAILED", 0) + statuses.get("CANCELLED", 0),
            lost=self._progress.total - self._progress.ended,
            sources=self._progress.sources,
            fallbacks=fallbacks,
            events=events,
            ledger=ledger["calls"],
            over_limit=ledger["over_limit"],
            traced=after.traced - before.traced,
            charged=after.charged - before.charged,
            unknown=after.unknown - before.unknown,
            seconds=seconds,
        )

    async def _row(self, sql: str) -> Any:
        async with self._engine.database.transaction() as transaction:
            return await transaction.row(sql)

    def _tell(self, news: str) -> None:
        self._progress.news.append(f"{self._progress.seconds:5.1f} s  {news}")
