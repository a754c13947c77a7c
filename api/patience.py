"""A limit to how long a caller is kept while what Beat stands on does not answer, whatever it is that it does instead.

One deadline for each call, from its first moment on: the look at its key, the count of its rate and all statements share it. What the
caller itself takes, who sends a body slowly or waits for a request to end, is not counted.
"""

import asyncio
import time
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
MOMENT = 0.01
"""Seconds at least between two looks."""
BOUNDS_ITSELF = "bounds_itself"


class Patience:
    """What is left of one call's time. A call makes one and few look at it, so it is two numbers."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._ends = time.monotonic() + seconds
        self._kept: float | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._kept = self.left()
        try:
            yield
        finally:
            self._ends, self._kept = time.monotonic() + self._kept, None

    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._ends - time.monotonic()) if self._kept is None else self._kept

    @property
    def over(self) -> bool:
        return self._kept is None and self.left() == 0


CALL: ContextVar[Patience | None] = ContextVar("CALL", default=None)


class Hourglass:
    """Falcon middleware: each call's time begins when it comes."""

    async def process_request(self, _req: Request, _resp: Response) -> None:
        CALL.set(Patience())


async def in_time(work: Coroutine[Any, Any, T], *, within: float | None = None) -> T:
    """What the work comes to. Raises `StorageTooSlow` where it is not done in the call's time, or `within` so many seconds.

    The work is cancelled then and not waited for: a driver whose server is frozen takes seconds to give up. Whether it had an
    effect is not known.
    """
    return await _until_over(work, CALL.get() or Patience(), within=within)


def answered_in_time(responder: Responder) -> Responder:
    """A responder that is bounded as `in_time` bounds a piece of work, unless it `bounds_itself`."""
    if getattr(responder, BOUNDS_ITSELF, False):
        return responder

    @wraps(responder)
    async def bounded(req: Request, resp: Response, **params: Any) -> None:
        await _until_over(responder(req, resp, **params), CALL.get() or Patience(), grace=GRACE)

    return bounded


def bounds_itself(responder: Responder) -> Responder:
    """A responder that is called so often that a task for each call would be felt: what it waits for is told how much
    time is `left`, or is bounded by `in_time`."""
    setattr(responder, BOUNDS_ITSELF, True)
    return responder


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
    ends = float("inf") if within is None else time.monotonic() + within
    try:
        # It may pause meanwhile, so the time is looked at again when it seems to be over.
        while not (task.done() or patience.over or time.monotonic() >= ends):
            await asyncio.wait({task}, timeout=max(MOMENT, min(patience.left(), ends - time.monotonic())))
        if grace and not task.done():
            await asyncio.wait({task}, timeout=grace)
    finally:
        if not task.done():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
    if not task.done() or task.cancelled():
        raise StorageTooSlow("the database did not do it in the time that a caller is kept")
    return task.result()
