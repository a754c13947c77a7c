"""The relay of one sink: it reads the log, publishes in order, and moves the sink's place behind what the sink has confirmed.

Any number of relays may run for a sink; the one with the lease publishes. A relay that dies, or that is taken for dead and comes back, costs repetitions
with the same ids and nothing else: the place moves only behind confirmed events, and its fence keeps it from writing a place.

A sink that takes nothing stands: what was sent and not confirmed is sent again, after pauses. An event that is refused while others are taken is set
aside (`event_parked`) and tried again later, so that all others go on.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from beat_actors.database import Database, arrays
from beat_actors.errors import StorageUnavailable
from beat_actors.events.again import Again, next_try
from beat_actors.events.positions import LEASE, PAGE, PARK, READ, RELEASE, SAVE, UNHELD, Wanted, read, reading
from beat_actors.events.sink import Refusal, Sink, SinkUnavailable, Trouble
from beat_actors.events.window import Entry, Window
from beat_actors.failpoints import hit
from beat_actors.logger import get_logger
from beat_actors.pausing import pause

log = get_logger(__name__)

WINDOW = 3 * PAGE
"""Events that are on their way at most."""
DEPTH = 3
"""Calls of `publish` that are in flight, of a sink that need not keep the order itself."""
LEASE_SECONDS = 10.0
SAVE_EVERY, RENEW_EVERY = 0.25, 3.0
"""Seconds between two writes of the place: while it moves, and while it does not."""
TICK = 2.0
"""Seconds that it sleeps at most, and pauses after an error."""
LOOKS = 3.0
"""Seconds between two looks for parked events and replays."""
OPENS_WITHIN = 8.0
STAND_FIRST, STAND_MOST = 0.25, 2.0
"""Seconds until a sink that stands is tried again: the first pause, and the longest."""
STAND_REFUSED = 30.0
"""Seconds of a pause after a refused login, so that no account is locked for it."""
SENT_AGAIN = 10_000
"""Places at most that are sent again to a server that has lost what it had confirmed."""
FEW = 10
"""Events of a batch from which on a batch that is refused as a whole says that the sink stands."""
OF_ROUTES = frozenset({Trouble.UNROUTABLE, Trouble.NACKED})
"""Troubles of the queues that events of one type go to. Other types may go to others."""
COUNTED = {Trouble.UNROUTABLE: "returned", Trouble.NACKED: "nacked"}


@dataclass(slots=True)
class Counts:
    """What has happened since the place was written last."""

    sent: int = 0
    returned: int = 0
    nacked: int = 0
    parked: int = 0


@dataclass(slots=True)
class Standing:
    """Why a sink takes nothing, and when it is tried again (seconds of the loop's clock). `probes`: with one event, since it refused whole batches."""

    refusal: Refusal
    until: float
    pause: float
    probes: bool = False


class LeaseLost(Exception):
    """Another relay publishes to the sink by now."""


@dataclass
class Relay:
    """The relay of the sink `name`. `last`: the last place of the log, as far as this process knows; `news` is set when it grows."""

    database: Database
    name: str
    sink: Sink
    wanted: Wanted
    holder: str
    last: Callable[[], int]
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._reset(0, 0, 0)

    def _reset(self, fence: int, position: int, stored: int) -> None:
        self._fence, self._stored = fence, stored
        self._window = self._window_from(position)
        self._calls: dict[asyncio.Task[Mapping[int, Refusal]], list[Entry]] = {}
        self._again = Again(self.database, self.name, self.sink, self.wanted)
        self._counts = Counts()
        self._open = False
        self._standing: Standing | None = None
        self._most = PAGE
        # Types whose queues take nothing: those that were tried since the sink stands, and those that were refused while others were taken.
        self._tried, self._unbound = set[str](), set[str]()
        self._saved, self._saved_at, self._ticked_at = position, 0.0, 0.0
        self._said: str | None = None

    def _window_from(self, position: int) -> Window:
        return Window(position, in_order=self.sink.in_order, waits=self.wanted.waits)

    async def run(self, stopped: asyncio.Event) -> None:
        """Publish until `stopped`, whenever this relay has the lease."""
        while not stopped.is_set():
            try:
                if not await self._lease():
                    await pause(stopped.wait(), within=LEASE_SECONDS / 5)
                    continue
                try:
                    await self._hold(stopped)
                finally:
                    await self._let_go()
            except LeaseLost:
                log.warning("sink_lease_lost", sink=self.name)
            except StorageUnavailable as error:
                log.warning("relay_skipped", sink=self.name, error=str(error))
                await pause(stopped.wait(), within=TICK)
            except Exception:
                log.exception("relay_failed", sink=self.name)
                await pause(stopped.wait(), within=TICK)

    async def _lease(self) -> bool:
        values = {"name": self.name, "holder": self.holder, "seconds": LEASE_SECONDS}
        async with self.database.statements() as alone:
            leased = await alone.row(LEASE, values)
        if leased is None:
            return False
        self._reset(leased.fence, leased.seq, leased.stored)
        log.info("sink_leased", sink=self.name, seq=leased.seq)
        return True

    async def _hold(self, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            now = asyncio.get_running_loop().time()
            self.news.clear()
            await self._tend(now)
            # The next page is read while the server works on the present one.
            self._send()
            await self._fill()
            self._send()
            if now - self._saved_at >= (SAVE_EVERY if self._is_due else RENEW_EVERY):
                await self._save()
            await self._wait()
            self._collect()
        # What is confirmed within a moment need not be sent again by the next relay.
        if self._calls:
            await asyncio.wait(self._calls, timeout=2.0)
            self._collect()
        await self._save()

    async def _let_go(self) -> None:
        for task in self._calls:
            task.cancel()
        self._again.cancel()
        await self.sink.close()
        async with self.database.statements() as alone:
            await alone.run(RELEASE, {"name": self.name, "fence": self._fence})

    @property
    def _is_due(self) -> bool:
        return self._window.position != self._saved or bool(self._window.parking()) or self._trouble_now() != self._said

    async def _tend(self, now: float) -> None:
        """Open the sink, let refused events be sent again, look for parked events and replays."""
        standing = self._standing
        if not self._open and (standing is None or now >= standing.until):
            await self._open_sink(now)
        self._window.wake(now)
        if len(self._window) >= WINDOW:
            self._window.make_room()
        if self._open and self._standing is None and now - self._ticked_at >= LOOKS:
            self._ticked_at = now
            self._again.begin()

    async def _open_sink(self, now: float) -> None:
        try:
            async with asyncio.timeout(OPENS_WITHIN):
                await self.sink.open(self._stored)
            self._open = True
            if (standing := self._standing) is not None and not standing.probes:
                # Only what it takes says that it works: some servers take a connection and nothing else.
                self._standing = replace(standing, until=now, probes=True) if self._window.has_ready else None
        except SinkUnavailable as error:
            self._lost(error)
            self._stand(Refusal(error.trouble, str(error)), now)
        except TimeoutError:
            self._stand(Refusal(Trouble.UNREACHABLE, f"it did not open within {OPENS_WITHIN:g} s"), now)
        except Exception as error:  # whatever a sink of another distribution raises
            log.exception("sink_open_failed", sink=self.name)
            self._stand(Refusal(Trouble.UNREACHABLE, f"{type(error).__name__} while it opened"), now)

    def _lost(self, error: SinkUnavailable) -> None:
        """Send again what the server had confirmed and has lost, as far back as `SENT_AGAIN`."""
        if error.trouble is not Trouble.LOST or error.stored is None:
            return
        self._stored = error.stored
        position = self._window.position
        begin = max(error.stored, position - SENT_AGAIN)
        if begin < position and not self._calls:
            log.warning("sink_sends_again", sink=self.name, after=begin, up_to=position)
            self._window = self._window_from(begin)

    def _stand(self, refusal: Refusal, now: float, *, probes: bool = False) -> None:
        before = self._standing
        pause = STAND_FIRST if before is None else min(before.pause * 2, STAND_MOST)
        if refusal.trouble is Trouble.AUTH:
            pause = STAND_REFUSED
        if before is None or before.refusal.trouble is not refusal.trouble:
            log.warning("sink_stands", sink=self.name, trouble=refusal.trouble, reason=refusal.reason)
        self._standing = Standing(refusal, now + pause, pause, probes)
        self._open = self._open and probes

    async def _fill(self) -> None:
        last = self.last()
        while self._window.read_to < last and len(self._window) + PAGE <= WINDOW:
            sink = self.name if self.wanted.waits else None
            async with self.database.statements() as alone:
                page = await alone.only(READ, reading(self._window.read_to, last, PAGE, self.wanted, sink=sink))
            if page.seq is None:
                return
            hit("publish.after_read", self.name)
            self._window.read(((row.event(), row.held) for row in read(page.events)), page.seq)

    def _send(self) -> None:
        standing, loop = self._standing, asyncio.get_running_loop()
        if not self._open or (standing is not None and (loop.time() < standing.until or self._calls)):
            return
        most = 1 if standing is not None else self._most
        depth = 1 if self.sink.in_order or standing is not None or self._most < PAGE else DEPTH
        while self._window.has_ready and len(self._calls) < depth:
            entries = self._window.take(most, last=self._tried)
            hit("publish.before_publish", self.name)
            call = asyncio.ensure_future(self.sink.publish([entry.event for entry in entries]))
            self._calls[call] = entries

    def _collect(self) -> None:
        for call in [call for call in self._calls if call.done()]:
            entries, now = self._calls.pop(call), asyncio.get_running_loop().time()
            error = call.exception()
            if error is None:
                hit("publish.after_publish", self.name)
                self._settle(entries, call.result(), now)
            elif isinstance(error, SinkUnavailable):
                self._window.give_back(entries)
                self._lost(error)
                self._stand(Refusal(error.trouble, str(error)), now)
            elif len(entries) > 1:
                # One of them may be what it cannot send: halves find it.
                log.error("sink_failed", sink=self.name, events=len(entries), error=f"{type(error).__name__}: {error}")
                self._window.give_back(entries)
                self._most = max(len(entries) // 2, 1)
            else:
                reason = f"the sink raised {type(error).__name__} for it: {error}"[:300]
                self._settle(entries, {0: Refusal(Trouble.INVALID, reason)}, now)

    def _settle(self, entries: list[Entry], refused: Mapping[int, Refusal], now: float) -> None:
        for refusal in refused.values():
            if name := COUNTED.get(refusal.trouble):
                setattr(self._counts, name, getattr(self._counts, name) + 1)
        first = next(iter(refused.values()), None)
        unbound = {entries[place].event.type for place, one in refused.items() if one.trouble in OF_ROUTES}
        if (
            first is not None
            and len(refused) == len(entries)
            and first.trouble is not Trouble.INVALID
            and not (unbound and unbound <= self._unbound)
            and (len(entries) >= FEW or self._standing is not None or self.sink.in_order)
        ):
            self._window.give_back(entries)
            self._tried |= unbound
            self._stand(first, now, probes=True)
            return
        later = (
            next((one for one in refused.values() if one.trouble is not Trouble.INVALID), None)
            if self.sink.in_order
            else None
        )
        if later is not None:
            # It took the first part; the rest comes again, in order.
            self._stand(later, now, probes=True)
        else:
            self._standing = None
            self._most = min(self._most * 2, PAGE)
            if self._unbound or self._tried:
                found = {entry.event.type for place, entry in enumerate(entries) if place not in refused}
                self._unbound = (self._unbound | self._tried) - found
                self._tried = set()
        taken = entries if not refused else [entry for place, entry in enumerate(entries) if place not in refused]
        self._window.taken(taken)
        self._counts.sent += len(taken)
        self._stored = max(self._stored, max((entry.event.seq for entry in taken), default=0))
        again: list[Entry] = []
        for place in sorted(refused):
            entry = entries[place]
            if later is not None and refused[place].trouble is not Trouble.INVALID:
                again.append(entry)
            else:
                at_once = refused[place].trouble in OF_ROUTES and entry.event.type in self._unbound
                self._window.refused(entry, refused[place], now, at_once=at_once)
        self._window.give_back(again)

    async def _wait(self) -> None:
        """Until a call has returned, the log has grown or something is due."""
        now, standing = asyncio.get_running_loop().time(), self._standing
        within = SAVE_EVERY if self._is_due or standing is not None else TICK
        if standing is not None and not self._calls:
            within = min(within, max(standing.until - now, 0.01))
        elif (due := self._window.wake(now)) is not None:
            within = min(within, max(due, 0.01))
        news = asyncio.ensure_future(self.news.wait())
        await asyncio.wait([*self._calls, news], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def _refusal(self) -> Refusal | None:
        of_sink = self.sink.trouble() if self._open else None
        return of_sink or (None if self._standing is None else self._standing.refusal)

    def _trouble_now(self) -> str | None:
        refusal = self._refusal()
        return None if refusal is None else refusal.trouble.value

    async def _save(self) -> None:
        """Write the place, what is set aside and why the sink stands, and prolong the lease. Raises `LeaseLost`."""
        refusal = self._refusal()
        parkings, position, counts = list(self._window.parking()), self._window.position, self._counts
        self._counts = Counts()
        counts.sent += self._again.counted()
        counts.parked = len(parkings)
        values = {
            "name": self.name,
            "fence": self._fence,
            "seconds": LEASE_SECONDS,
            "sent": counts.sent,
            "returned": counts.returned,
            "nacked": counts.nacked,
            "parked": counts.parked,
            "trouble": None if refusal is None else refusal.trouble.value,
            "reason": None if refusal is None else refusal.reason[:500],
        }
        # With nothing to set aside it is one statement, and one round trip.
        begin = self.database.transaction if parkings else self.database.statements
        async with begin() as transaction:
            if parkings:
                rows = [
                    (
                        one.entry.event.seq,
                        one.refusal.trouble.value,
                        one.refusal.reason[:500],
                        one.behind,
                        next_try(0, one.refusal),
                    )
                    for one in parkings
                ]
                named = arrays(rows, "seqs", "troubles", "reasons", "behind", "seconds")
                await transaction.run(PARK, {"sink": self.name, "fence": self._fence} | named)
                self._window.parked(parkings)
                position = self._window.position
            held = await transaction.row(SAVE, values | {"seq": position, "stored": self._stored})
            if held is None:
                raise LeaseLost
            if behind := [one.entry.event.seq for one in parkings if one.behind]:
                await transaction.run(UNHELD, {"sink": self.name, "seqs": behind})
        if position != self._saved:
            hit("publish.after_save", self.name)
        self._saved, self._saved_at = position, asyncio.get_running_loop().time()
        self._said = None if refusal is None else refusal.trouble.value
