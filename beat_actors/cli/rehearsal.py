"""The main job of `beat up`: refresh many profiles while one provider goes down and another answers 429, and account for it."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import aiohttp
import redis

from actors.mailbox import CREDENTIALS, Mailbox
from beat_actors.cli import books
from beat_actors.cli.books import Progress, Report
from beat_actors.cli.session import queue_depths
from beat_actors.credentials.upkeep import count_due
from beat_actors.engine import Engine
from beat_actors.errors import BeatError
from beat_actors.simulator.client import SimulatorClient

PLATFORM, FLOW = "instagram", "refresh_profile_by_handle"
# So many that the providers' own limits let the whole run through, with one provider down and one refusing.
POOLS = {"graphapi": 3, "arraybobo": 6, "jotucker": 5, "lama": 4, "bestsolutions": 4}
OUTAGE, STORM = "graphapi", "jotucker"
FAULTS_LAST = 6.0
LATENCY = 0.08
CHUNK = 100
PATIENCE = 90.0
"""Seconds without any request ending after which the rehearsal gives up and reports what is lost."""

Show = Callable[[Progress], None]


class Rehearsal:
    """`key`: what this data root's credentials are derived from, so that a second run finds them again."""

    def __init__(
        self,
        engine: Engine,
        mailbox: Mailbox,
        api_url: str,
        *,
        authorization: Mapping[str, str],
        handles: Sequence[str],
        key: str,
        show: Show,
        stopped: Callable[[], bool],
    ) -> None:
        assert engine.settings.simulator_url is not None
        self._engine = engine
        self._mailbox = mailbox
        self._credentials: list[int] = []
        self._api_url = api_url
        self._authorization = authorization
        self._simulator = SimulatorClient(engine.settings.simulator_url)
        self._handles = handles
        self._key = key
        self._progress = Progress(len(handles))
        self._show = show
        self._stopped = stopped
        self._before: Any = None
        self._started = time.monotonic()
        self._open: set[str] = set()
        self._cooling = 0

    async def run(self) -> Report | None:
        """`None` if it was stopped before its end. Raises `BeatError` where the API does not take the requests."""
        async with self._simulator:
            try:
                await self._simulator.clear_faults()
                await self._simulator.set_latency(LATENCY)
                await self._add_credentials()
                await self._end_what_is_left()
                return None if self._stopped() else await self._rehearse()
            finally:
                await self._simulator.clear_faults()
                await self._simulator.set_latency(0.0)

    async def _rehearse(self) -> Report | None:
        await self._simulator.reset_ledger()
        self._before = await self._row(books.BOOKS)
        self._started = time.monotonic()
        quarter = max(1, self._progress.total // 4)
        self._tell(f"{self._progress.total} requests for a profile and its posts go to the API")
        await self._submit(0, quarter)
        await self._until(lambda: self._progress.ended >= quarter)
        # The time limit is for the case that nobody is left to switch them off.
        await self._simulator.add_fault("outage", OUTAGE, seconds=60)
        await self._simulator.add_fault("rate_limit", STORM, seconds=60, retry_after=5)
        self._tell(f"{OUTAGE} goes down, {STORM} begins to answer 429")
        broken = time.monotonic()
        await self._submit(quarter, self._progress.total)
        most = max(quarter, self._progress.total * 9 // 10)
        await self._until(lambda: self._progress.ended >= most or time.monotonic() - broken >= FAULTS_LAST)
        await self._simulator.clear_faults()
        self._tell(f"{OUTAGE} and {STORM} are healed")
        await self._until(lambda: self._progress.ended >= self._progress.total)
        return None if self._stopped() else await self._account()

    async def _add_credentials(self) -> None:
        for source, number in POOLS.items():
            for i in range(number):
                key = hashlib.sha256(f"{self._key}:{source}:{i}".encode()).hexdigest()
                secret = {"token": key, "user_id": str(17_841_400_000_000_001 + i)}
                added, _ = await self._engine.credentials.add(
                    source, secret if source == "graphapi" else {"key": key}, label=f"rehearsal {i + 1}"
                )
                self._credentials.append(added)

    async def _end_what_is_left(self) -> None:
        """Requests of a run that was interrupted go on by themselves, and new credentials are checked: those calls must not be counted
        as this run's."""
        deadline = time.monotonic() + PATIENCE
        await self._mailbox.send(CREDENTIALS, self._credentials)
        told = False
        while not self._stopped() and time.monotonic() < deadline:
            async with self._engine.database.transaction() as transaction:
                left = await transaction.value(books.UNFINISHED)
                checks = await count_due(transaction)
            if not left and not checks:
                return
            if left and not checks and not told:
                self._tell(f"first, what an earlier run left unfinished: {left} fetches")
                self._show(self._progress)
                told = True
            await asyncio.sleep(0.1)

    async def _submit(self, start: int, end: int) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), headers=self._authorization) as http:
            for chunk in range(start, end, CHUNK):
                handles = self._handles[chunk : min(chunk + CHUNK, end)]
                wanted = [{"platform": PLATFORM, "flow": FLOW, "params": {"handle": handle}} for handle in handles]
                async with http.post(f"{self._api_url}/v1/scrape-requests", json={"requests": wanted}) as response:
                    answer = await response.json(content_type=None)
                    if response.status != 202 or answer["refused"]:
                        raise BeatError(
                            f"the API did not take the requests: HTTP {response.status}, {str(answer)[:300]}"
                        )

    async def _until(self, reached: Callable[[], bool]) -> None:
        last = (-1, time.monotonic())
        while not self._stopped():
            async with self._engine.database.transaction() as transaction:
                await books.look(transaction, self._before, self._progress)
            try:
                self._progress.queues = await asyncio.to_thread(queue_depths, self._engine.settings)
            except redis.RedisError:
                self._progress.queues = {}
            self._notice()
            self._show(self._progress)
            if self._progress.ended != last[0]:
                last = (self._progress.ended, time.monotonic())
            if reached() or time.monotonic() - last[1] > PATIENCE:
                return
            await asyncio.sleep(0.2)

    def _notice(self) -> None:
        self._progress.seconds = time.monotonic() - self._started
        now = set(filter(None, self._progress.state.open.split(", ")))
        for what in sorted(now - self._open):
            self._tell(f"breaker opens: {what}")
        for what in sorted(self._open - now):
            self._tell(f"breaker lets a probe through: {what}")
        self._open = now
        if self._progress.state.cooling > self._cooling:
            self._tell(f"{self._progress.state.cooling} credentials cool down")
        self._cooling = self._progress.state.cooling

    async def _account(self) -> Report:
        seconds = self._progress.seconds
        for _ in range(50):  # outcomes that came back last are settled within moments
            if not (await self._row(books.BOOKS)).unsettled:
                break
            await asyncio.sleep(0.1)
        ledger = await self._simulator.ledger()
        async with self._engine.database.transaction() as transaction:
            return await books.account(transaction, self._before, ledger, self._progress, seconds)

    async def _row(self, sql: str) -> Any:
        async with self._engine.database.transaction() as transaction:
            return await transaction.row(sql)

    def _tell(self, news: str) -> None:
        self._progress.seconds = time.monotonic() - self._started
        self._progress.news.append(f"{self._progress.seconds:5.1f} s  {news}")


def choose_handles(profiles: int, population: int, seed: int | None) -> list[str]:
    """Handles of the simulator's population: the first ones, or with a seed a choice that the same seed makes again."""
    chosen = range(profiles) if seed is None else Random(seed).sample(range(population), profiles)
    return [f"creator_{n:06d}" for n in chosen]
