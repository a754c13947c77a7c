"""Retrieve: claim leases, make their calls, and commit each answer soon after it came.

A lease is taken and its call begun without waiting for it: what a process has out is counted in calls, not in threads, and a provider
that hangs delays nobody's calls but its own. Answers that somebody waits for have commits of their own, which wait for no others.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from beat_actors.engine import Engine
from beat_actors.failpoints import hit
from beat_actors.fetches.claims import Lease, Retrieved
from beat_actors.fetches.holding import Held, held
from beat_actors.logger import get_logger
from beat_actors.pipeline.answers import Called, check, decided, is_urgent, make, unmade
from beat_actors.pipeline.batches import Batches
from beat_actors.pipeline.call import Standing
from beat_actors.pipeline.completion import complete
from beat_actors.pipeline.leases import by_call, claim
from beat_actors.pipeline.onward import Onward
from beat_actors.pipeline.stage import Renewer, StageResult, staged
from beat_actors.platforms.interface import Health

log = get_logger(__name__)

Generation = tuple[int, int]
"""A credential, and the generation of its secret."""
Found = Mapping[Generation, Health]
Deliver = Callable[[StageResult], Awaitable[None]]

COMMIT_EVERY = 0.05
"""Seconds for which an answer waits at most for others that come at the same time; the first does not wait."""
ENOUGH, MOST = 20, 50
"""Calls for which a commit begins at once, and that one commit takes at most."""
COMMITS = 2
"""Commits at a time. Where PostgreSQL is slow, more answers come into one."""
URGENT_TOGETHER, URGENT_COMMITS = 10, 4
"""The same for urgent answers: calls that one commit takes at most, and commits at a time."""
DELIVERED_TOGETHER = 100
"""Commits that one delivery covers at most."""
LAST = 2.0
"""Seconds that a process which ends gives to the commits that are left."""


class Retriever:
    """The calls of a process. One for each process and event loop.

    `deliver` gets what is to be done next, soon after each commit. Commits do not wait for it. `onward`: takes what was retrieved and
    stays in this process.
    """

    def __init__(self, engine: Engine, deliver: Deliver, onward: Onward | None = None) -> None:
        self._engine = engine
        self._deliver = deliver
        self._onward = onward
        self._renewer = Renewer(engine.database, on_lost=self._break_off)
        self._calls: dict[asyncio.Task[list[Called]], set[Held]] = {}
        self._committing = Batches(self._commit, every=COMMIT_EVERY, enough=ENOUGH, most=MOST, at_once=COMMITS)
        self._urgent = Batches(self._commit, every=0.0, enough=1, most=URGENT_TOGETHER, at_once=URGENT_COMMITS)
        self._telling = Batches(self._tell, every=0.0, enough=1, most=DELIVERED_TOGETHER, at_once=1)
        self._ambiguous: dict[Generation, list[Sequence[Called]]] = {}
        self._asking: dict[Generation, asyncio.Task[Found]] = {}
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether it holds as many leases as it may."""
        return len(self._renewer) >= self._engine.settings.process_calls

    async def take(self, fetch_ids: Sequence[int]) -> None:
        """Claim these leases and begin their calls. What is not in a state to be claimed is left alone. Raises `StorageUnavailable`."""
        result = StageResult()
        started = time.monotonic()
        hit("retrieve.before_claim", fetch_ids)
        claims = await self._engine.database.again(lambda: claim(self._engine, fetch_ids, result))
        if result.wake:
            self._telling.add(result)
        if not claims:
            return
        hit("retrieve.after_claim", fetch_ids)
        self._renewer.hold(claims)
        try:
            shared = by_call(claims)
        except BaseException:
            self._commit_soon(unmade(claims))
            raise
        standing = Standing(self._engine.database, claims, started)
        for one in shared:
            self._begin(one, standing, started)

    async def drain(self, seconds: float) -> None:
        """Wait for the calls in flight, so long at most, and commit what they came to. What is retrieved is left to other processes."""
        if self._onward is not None:
            self._onward.take_no_more()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_done()

    async def close(self) -> None:
        """Break off what is still out. Leases whose call was not begun are returned unused, and what was answered is committed, where
        PostgreSQL answers at once. What is taken later is returned unused."""
        self._closed = True
        for task in [*self._calls, *self._asking.values()]:
            task.cancel()
        await self.drain(LAST)
        await self._renewer.close()
        if self._onward is not None:
            await self._onward.close()

    async def _all_done(self) -> None:
        while self._calls or self._asking:
            await asyncio.wait([*self._calls, *self._asking.values()])
        await self._urgent.done()
        await self._committing.done()
        await self._telling.done()
        if self._onward is not None:
            await self._onward.done()

    def _begin(self, claims: Sequence[Lease], standing: Standing, started: float) -> None:
        """Begin one call for these claims."""
        if self._closed:
            self._commit_soon(unmade(claims))
            return
        task = asyncio.create_task(make(self._engine, claims, standing, started))
        self._calls[task] = held(claims)
        task.add_done_callback(partial(self._ended, claims, standing))

    def _ended(self, claims: Sequence[Lease], standing: Standing, task: asyncio.Task[list[Called]]) -> None:
        """The last resort: where a call is broken off before it was begun, its lease is returned unused; one that was begun keeps its lease,
        and the sweep that finds it says that its outcome is unknown."""
        del self._calls[task]
        head = claims[0]
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            called = task.result()
            if any(item.verdict.ambiguous for item in called):
                self._verify(called)
            else:
                self._commit_soon(called)
            return
        if error is not None:
            log.error("call_failed", fetch=head.id, source=head.source, operation=head.operation, exc_info=error)
        if head.id in standing.begun:
            self._renewer.release(claims)
        else:
            self._commit_soon(unmade(claims))

    def _commit_soon(self, called: Sequence[Called]) -> None:
        (self._urgent if is_urgent([item.claim for item in called]) else self._committing).add(called)

    def _verify(self, called: Sequence[Called]) -> None:
        """Verify an ambiguous answer, for which the credential may be at fault: ask the credential's check before the answer is acted upon, once for all ambiguous answers until the
        check is answered."""
        claim = called[0].claim
        secret = claim.credential_id, claim.generation
        if self._closed:
            self._commit_soon(decided(called, {}))
            return
        self._ambiguous.setdefault(secret, []).append(called)
        if secret not in self._asking:
            task = self._asking[secret] = asyncio.create_task(check(self._engine, claim))
            task.add_done_callback(partial(self._asked, secret))

    def _asked(self, secret: Generation, task: asyncio.Task[Found]) -> None:
        """An answer whose check is broken off was paid for. It is committed as one whose check could not be asked."""
        del self._asking[secret]
        found = {} if task.cancelled() else task.result()
        for called in self._ambiguous.pop(secret):
            self._commit_soon(decided(called, found))

    async def _commit(self, calls: Sequence[Sequence[Called]]) -> None:
        claims = [item.claim for called in calls for item in called]
        frames = [item.frame for called in calls for item in called]
        urgent = is_urgent([item.claim for item in calls[0]])
        result = StageResult()
        onward = self._onward
        if onward is not None and not onward.has_room(frames, urgent=urgent):
            onward = None
        held = None if onward is None else list[Retrieved]()
        hit("retrieve.after_http", [each.id for each in claims])
        began = time.monotonic()
        try:
            await complete(self._engine, calls, result, held)
            hit("retrieve.after_commit", [each.id for each in claims])
        finally:
            staged(self._engine.database, "retrieve", len(claims), time.monotonic() - began)
            self._renewer.release(claims)
            if onward is not None and held:
                onward.take(held, urgent=urgent)
            if result != StageResult():
                self._telling.add(result)

    async def _tell(self, results: Sequence[StageResult]) -> None:
        together = StageResult()
        for result in results:
            together.add(result)
        await self._deliver(together)

    def _break_off(self, lost: set[Held]) -> None:
        """A call is broken off when none of its fetches is held any more."""
        for task, fetches in self._calls.items():
            if fetches & lost:
                fetches -= lost
                if not fetches:
                    task.cancel()
