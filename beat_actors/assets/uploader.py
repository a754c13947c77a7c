"""Uploads assets as long as there are any: claim, fetch, check, store, commit.

It claims by itself and goes on as long as claims give work; a message only ends its sleep. What it has in flight is bounded by its room
(descriptors, memory), by the flow's limit over all processes, and by what the bucket takes. All of its state is in the rows: a process that is
killed loses its leases, and no picture.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from beat_actors.assets import claims, commits
from beat_actors.assets.claims import BATCH, LEASE, Claimed
from beat_actors.assets.commits import End, State
from beat_actors.assets.committer import Committer
from beat_actors.assets.order import COUNTED, Ageing, Rate, horizon, soon
from beat_actors.assets.starts import Starts
from beat_actors.assets.storing import Store, Storing
from beat_actors.assets.upkeep.caps import Caps
from beat_actors.assets.upload import Checker, Fetcher, Upload
from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable
from beat_actors.failpoints import hit
from beat_actors.logger import get_logger

log = get_logger(__name__)

TIDIES, COUNTS, RENEWS = 1.0, 30.0, 10.0
"""Seconds between two claims that bring back what waited, two counts of the backlog, two renewals of leases."""
IDLE = 5.0
"""Seconds after which a process that found nothing looks again, if no message comes before."""
AFTER_TROUBLE = 1.0
SMALL = 0.05
"""Seconds between two claims of few assets."""
STORING = 5.0
"""Seconds of the bucket's work that may wait for it before no more is claimed."""
LEAST_STORING = 64


@dataclass(slots=True)
class InFlight:
    """An upload that has begun, on `time.monotonic`."""

    asset: Claimed
    since: float
    task: "asyncio.Task[None] | None" = None


