"""Answer with a request: as it is now, or once it has ended."""

import asyncio
import math
import random
from contextlib import AsyncExitStack

from falcon.asgi import Response

from api.access import (
    account_is_its_own,
)
from api.deadline import in_time, uncounted
from api.services import Provider
from api.waiting import COME_BACK, LONGEST, LOOK_WITHIN
from beat_actors.access.keyring import Caller
from beat_actors.errors import StorageTooSlow
from beat_actors.requests import queries
from beat_actors.requests.queries import RequestView

SOON = 1
"""Seconds after which a caller should look at a request that was just accepted."""


async def finished(provider: Provider, request_id: int, caller: Caller, wait: int, resp: Response) -> RequestView:
    """The request once it has ended, or as it is after `wait` seconds. `Retry-After` is set where it has not ended.

    The call does not wait where the process has no room for another wait. Where the time of many waits is up at once, some of them answer
    with the request as it was when they began. No connection to the database is held during the wait. Raises `NotFound`.
    """
    if not wait:
        return await in_time(_read(provider, request_id, caller))
    request = await _looked(provider, request_id, caller)
    if request.ended:
        return request
    waiting, ended = provider.waiting, False
    if waiting.room(caller.key_id):
        with uncounted():
            ended = await waiting.until_ended(request_id, wait, caller.key_id)
        if ended or not waiting.looks.full(caller.key_id):
            request = await _looked(provider, request_id, caller)
            if not request.ended:
                resp.set_header("Retry-After", str(await in_time(_retry_after(provider, request_id))))
            return request
    resp.set_header("Retry-After", str(random.randint(*COME_BACK)))
    return request


async def _looked(provider: Provider, request_id: int, caller: Caller) -> RequestView:
    """Read the request when the key has a place among its reads. Raises `StorageTooSlow` where it gets none in time."""
    async with AsyncExitStack() as place:
        try:
            with uncounted():
                async with asyncio.timeout(LOOK_WITHIN):
                    await place.enter_async_context(provider.waiting.looks.of(caller.key_id))
        except TimeoutError:
            raise StorageTooSlow("the reads of other waits of the key were not done in time") from None
        return await in_time(_read(provider, request_id, caller))


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
