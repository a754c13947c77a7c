"""The exporter: reads the ends of requests from the log of events in the order of their places, and exports those traces that are kept.

The place is written down after the collector has confirmed. A process that dies in between exports the same spans again, with the same ids. While the
collector is away the place stays, and nothing is held in memory; what the log no longer has by then is counted as lost.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import msgspec

from beat_actors.database import Database
from beat_actors.logger import get_logger
from beat_actors.observe.counts import Sum, Totals
from beat_actors.observe.families import TRACE_EVENTS_LOST, TRACE_SPANS, TRACES
from beat_actors.observe.tally import KEPT, keep
from beat_actors.requests.swept import Swept
from beat_actors.settings import Settings
from beat_actors.traces import reading
from beat_actors.traces.choosing import MOST_ASKED, Kept, choose
from beat_actors.traces.collector import Collector, CollectorSlow, CollectorUnavailable, pause_after
from beat_actors.traces.reading import NAME, Page
from beat_actors.traces.rows import Ended
from beat_actors.traces.servers import server_of
from beat_actors.traces.spans import Span
from beat_actors.traces.tree import tree

log = get_logger(__name__)

MOST_PAGES = 100
"""Pages of the log that one run reads."""
SECONDS = 2.0
"""After which a run begins nothing further, so that other sweeps of the process have their share of it: the next run goes on."""
GROUP = 25
"""Traces whose rows are read at once, and after which the place is written down. Half as many each time that the collector is too slow for them."""
LIMIT = 30.0
"""Seconds that the calls for one group may take. With `SECONDS` it is well within the deadline of the sweep, so that it is the collector that is told to be
slow, and not the sweep to hang."""
MOST_SPANS = 1_000
"""Spans of one call to the collector, unless one trace has more."""
SUMS = msgspec.json.Decoder(list[Sum])


class Exporter:
    """A sweep of the leading scheduler. What it remembers is only how long the collector is to be left alone, and how much it takes at once."""

    JOB = "traces"

    def __init__(self, *, settled: float = reading.SETTLED) -> None:
        self._settled = settled
        self._until, self._failures, self._said = 0.0, 0, ""
        self._halved = 0

    async def sweep(self, database: Database, epoch: int | None = None) -> Swept:
        """Export what has ended since; how many traces. Raises `CollectorUnavailable`, and `StorageUnavailable`."""
        settings = database.settings
        if settings.otlp_endpoint is None:
            return Swept()
        if time.monotonic() < self._until:
            raise CollectorUnavailable(self._said)
        run = _Run(database, settings, epoch, max(1, GROUP >> self._halved))
        try:
            async with Collector(
                settings, {"service.name": "beat", "service.version": version("beat-actors")}
            ) as collector:
                await run.pages(collector, self._settled)
        except CollectorUnavailable as error:
            self._failures = 1 if run.traces else self._failures + 1
            if isinstance(error, CollectorSlow):
                self._halved = min(self._halved + 1, GROUP.bit_length())
            self._until = time.monotonic() + pause_after(self._failures, error.pause)
            self._said = f"{error}; traces wait in the database and are exported later"
            raise CollectorUnavailable(self._said) from None
        self._failures = 0
        if run.slowest < LIMIT / 4:  # twice as many are well within the limit
            self._halved = max(0, self._halved - 1)
        return Swept(count=run.traces)


class _Run:
    """One run: pages of the log, one after the other."""

    def __init__(self, database: Database, settings: Settings, epoch: int | None, group: int) -> None:
        self._database, self._settings, self._epoch, self._group = database, settings, epoch, group
        self._begun = time.monotonic()
        self._asked = MOST_ASKED
        self.traces, self.slowest = 0, 0.0

    async def pages(self, collector: Collector, settled: float) -> None:
        async with self._database.statements() as alone:
            place = await reading.place(alone)
        if place.position is None or place.position > place.last:  # the first time, it begins at the end of the log
            await self._advance(place.position, place.last, Totals())
            return
        position: int | None = place.position
        for _ in range(MOST_PAGES):
            if position is None or position >= place.last:
                return
            async with self._database.statements() as alone:
                page, ends = await reading.page(alone, position, settled)
            if page.last is None:
                return
            position = await self._page(collector, position, page, ends)

    async def _page(self, collector: Collector, position: int, page: Page, ends: Sequence[Ended]) -> int | None:
        """Export what is kept of a page; its last place, or `None` if the run ends here: its time is over, or another process is exporting."""
        assert page.last is not None
        after, chosen = position, choose(ends, self._settings, self._asked)
        self._asked -= chosen.asked
        groups = list(_groups(chosen.kept, self._group)) or [[]]
        for number, group in enumerate(groups):
            totals, last = Totals(), page.last if number + 1 == len(groups) else group[-1][0].seq
            broken = [one for one in chosen.broken if after < one.seq <= last]
            if broken:
                totals.put(TRACE_SPANS, len(broken), "not_made")
            if left_out := sum(after < seq <= last for seq in chosen.left_out):
                totals.put(TRACE_SPANS, left_out, "left_out")
            lost = await self._lost(page, after, last)
            if lost:
                totals.put(TRACE_EVENTS_LOST, lost)
            await self._export(collector, group, totals)
            if not await self._advance(after, last, totals):
                return None
            if lost:
                log.warning("trace_events_lost", events=lost, after=after)
            for one in broken:
                log.error("trace_not_made", request=one.request, exc_info=one.error)
            self.traces += len(group)
            after = last
            if time.monotonic() - self._begun > SECONDS:
                return None
        return page.last

    async def _lost(self, page: Page, after: int, last: int) -> int:
        """How many places between these two of a page are lost."""
        if not page.lost:
            return 0
        async with self._database.statements() as alone:
            return await reading.lost(alone, after, last)

    async def _export(self, collector: Collector, group: Sequence[Kept], totals: Totals) -> None:
        """Send the spans of a group, and count them once all of them are confirmed. Raises `CollectorSlow` where that takes longer than `LIMIT`."""
        if not group:
            return
        why = {end.seq: reason for end, reason in group}
        waiting: list[Span] = []
        counted = Totals()
        read = await reading.rows_of(self._database, [end for end, _ in group])
        begun = asyncio.get_running_loop().time()
        for rows in read:
            await asyncio.sleep(0)
            try:
                made = tree(rows, why[rows.ended.seq], lambda call: server_of(self._settings, call))
            except Exception:  # one request must not hold up all others
                log.exception("trace_not_made", request=rows.ended.id)
                counted.put(TRACE_SPANS, 1, "not_made")
                continue
            if waiting and len(waiting) + len(made) > MOST_SPANS:
                await _send(collector, waiting, counted, begun + LIMIT)
                waiting = []
            waiting.extend(made)
            counted.put(TRACES, 1, why[rows.ended.seq])
        if waiting:
            await _send(collector, waiting, counted, begun + LIMIT)
        self.slowest = max(self.slowest, asyncio.get_running_loop().time() - begun)
        totals.add(counted.sums())

    async def _advance(self, expected: int | None, last: int, totals: Totals) -> bool:
        """Write the place and the counters down; whether the place was where this run had left it."""
        async with self._database.transaction() as transaction:
            found = await transaction.row(KEPT, {"name": NAME})
            position = None if found is None else found.position
            if position != expected:
                return False
            if found is not None:
                totals.add(SUMS.decode(found.sums))
            await keep(transaction, NAME, totals.sums(), position=last, epoch=self._epoch)
        return True


async def _send(collector: Collector, spans: Sequence[Span], counted: Totals, until: float) -> None:
    """`until`: by the clock of the event loop."""
    try:
        async with asyncio.timeout_at(until):
            sent = await collector.send(spans)
    except TimeoutError:
        raise CollectorSlow("the collector is too slow for the spans of so many traces") from None
    counted.put(TRACE_SPANS, sent.taken, "exported")
    if sent.refused:
        counted.put(TRACE_SPANS, sent.refused, "refused")
        log.warning("trace_spans_refused", spans=sent.refused, said=sent.said)


def _groups(ends: Sequence[Kept], size: int) -> Iterator[Sequence[Kept]]:
    for begin in range(0, len(ends), size):
        yield ends[begin : begin + size]