class Uploader:
    """Of one process; made and closed inside its event loop. `slots`: uploads in flight. `per_second`: as `Starts` has it. `caps`: the limits of a day. `trouble`: as `Storing` has it."""

    def __init__(
        self,
        database: Database,
        origin: Fetcher,
        check: Checker,
        store: Store,
        *,
        slots: int,
        per_second: float | None = None,
        caps: Caps | None = None,
        trouble: Callable[[str | None], None] = lambda _said: None,
    ) -> None:
        self.storing = Storing(store, partial(commits.known, database), trouble=trouble, most=self._together)
        self._database = database
        self._store = store
        self._slots = slots
        self._starts = Starts(per_second)
        self._caps = caps or Caps(database)
        self._upload = Upload(origin, check, self.storing)
        self._committer = Committer(self._write, self._done, self._together)
        self._in_flight: dict[tuple[object, int], InFlight] = {}
        self._ageing, self._rate = Ageing(), Rate()
        self._urgent = horizon(COUNTED, self._rate.per_second)
        self._changed = asyncio.Event()
        self._stopping = False
        self._claimed = self._tidied = self._counted = self._renewed = float("-inf")
        self._pump: asyncio.Task[None] | None = None
        self._puts_per_second = float(slots)

    def start(self) -> "Uploader":
        self._pump = asyncio.create_task(self._run())
        return self

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def rate(self) -> float:
        """Uploads a second, lately."""
        return self._rate.per_second

    def _together(self) -> int:
        """Uploads that need not wait for others to ask or to commit. Where few are in flight, they would wait for some that cannot come."""
        return max(1, min(BATCH, len(self._in_flight) // 4))

    def wake(self) -> None:
        """There may be something to claim. Call it on the event loop."""
        self._changed.set()

    async def close(self, seconds: float) -> None:
        """Claim no more, wait so long for what is in flight, give back the rest, and commit."""
        self._stopping = True
        self._changed.set()
        if self._pump is not None:
            await self._pump
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=seconds)
        for task in (left := self._tasks()):
            task.cancel()
        if left:
            await asyncio.wait(left)
        await self._committer.drain()

    def _tasks(self) -> list["asyncio.Task[None]"]:
        return [one.task for one in self._in_flight.values() if one.task is not None and not one.task.done()]

    async def _run(self) -> None:
        while not self._stopping:
            self._changed.clear()
            try:
                await self._renew()
                pause = await self._claim()
            except StorageUnavailable as error:
                log.warning("uploads_not_claimed", error=str(error))
                pause = AFTER_TROUBLE
            except Exception:
                log.exception("uploads_not_claimed")
                pause = AFTER_TROUBLE
            if pause == SMALL:
                await asyncio.sleep(pause)
            elif pause and not self._stopping:
                await _within(self._changed, pause)

    async def _claim(self) -> float:
        """Begin what there is room for; seconds until the next claim, unless something changes before."""
        now = time.monotonic()
        breaker = self.storing.breaker
        if breaker.is_open and (breaker.pause or self._in_flight):
            return max(breaker.pause, 0.2)
        free = 1 if breaker.is_open else min(self._room(), BATCH)
        room = self._starts.room(free, now)
        if free > 0 and not room:
            return SMALL
        if room < min(BATCH, self._slots // 8) and self._in_flight and not breaker.is_open:
            if room <= 0:
                return RENEWS  # an end makes room
            if now - self._claimed < SMALL:
                return SMALL  # a few ends more make a larger claim
        self._claimed = now
        await self._count(now)
        allowed = await self._caps.allowed()
        tidies = now - self._tidied >= TIDIES
        aged = self._ageing.share(room, now)
        found = await claims.claim(
            self._database,
            room,
            urgent=self._urgent,
            soon=soon(self._rate.latency),
            aged=aged,
            classes=allowed.classes,
            readers=allowed.readers,
            tidies=tidies,
        )
        if tidies:
            self._tidied = now
        self._ageing.claimed([one.of_class for one in found if not one.wanted], room, aged, now)
        if found:
            hit("upload.after_claim", [one.public_id for one in found])
        self._starts.began(len(found))
        for asset in found:
            one = self._in_flight[asset.public_id, asset.fence] = InFlight(asset, time.monotonic())
            one.task = asyncio.create_task(self._one(asset))
        if not found and not self._in_flight:
            self._rate.idle()
        if len(found) == room and not breaker.is_open:
            return 0.0
        return TIDIES if self._in_flight else IDLE

    def _room(self) -> int:
        """Slots that are free, and none where too much waits for the bucket already."""
        if self.storing.waiting > max(LEAST_STORING, STORING * self._puts_per_second):
            return 0
        return self._slots - len(self._in_flight)

    async def _count(self, now: float) -> None:
        """Look how long the backlog takes."""
        if now - self._counted >= COUNTS:
            self._counted = now
            self._urgent = horizon(await claims.depth(self._database), self._rate.per_second)
            self._puts_per_second = await self._store.puts_per_second()

    async def _renew(self) -> None:
        """Keep what is in flight for long."""
        now = time.monotonic()
        if now - self._renewed < RENEWS:
            return
        self._renewed = now
        old = [key for key, one in self._in_flight.items() if now - one.since > LEASE / 3]
        for at in range(0, len(old), 500):
            await claims.renew(self._database, old[at : at + 500])  # type: ignore[arg-type]

    async def _one(self, asset: Claimed) -> None:
        try:
            end = await self._upload(asset)
        except asyncio.CancelledError:
            end = End(asset, State.PENDING, counts=False)
        except Exception as error:
            log.exception("upload_failed", asset=str(asset.public_id), meaning="it is tried again")
            end = End(asset, State.WAITING, failure=f"unforeseen: {type(error).__name__}", delay=60.0)
        self._committer.add(end)

    async def _write(self, ends: Sequence[End]) -> list[commits.Ended]:
        ended = await self._database.again(partial(commits.commit, self._database, ends))
        hit("upload.after_commit", [end.asset.public_id for end in ends])
        return ended

    def _done(self, ends: Sequence[End]) -> None:
        now, seconds = time.monotonic(), 0.0
        for end in ends:
            one = self._in_flight.pop((end.asset.public_id, end.asset.fence), None)
            seconds += now - one.since if one is not None else 0.0
        self._rate.done(len(ends), seconds / len(ends), now)
        self._changed.set()


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
