"""The metrics of the whole installation, read with one query. Any process can answer for all."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from beat_actors.database import Database, Statements
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.observe import families
from beat_actors.observe.counts import Sum, Totals
from beat_actors.observe.exposition import exposition
from beat_actors.observe.state import STATE
from beat_actors.observe.tally import HAPPENED
from beat_actors.platforms.interface import Outcome

KEPT_FOR = 3.0
"""Seconds for which what was read is given to all who ask."""
STALE = 300.0
"""Seconds after which gauges that nobody measures any more are left out."""


class Part(NamedTuple):
    """A part of what is read. `data`: JSON text. `at`: epoch seconds."""

    kind: str
    name: str | None
    data: str | None
    at: float | None


class _Kind(msgspec.Struct):
    """The living processes of a kind."""

    processes: int
    pool_used: int
    pool_most: int
    statement_p99: float
    loop_lag: float | None


READ = Statements(__file__)("read", Part)
SUMS = msgspec.json.Decoder(list[Sum])
CALLS = msgspec.json.Decoder(list[tuple[str, str, str, str, int]])
KIND = msgspec.json.Decoder(_Kind)
BUILDS = msgspec.json.Decoder(list[tuple[str, str | None]])
SWEEPS = msgspec.json.Decoder(list[tuple[str, float | None, float, float | None]])
BREAKERS = msgspec.json.Decoder(list[tuple[str, str, str, bool]])


class Metrics:
    """One for each process that answers. Those who ask at once, or within `KEPT_FOR` seconds, share one query and one text."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading: asyncio.Task[list[Sum]] | None = None
        self._read_at = -KEPT_FOR
        self._texts: dict[str, str] = {}

    async def text(self, media: str) -> str:
        """The metrics as text of this content type. Raises `StorageUnavailable`."""
        sums = await self._sums()
        text = self._texts.get(media)
        if text is None:
            text = self._texts[media] = exposition(sums, media)
        return text

    async def _sums(self) -> list[Sum]:
        running = self._reading is not None and not self._reading.done()
        failed = self._reading is not None and self._reading.done() and self._reading.exception() is not None
        if self._reading is None or failed or (not running and time.monotonic() - self._read_at >= KEPT_FOR):
            self._texts, self._read_at = {}, time.monotonic()
            self._reading = asyncio.create_task(read(self._database))
        return await asyncio.shield(self._reading)


async def read(database: Database) -> list[Sum]:
    """All sums and gauges now."""
    async with database.statements() as alone:
        parts = await alone.rows(READ, {"seconds": SEEN_WITHIN})
    return composed(parts, time.time())


def composed(parts: Sequence[Part], now: float) -> list[Sum]:
    """What these parts say, added up."""
    totals = Totals()
    for part in parts:
        if part.data is None:
            continue
        if part.kind == "process":
            totals.add(SUMS.decode(part.data))
        elif part.kind == "sums":
            _kept(totals, part, part.data, now)
        elif part.kind == "kind":
            _processes(totals, part.name or "", KIND.decode(part.data))
        else:
            _figures(totals, part, part.data)
    return totals.sums()


def _kept(totals: Totals, part: Part, data: str, now: float) -> None:
    at = part.at or 0.0
    if part.name == STATE:
        totals.put(families.MEASURED, at)
        if now - at > STALE:
            return
    if part.name == HAPPENED:
        totals.put(families.COUNTED, at)
    totals.add(SUMS.decode(data))


def _processes(totals: Totals, kind: str, found: _Kind) -> None:
    totals.put(families.PROCESSES, found.processes, kind)
    totals.put(families.POOL_USED, found.pool_used, kind)
    totals.put(families.POOL_MOST, found.pool_most, kind)
    totals.put(families.STATEMENT_P99, found.statement_p99, kind)
    if found.loop_lag is not None:
        totals.put(families.LOOP_LAG, found.loop_lag, kind)


def _figures(totals: Totals, part: Part, data: str) -> None:
    if part.kind == "calls":
        for platform, source, operation, outcome, calls in CALLS.decode(data):
            if outcome == Outcome.UNREACHED:
                totals.put(families.UNREACHED, calls, platform, source, operation)
            else:
                totals.put(families.CALLS, calls, platform, source, operation, outcome)
    elif part.kind == "build":
        for version, revision in BUILDS.decode(data):
            totals.put(families.BUILD, 1, version, revision or "")
    elif part.kind == "sweeps":
        for name, ended, seconds, late in SWEEPS.decode(data):
            totals.put(families.SWEEP_SECONDS, seconds, name)
            if ended is not None:
                totals.put(families.SWEEP_ENDED, ended, name)
                totals.put(families.SWEEP_LATE, late or 0.0, name)
    elif part.kind == "leader":
        totals.put(families.LEADER_EPOCH, int(data))
        totals.put(families.LEADER_SEEN, part.at or 0.0)
    elif part.kind == "breakers":
        for source, operation, kind, is_open in BREAKERS.decode(data):
            totals.put(families.BREAKER_OPEN, int(is_open), source, operation, kind)
    elif part.kind == "owner_breakers":
        totals.put(families.OWNER_BREAKERS, int(data), part.name or "")
    elif part.kind == "alerts":
        totals.put(families.ALERTS, int(data), part.name or "")
    elif part.kind == "trace_lag":
        totals.put(families.TRACE_LAG, int(data))
    elif part.kind == "restarts":
        totals.put(families.RESTARTS, int(data))
