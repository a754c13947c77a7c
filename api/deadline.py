"""The deadline of each call: how long a caller waits at most while PostgreSQL or Redis does not answer, or the process is busy.

It begins when the call arrives, and all that the call does shares it: its time in line, the check of the key, the count of its rate, every statement.
The time that the caller itself takes does not count: while it sends a body, and while it waits for a request to end. Meanwhile the call gives its place
at work to others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from falcon.asgi import Request, Response

from api.line import Line, Place
from beat_actors.errors import StorageTooSlow

T = TypeVar("T")
Responder = Callable[..., Awaitable[None]]

SECONDS = 1.7
"""Seconds. With the rest of a call's time, a caller has its answer within two seconds."""
GRACE = 0.1
"""Seconds in which a responder may still answer by itself after the deadline, as it does where it has accepted something."""
MOMENT = 0.01
"""Seconds at least between two checks of the deadline."""
BOUNDS_ITSELF = "bounds_itself"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class Deadline:
    """The time that is left to one call, and its place at work. It is little, because each call makes one."""

    __slots__ = ("_ends", "_kept", "_line", "_place", "_who")

    def __init__(self, seconds: float = SECONDS, *, line: Line | None = None, who: str = "") -> None:
        self._ends = time.monotonic() + seconds
        self._kept: float | None = None
        self._line, self._who = line, who
        self._place: Place | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time within the block does not count, and the call is not at work."""
        self._kept = self.left()
        if self._place is not None:
            self._place.leave()
        try:
            yield
        finally:
            self._ends, self._kept = time.monotonic() + self._kept, None
            if self._place is not None:
                self._place.back()

    async def begin(self) -> None:
        """Wait in line for a place at work, unless the call has one. Raises `Busy`."""
        if self._line is not None and self._place is None:
            self._place = await self._line.place(self._who)

    def end(self) -> None:
        """The call is done, or sends what it has found: its place is free."""
        if self._place is not None:
            self._place.leave()

    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._ends - time.monotonic()) if self._kept is None else self._kept

    @property
    def over(self) -> bool:
        return self._kept is None and self.left() == 0


CALL: ContextVar[Deadline | None] = ContextVar("CALL", default=None)


class StartOfCall:
    """Falcon middleware: the time of a call begins when the call arrives, and it waits in line for its place at work; a call with a body when that was
    read. Probes and metrics do not wait: they tell how a busy process is."""

    def __init__(self) -> None:
        self._line = Line()

    async def process_request(self, req: Request, _resp: Response) -> None:
        line = None if req.path in PROBES else self._line
        deadline = Deadline(line=line, who=req.get_header("Authorization") or "")
        CALL.set(deadline)
        if not (req.content_length or req.get_header("Transfer-Encoding")):
            await deadline.begin()

    async def process_response(self, *_: object) -> None:
        ended()


async def in_time(work: Coroutine[Any, Any, T], *, within: float | None = None) -> T:
    """The result of the work. Raises `StorageTooSlow` where it is not done before the deadline, or `within` so many seconds.

    The work is then cancelled, and its end is not awaited: a driver whose server is frozen takes seconds to give up. Nobody knows whether the
    work had an effect.
    """
    return await _until_over(work, CALL.get() or Deadline(), within=within)


def answered_in_time(responder: Responder) -> Responder:
    """A responder with the deadline of its call, unless it `bounds_itself`."""
    if getattr(responder, BOUNDS_ITSELF, False):
        return responder

    @wraps(responder)
    async def bounded(req: Request, resp: Response, **params: Any) -> None:
        await _until_over(responder(req, resp, **params), CALL.get() or Deadline(), grace=GRACE)

    return bounded


def bounds_itself(responder: Responder) -> Responder:
    """Mark a responder that is called so often that a task for each call would cost too much. It must bound each wait by the time that is
    `left`, or with `in_time`."""
    setattr(responder, BOUNDS_ITSELF, True)
    return responder


async def at_work() -> None:
    """Wait until this call, whose body was read, has its place at work. Raises `Busy`."""
    deadline = CALL.get()
    if deadline is not None:
        await deadline.begin()


def ended() -> None:
    """This call is done, or sends what it has found."""
    deadline = CALL.get()
    if deadline is not None:
        deadline.end()


def left() -> float:
    """Seconds until the deadline of this call."""
    deadline = CALL.get()
    return SECONDS if deadline is None else deadline.left()


@contextmanager
def uncounted() -> Iterator[None]:
    """The time within the block does not count for the deadline."""
    deadline = CALL.get()
    if deadline is None:
        yield
        return
    with deadline.paused():
        yield


async def _until_over(work: Awaitable[T], deadline: Deadline, *, within: float | None = None, grace: float = 0.0) -> T:
    task = asyncio.ensure_future(work)
    ends = float("inf") if within is None else time.monotonic() + within
    try:
        # The deadline may have been paused meanwhile, so it is checked again each time that it seems to be over.
        while not (task.done() or deadline.over or time.monotonic() >= ends):
            await asyncio.wait({task}, timeout=max(MOMENT, min(deadline.left(), ends - time.monotonic())))
        if grace and not task.done():
            await asyncio.wait({task}, timeout=grace)
    finally:
        if not task.done():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
    if not task.done() or task.cancelled():
        raise StorageTooSlow("the database did not do it before the deadline of the call")
    return task.result()
