"""The main job of `beat up`: every credential of one platform is refused, and the others do not feel it; then one provider goes down,
another answers 429, and many profiles are refreshed all the same. All of it is accounted for.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

import redis

from actors.mailbox import CREDENTIALS, Mailbox
from beat_actors.cli import neighbours, report
from beat_actors.cli.report import Neighbour, Progress, Report
from beat_actors.cli.session import queue_depths
from beat_actors.client import Accepted, ApiError, Client, Problem
from beat_actors.credentials.upkeep import count_due
from beat_actors.engine import Engine
from beat_actors.errors import BeatError
from beat_actors.simulator.client import SimulatorClient

PLATFORM, FLOW = "instagram", "refresh_profile_by_handle"
# So many that the providers' own limits let the whole run through, with one provider down and one refusing.
POOLS = {"graphapi": 4, "arraybobo": 6, "jotucker": 5, "lama": 4, "bestsolutions": 4}
FLOOD = 60
"""So many requests meet the storm, and as many again come while it lasts."""
OUTAGE, STORM = "graphapi", "jotucker"
FAULTS_LAST = 6.0
LATENCY = 0.08
CHUNK = 100
ENDS_WITHIN = 90.0
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
        api_key: str,
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
        self._api_key = api_key
        self._simulator = SimulatorClient(engine.settings.simulator_url)
        self._handles = handles
        self._key = key
        self._flood = handles[:FLOOD]
        self._progress = Progress(len(handles) + 2 * len(self._flood) + 2 * neighbours.ROUNDS * len(neighbours.FLOWS))
        self._show = show
        self._stopped = stopped
        self._before: report.Counts  # since the simulator counts for this run
        self._started = time.monotonic()
        self._outage_began = 0.0
        self._open: set[str] = set()
        self._cooling = 0

    async def run(self) -> Report | None:
        """`None` if it was stopped before its end. Raises `BeatError` where the API does not take the requests."""
        async with self._simulator:
            try:
                await self._simulator.clear_faults()
                await self._simulator.set_latency(LATENCY)
                async with self._engine.database.transaction() as transaction:
                    left = await transaction.only(report.UNFINISHED)
                await self._add_credentials()
                await self._end_what_is_left(left)
                return None if self._stopped() else await self._rehearse()
            finally:
                await self._simulator.clear_faults()
                await self._simulator.set_latency(0.0)

    async def _rehearse(self) -> Report | None:
        await self._simulator.reset_ledger()
        self._before = await self._counts()
        self._started = time.monotonic()
        measured = await self._storm()
        await self._outage()
        return None if self._stopped() else await self._account(measured)

    async def _storm(self) -> list[Neighbour]:
        """Refuse every Instagram credential; how long the other platforms' requests took before and meanwhile."""
        self._tell(f"requests to {', '.join(neighbours.FLOWS)} before the storm")
        before = await self._measure(0)
        for source in POOLS:
            await self._simulator.add_fault("rate_limit", source, seconds=60, retry_after=60)
        await self._submit_profiles(self._flood)
        await self._until(lambda: (state := self._progress.state) is not None and state.awake == 0)
        self._tell(
            f"all {PLATFORM.title()} credentials are rate-limited (429) and cool down; requests wait, and more arrive"
        )
        during = await self._measure(neighbours.ROUNDS, self._submit_profiles(self._flood))
        await self._simulator.clear_faults()
        for one in await self._engine.credentials.overview():
            if one.id in self._credentials and one.state in ("cooling", "probing"):
                await self._engine.credentials.reset(one.id, reason="the rehearsed storm is over")
        self._tell("the storm is over, the credentials are reset")
        ended = self._progress.ended + 2 * len(self._flood)
        await self._until(lambda: self._progress.ended >= ended)
        return [Neighbour(name, before.get(name), during.get(name)) for name in neighbours.FLOWS]

    async def _measure(self, start: int, beside: Coroutine[Any, Any, None] | None = None) -> dict[str, float]:
        """The neighbours' medians, in milliseconds; `beside` is done while they are on their way."""
        other = asyncio.create_task(beside) if beside is not None else None
        ended = self._progress.ended + neighbours.ROUNDS * len(neighbours.FLOWS)
        sent: list[int] = []
        for wanted in neighbours.rounds(self._key, start):
            sent += await self._submit(wanted)
            await asyncio.sleep(neighbours.PAUSE)
        if other is not None:
            await other
        await self._until(lambda: self._progress.ended >= ended)
        async with self._engine.database.transaction() as transaction:
            return await neighbours.medians(transaction, sent)

    async def _outage(self) -> None:
        before = self._progress.ended
        quarter = max(1, len(self._handles) // 4)
        self._outage_began = time.monotonic()
        self._tell(f"{len(self._handles)} requests for a profile and its posts go to the API")
        await self._submit_profiles(self._handles[:quarter])
        await self._until(lambda: self._progress.ended >= before + quarter)
        # The time limit is for the case that nobody is left to switch them off.
        await self._simulator.add_fault("outage", OUTAGE, seconds=60)
        await self._simulator.add_fault("rate_limit", STORM, seconds=60, retry_after=5)
        self._tell(f"{OUTAGE} goes down, {STORM} begins to answer 429")
        broken = time.monotonic()
        await self._submit_profiles(self._handles[quarter:])
        most = before + max(quarter, len(self._handles) * 9 // 10)
        await self._until(lambda: self._progress.ended >= most or time.monotonic() - broken >= FAULTS_LAST)
        await self._simulator.clear_faults()
        self._tell(f"{OUTAGE} and {STORM} have recovered")
        await self._until(lambda: self._progress.ended >= self._progress.total)

    async def _add_credentials(self) -> None:
        for source, number in {**POOLS, **neighbours.POOLS}.items():
            for i in range(number):
                secret = neighbours.secret_of(source, self._key, i)
                added, _ = await self._engine.credentials.add(source, secret, label=f"rehearsal {i + 1}")
                self._credentials.append(added)

    async def _end_what_is_left(self, before: int) -> None:
        """Requests of a run that was interrupted go on by themselves, and new credentials are checked: those calls must not be counted
        as this run's. Those that cannot go on are left to wait. `before`: fetches that could go on when this run began."""
        if before:
            self._tell(f"finishing {before:,} {'fetch' if before == 1 else 'fetches'} of an earlier run first")
            self._show(self._progress)
        deadline = time.monotonic() + ENDS_WITHIN
        await self._mailbox.send(CREDENTIALS, self._credentials)
        while not self._stopped() and time.monotonic() < deadline:
            async with self._engine.database.transaction() as transaction:
                left = await transaction.only(report.UNFINISHED)
                checks = await count_due(transaction)
            if not left and not checks:
                return
            await asyncio.sleep(0.1)

    async def _submit_profiles(self, handles: Sequence[str]) -> None:
        wanted = [{"platform": PLATFORM, "flow": FLOW, "params": {"handle": handle}} for handle in handles]
        for start in range(0, len(wanted), CHUNK):
            await self._submit(wanted[start : start + CHUNK])

    async def _submit(self, wanted: Sequence[dict[str, Any]]) -> list[int]:
        """The client repeats what the API could not take: on a busy machine it may have no room for a moment."""
        try:
            async with Client(self._api_url, self._api_key) as client:
                outcomes = await client.submit_many(wanted)
        except ApiError as error:
            raise BeatError(f"the API did not take the requests: {error}") from error
        refused = [one.detail for one in outcomes if isinstance(one, Problem)]
        if refused:
            raise BeatError(f"the API did not take {len(refused):,} of {len(wanted):,} requests: {refused[0]}")
        return [one.id for one in outcomes if isinstance(one, Accepted)]

    async def _until(self, reached: Callable[[], bool]) -> None:
        last = (-1, time.monotonic())
        while not self._stopped():
            async with self._engine.database.transaction() as transaction:
                await report.update(transaction, self._before, self._progress)
            try:
                self._progress.queues = await asyncio.to_thread(queue_depths, self._engine.settings)
            except redis.RedisError:
                self._progress.queues = {}
            self._notice()
            self._show(self._progress)
            if self._progress.ended != last[0]:
                last = (self._progress.ended, time.monotonic())
            if reached() or time.monotonic() - last[1] > ENDS_WITHIN:
                return
            await asyncio.sleep(0.2)

    def _notice(self) -> None:
        self._progress.seconds = time.monotonic() - self._started
        state = self._progress.state
        if state is None:
            return
        now = set(filter(None, state.open.split(", ")))
        for what in sorted(now - self._open):
            self._tell(f"breaker opens: {what}")
        for what in sorted(self._open - now):
            self._tell(f"breaker lets a probe through: {what}")
        self._open = now
        if state.cooling > self._cooling:
            self._tell("1 credential cools down" if state.cooling == 1 else f"{state.cooling} credentials cool down")
        self._cooling = state.cooling

    async def _account(self, measured: Sequence[Neighbour]) -> Report:
        seconds = time.monotonic() - self._outage_began
        for _ in range(50):  # outcomes that came back last are settled within moments
            if not (await self._counts()).unsettled:
                break
            await asyncio.sleep(0.1)
        ledger = await self._simulator.ledger()
        async with self._engine.database.transaction() as transaction:
            return await report.report(
                transaction, self._before, ledger, self._progress, measured, len(self._handles), seconds
            )

    async def _counts(self) -> report.Counts:
        async with self._engine.database.transaction() as transaction:
            return await transaction.only(report.COUNTS)

    def _tell(self, news: str) -> None:
        self._progress.seconds = time.monotonic() - self._started
        self._progress.news.append(f"{self._progress.seconds:5.1f} s  {news}")


def choose_handles(profiles: int, population: int, seed: int | None) -> list[str]:
    """Handles of the simulator's population: the first ones, or with a seed a choice that the same seed makes again."""
    chosen = range(profiles) if seed is None else Random(seed).sample(range(population), profiles)
    return [f"creator_{n:06d}" for n in chosen]
