"""How often each key may call: counted in Redis for all processes of the API at once.

Redis only counts. While it is away each process counts for itself, so calls go on, and a key gets its rate from each of them.
Calls that come at once share a round trip, and a key that has plenty left takes some calls in advance: a hundredth of its rate, which
its process gives out until the minute is over. What it does not give out is lost to the key; when little is left, each call is counted.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from beat_actors.logger import get_logger
from beat_actors.primary import async_primary
from beat_actors.redis_keys import unusable_keys
from beat_actors.settings import Settings

log = get_logger(__name__)

WINDOW = 60
ADVANCE = 100
"""A process takes one part in so many of a key's rate in advance."""
TIMEOUT = 0.5
"""Seconds that calls wait for Redis to count them."""
REST = 2.0
"""Seconds without a call to Redis after it did not answer."""

# A sliding window in two numbers: the calls of this minute, and those of the minute before by the share of it that is still within
# the last sixty seconds. The server's own clock, so that all processes agree. A call that is refused is not counted.
# KEYS: for each key a hash of n, the minute's number; c, its calls; p, those of the one before. ARGV: the window, then for each key
# its limit, how many calls want to go on, and how many may be taken in advance where ten times as many are left. Returns for each key
# how many were taken, how many more may after the first of them, the milliseconds until the minute is over, and those until one that
# was refused may.
TAKE = """
local window = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = (clock[1] + clock[2] / 1000000) / window
local n = math.floor(now)
local passed = now - n
local answers, unusable = {}, {}
local function number(text)
    local value = tonumber(text)
    return value and value >= 0 and value < 1e15 and value or 0
end
local function known_of(key)
    local known = redis.pcall('HMGET', key, 'n', 'c', 'p')
    if known.err and string.find(known.err, 'WRONGTYPE', 1, true) then
        redis.call('DEL', key)
        unusable[#unusable + 1] = key
        return {}
    end
    return known.err and redis.call('HMGET', key, 'n', 'c', 'p') or known
end
for i, key in ipairs(KEYS) do
    local limit, wanted, advance = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local known = known_of(key)
    local c, p = 0, 0
    if tonumber(known[1]) == n then
        c, p = number(known[2]), number(known[3])
    elseif tonumber(known[1]) == n - 1 then
        p = number(known[2])
    end
    local free = limit - c - p * (1 - passed)
    local granted = math.max(0, math.min(wanted + math.min(advance, math.floor(free / 10)), math.ceil(free)))
    if granted > 0 then
        c = c + granted
        redis.call('HSET', key, 'n', n, 'c', c, 'p', p)
        redis.call('EXPIRE', key, 2 * window)
    end
    local wait = 0
    if granted < wanted then
        if c < limit then
            wait = 1 - (limit - c) / p - passed
        else
            wait = 1 - passed + 1 - limit / c
        end
    end
    answers[i] = {granted, math.floor(free) - 1, math.ceil((1 - passed) * window * 1000), math.ceil(wait * window * 1000) + 1}
end
return {answers, unusable}
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a call may go on, how many more calls may now, and the whole seconds until more may."""

    granted: bool
    remaining: int
    seconds: int


@dataclass(frozen=True, slots=True)
class _Call:
    key_id: int | str
    limit: int
    answer: asyncio.Future[Allowance]


@dataclass(slots=True)
class _Advance:
    """Calls that the process took in advance. It may let `left` of them go on until `until`. `remaining` more can be taken after them."""

    left: int
    remaining: int
    until: float


class Limiter:
    """One for each process and event loop."""

    def __init__(self, settings: Settings) -> None:
        self._client = Redis.from_url(
            str(settings.redis_url),
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            connection_class=async_primary(str(settings.redis_url)),
            retry=Retry(NoBackoff(), 0),  # a lost answer must not count a call twice
            single_connection_client=True,  # a pool looks for answers that nobody read, before each call
        )
        self._script = self._client.register_script(TAKE)
        self._namespace = settings.redis_namespace
        self._waiting: list[_Call] = []
        self._clerk: asyncio.Task[None] | None = None
        self._away_until = 0.0
        self._minute = 0
        self._counted: dict[int | str, int] = {}
        self._advances: dict[int | str, _Advance] = {}

    async def take(self, key_id: int | str, limit: int) -> Allowance:
        """Count one call of this key, of which `limit` a minute are allowed. Never raises."""
        now = time.monotonic()
        advance = self._advances.get(key_id)
        if advance is not None and now < advance.until:
            advance.left -= 1
            if not advance.left:
                del self._advances[key_id]
            return Allowance(True, max(0, advance.remaining + advance.left), max(1, math.ceil(advance.until - now)))
        if now < self._away_until:
            return self._alone(key_id, limit)
        call = _Call(key_id, limit, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                return await call.answer
        except TimeoutError:  # the clerk gave up after `TIMEOUT`, and its connection takes longer to end
            return self._alone(key_id, limit)

    async def close(self) -> None:
        if self._clerk is not None:
            await self._clerk
        await self._client.aclose()

    async def _work(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            answers: Iterable[Allowance] = (self._alone(call.key_id, call.limit) for call in calls)
            try:
                async with asyncio.timeout(TIMEOUT):
                    answers = await self._together(calls)
            except (RedisError, OSError) as error:  # a TimeoutError is an OSError
                self._away_until = time.monotonic() + REST
                log.warning("calls_counted_alone", error=type(error).__name__)
            except Exception:
                self._away_until = time.monotonic() + REST
                log.exception("calls_not_counted", automatic="this process counts them alone")
            finally:  # whatever happens, each call has its answer
                for call, answer in zip(calls, answers, strict=True):
                    if not call.answer.done():  # its caller may have gone
                        call.answer.set_result(answer)

    async def _together(self, calls: list[_Call]) -> list[Allowance]:
        by_key: dict[int | str, list[_Call]] = {}
        for call in calls:
            by_key.setdefault(call.key_id, []).append(call)
        began = time.monotonic()
        counted, unusable = await self._script(
            keys=[f"{self._namespace}:calls:{key_id}" for key_id in by_key],
            args=[
                WINDOW,
                *(number for own in by_key.values() for number in (own[-1].limit, len(own), own[-1].limit // ADVANCE)),
            ],
        )
        unusable_keys().found(unusable)
        answers = {}
        for (key_id, own), (granted, left, over_ms, wait_ms) in zip(by_key.items(), counted, strict=True):
            over, wait = max(1, math.ceil(over_ms / 1000)), max(1, math.ceil(wait_ms / 1000))
            answers[key_id] = iter(
                [Allowance(True, max(0, left - nth), over) for nth in range(min(granted, len(own)))]
                + [Allowance(False, 0, wait)] * (len(own) - granted)
            )
            if granted > len(own):
                self._advances[key_id] = _Advance(granted - len(own), left - granted + 1, began + over_ms / 1000)
        return [next(answers[call.key_id]) for call in calls]

    def _alone(self, key_id: int | str, limit: int) -> Allowance:
        now = time.monotonic() / WINDOW
        if int(now) != self._minute:
            self._minute, self._counted = int(now), {}
        spent = self._counted.get(key_id, 0)
        seconds = max(1, math.ceil((1 - now % 1) * WINDOW))
        if spent >= limit:
            return Allowance(False, 0, seconds)
        self._counted[key_id] = spent + 1
        return Allowance(True, limit - spent - 1, seconds)
