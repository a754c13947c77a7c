"""Answer with a request or a batch once it has ended, or as it is when the time of the wait is up."""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeVar

from falcon.asgi import Response

from api.access import account_is_its_own
from api.deadline import in_time, uncounted
from api.services import Provider
from api.waiting import COME_BACK, LONGEST, LOOK_WITHIN, Waiting
from beat_actors.access.keyring import Caller
from beat_actors.errors import StorageTooSlow
from beat_actors.requests import queries
from beat_actors.requests.views import RequestView

SOON = 1
"""Seconds after which a caller should look at a request that was just accepted."""


class Endable(Protocol):
    """A request or a batch."""

    @property
    def ended(self) -> bool: ...


T = TypeVar("T", bound=Endable)


async def when_ended(
    waiting: Waiting[int],
    number: int,
    key_id: int,
    wait: int,
    resp: Response,
    *,
    read: Callable[[], Coroutine[Any, Any, T]],
    retry_after: Callable[[], Coroutine[Any, Any, int]],
) -> T:
    """What `read` returns for the row `number` once the row has ended, or after `wait` seconds. `Retry-After` is set where it has not ended.

    The call does not wait where the process has no room for another wait. Where the time of many waits is up at once, some of them answer
    with the row as it was when they began. No connection to the database is held during the wait. Raises what `read` raises.
    `retry_after`: reads the seconds after which the caller should look again.
    """
    if not wait:
        return await in_time(read())
    found = await _looked(waiting, key_id, read)
    if found.ended:
        return found
    ended = False
    if waiting.room(key_id):
        with uncounted():
            ended = await waiting.until_ended(number, wait, key_id)
        if ended or not waiting.looks.full(key_id):
            found = await _looked(waiting, key_id, read)
            if not found.ended:
                resp.set_header("Retry-After", str(await in_time(retry_after())))
            return found
    resp.set_header("Retry-After", str(random.randint(*COME_BACK)))
    return found


async def finished(provider: Provider, request_id: int, caller: Caller, wait: int, resp: Response) -> RequestView:
    """The request, as `when_ended` waits for it. Raises `NotFound`."""
    return await when_ended(
        provider.waiting,
        request_id,
        caller.key_id,
        wait,
        resp,
        read=lambda: _read(provider, request_id, caller),
        retry_after=lambda: _retry_after(provider, request_id),
    )


async def _looked(waiting: Waiting[int], key_id: int, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Read the row when the key has a place among its reads. Raises `StorageTooSlow` where it gets none in time."""
    async with AsyncExitStack() as place:
        try:
            with uncounted():
                async with asyncio.timeout(LOOK_WITHIN):
                    await place.enter_async_context(waiting.looks.of(key_id))
        except TimeoutError:
            raise StorageTooSlow("the reads of other waits of the key were not done in time") from None
        return await in_time(read())


async def _read(provider: Provider, request_id: int, caller: Caller) -> RequestView:
    async with provider.services.database.statements() as alone:
        request = await queries.get_request(alone, request_id, account_id=caller.account_id)
        # Only the requester collects a request, and no other reader.
        if account_is_its_own(caller) or request.api_key_id == caller.key_id:
            return await queries.collect(alone, request)
        return request


async def _retry_after(provider: Provider, request_id: int) -> int:
    async with provider.services.database.statements() as alone:
        seconds = await queries.clears_in(alone, request_id)
    return SOON if seconds is None else max(SOON, min(LONGEST, math.ceil(seconds)))
