"""A limit to how long a caller is kept while what Beat stands on does not answer, whatever it is that it does instead.

One deadline for each call, from its first moment on: the look at its key, the count of its rate and all statements share it. What the
caller itself takes, who sends a body slowly or waits for a request to end, is not counted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from falcon.asgi import Request, Response

from beat_actors.errors import StorageTooSlow

T = TypeVar("T")
Responder = Callable[..., Awaitable[None]]

PATIENCE = 1.7
"""Seconds. With what else a call takes, the caller is answered within two."""
GRACE = 0.1
"""Seconds for which a responder that was told of it may still answer by itself, as who has accepted something does."""


class Patience:
    """What is left of one call's time. `over` is done when nothing is."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._left = seconds
        self._go_on()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._timer.cancel()
        self._left = self.left()
        try:
            yield
        finally:
            self._go_on()

    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._ends - self._loop.time())

    def end(self) -> None:
        self._timer.cancel()

    def _go_on(self) -> None:
        self._ends = self._loop.time() + self._left
        self._timer = self._loop.call_later(self._left, self._run_out)

    def _run_out(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


CALL: ContextVar[Patience | None] = ContextVar("CALL", default=None)


class Hourglass:
    """Falcon middleware: each call's time begins when it comes, and is stopped when it is answered."""

    async def process_request(self, _req: Request, _resp: Response) -> None:
        CALL.set(Patience())

    async def process_response(self, _req: Request, _resp: Response, _resource: Any, _succeeded: bool) -> None:
        if (patience := CALL.get()) is not None:
            patience.end()


async def in_time(work: Coroutine[Any, Any, T], *, within: float | None = None) -> T:
    """What the work comes to. Raises `StorageTooSlow` where it is not done in the call's time, or `within` so many seconds.

    The work is cancelled then and not waited for: a driver whose server is frozen takes seconds to give up. Whether it had an
    effect is not known.
    """
    return await _until_over(work, CALL.get() or Patience(), within=within)


def answered_in_time(responder: Responder) -> Responder:
    """A responder that is bounded as `in_time` bounds a piece of work."""

    @wraps(responder)
    async def bounded(req: Request, resp: Response, **params: Any) -> None:
        await _until_over(responder(req, resp, **params), CALL.get() or Patience(), grace=GRACE)

    return bounded


def left() -> float:
    """Seconds of this call's time."""
    patience = CALL.get()
    return PATIENCE if patience is None else patience.left()


@contextmanager
def elsewhere() -> Iterator[None]:
    """What happens meanwhile takes nothing of the call's time."""
    patience = CALL.get()
    if patience is None:
        yield
        return
    with patience.paused():
        yield


async def _until_over(work: Awaitable[T], patience: Patience, *, within: float | None = None, grace: float = 0.0) -> T:
    task = asyncio.ensure_future(work)
    either: set[asyncio.Future[Any]] = {task, patience.over}
    try:
        await asyncio.wait(either, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if grace and not task.done():
            await asyncio.wait({task}, timeout=grace)
    finally:
        if not task.done():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
    if not task.done() or task.cancelled():
        raise StorageTooSlow("the database did not do it in the time that a caller is kept")
    return task.result()
