"""The limits' counters in Redis, shared by all processes: take from a stack, look at it, reset it. One round trip for each.

Sliding windows of buckets, not GCRA: a quota is a number of calls in any window, and a GCRA that allows the whole number as a burst
allows nearly twice of it in one window. Not a log of calls either: it has a member for each of 20,000 calls. A bucket is a
thousandth of the window, and the oldest counts whole until it is outside: a call leaves up to that much late, never early.

While Redis is away nothing is known to be left, so nothing is given: `LimitsUnavailable`. What it lost is restored from the
rows of the requests that were taken, so that a Redis that comes back empty does not open a second day.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from beat_actors.database import Database, Statements
from beat_actors.errors import LimitsUnavailable, NotFound, RateLimitError, Standing
from beat_actors.logger import get_logger
from beat_actors.logins import said
from beat_actors.platforms.interface import RequestLimit
from beat_actors.primary import async_primary
from beat_actors.quotas.forecast import BUCKETS, Usage
from beat_actors.quotas.stack import REMEMBERED, UNBOUNDED, Stack, most, stacks
from beat_actors.redis_keys import unusable_keys
from beat_actors.requests.states import Priority

log = get_logger(__name__)

TIMEOUT = 1.0
"""Seconds that Redis is waited for."""
CONNECTIONS = 32
CLOCK = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
SCRIPT = Path(__file__).with_name("stack.lua").read_text()


class Bucket(NamedTuple):
    """How many calls a bucket has, a thousandth of a limit's window; it is numbered from 1970 on."""

    bucket: int
    calls: int


TAKEN = Statements(__file__)("taken", Bucket)


@dataclass(frozen=True, slots=True)
class Taken:
    """A call that was taken from each limit, and from each share of the account; `marks` is what it takes to give it back."""

    stack: Stack
    subject: str
    standings: tuple[Standing, ...]
    marks: tuple[int, ...]
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Counter:
    """A limit under its key. `of`: the position of the limit whose share it is, from 1; 0 where it is none."""

    key: str
    limit: RequestLimit
    of: int = 0

    @property
    def is_remembered(self) -> bool:
        """Whether it is counted again from PostgreSQL when Redis has lost it. A share is not: the limit above it is."""
        return self.of == 0 and _is_remembered(self.limit)


class StackedLimiter:
    """One for each process and event loop; connects when it is first used, and a block with it closes it. `clock` sets the script's `now`, in ms.

    Raises `BadSettings` where BEAT_LIMITS names what there is not.
    """

    def __init__(self, database: Database, *, clock: str = CLOCK) -> None:
        self._database = database
        self.settings = database.settings
        self.stacks = stacks(self.settings)
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            str(self.settings.redis_url),
            max_connections=CONNECTIONS,
            timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            connection_class=async_primary(str(self.settings.redis_url)),
            retry=Retry(NoBackoff(), 0),  # a lost answer must not take twice
        )
        self._redis = Redis.from_pool(pool)
        self._script = self._redis.register_script(clock + SCRIPT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.close()

    def stack_of(self, platform: str) -> Stack:
        """Raises `NotFound` where the platform declares nothing to be refreshed on demand."""
        try:
            return self.stacks[platform]
        except KeyError:
            raise NotFound(f"{platform} declares no refresh on demand; ask with POST /v1/scrape-requests") from None

    async def take(self, stack: Stack, subject: str, priority: Priority, account_id: str | None = None) -> Taken:
        """Take one call from every limit of the stack for `subject`, the handle, and from the account's share of each.

        An account with shares is shown how these stand, and not how much of the limits the others have used.

        Raises `RateLimitError` where one has no room, and then nothing was taken; `LimitsUnavailable` where Redis does not answer;
        `StorageUnavailable` where what it lost has to be restored and PostgreSQL does not answer.
        """
        counters = self._counters(stack, subject, account_id)
        caps = [most(one.limit, priority) for one in counters]
        refused, cold, *numbers = await self._run("take", stack, counters, caps)
        if cold:
            await self._remember(stack)
            refused, _, *numbers = await self._run("take", stack, counters, caps)
        states = [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
        has_shares = any(one.of for one in counters)
        standings = tuple(
            _standing(one.limit, max(0, cap - used), renews / 1000)
            for one, cap, (used, _, renews, _) in zip(counters, caps, states, strict=True)
            if cap != UNBOUNDED and (one.of or one.limit.per_subject or not has_shares)
        )
        if refused:
            full = [
                (room / 1000, one.limit)
                for one, cap, (used, room, *_) in zip(counters, caps, states, strict=True)
                if used >= cap
            ]
            wait, limit = max(full, key=lambda one: one[0])
            raise RateLimitError(limit.name, wait, standings, per_subject=limit.per_subject)
        return Taken(stack, subject, standings, tuple(state[3] for state in states), account_id)

    async def give_back(self, taken: Taken) -> None:
        """Nothing came of it. Never raises: what cannot be given back is lost to the budget."""
        counters = self._counters(taken.stack, taken.subject, taken.account_id)
        try:
            await self._run("give_back", taken.stack, counters, [0] * len(counters), *taken.marks)
        except LimitsUnavailable as error:
            log.warning("not_given_back", platform=taken.stack.platform, error=str(error))

    async def look(self, stack: Stack) -> list[Usage]:
        """How the limits stand that all subjects share, in the order of the stack. Raises as `take` does, but for the refusal."""
        shared = [_Counter(self.counter(limit), limit) for limit in stack.limits if not limit.per_subject]
        now, *states = await self._run("look", stack, shared, [0] * len(shared))
        if any(cold for _, cold, *_ in states):
            await self._remember(stack)
            now, *states = await self._run("look", stack, shared, [0] * len(shared))
        return [
            Usage(one.limit, now / 1000, used, _buckets(held))
            for one, (used, _, _, held) in zip(shared, states, strict=True)
        ]

    async def reset(self, limit: RequestLimit) -> None:
        """Empty a limit that all subjects share, and all shares of it: as `DEL` of its counter does. Raises `LimitsUnavailable`."""
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                await self._redis.delete(self.counter(limit))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from None

    def counter(self, limit: RequestLimit, subject: str = "", account_id: str | None = None) -> str:
        """The key under which Redis has the number of calls. Of one subject each account has its own: what others ask for is no
        business of it."""
        key = f"{self.settings.limit_prefix}{limit.name}"
        if not limit.per_subject:
            return key
        return f"{key}:{subject}" if account_id is None else f"{key}_share:{quote(account_id, safe='')}:{subject}"

    async def close(self) -> None:
        await self._redis.aclose()

    def _counters(self, stack: Stack, subject: str, account_id: str | None) -> list[_Counter]:
        """The limits in their order, then the account's shares: the script reads a limit before the shares of it."""
        counters = [_Counter(self.counter(limit, subject, account_id), limit) for limit in stack.limits]
        if account_id is not None:
            counters += [_Counter(f"{self.counter(one.limit)}:{account_id}", one.limit, one.of) for one in stack.shares]
        return counters

    async def _remember(self, stack: Stack) -> None:
        """Restore in Redis what it has lost. Where several processes do, the first one counts."""
        for limit in stack.limits:
            if not _is_remembered(limit):
                continue
            values = {
                "platform": stack.platform,
                "seconds": limit.seconds,
                "width": limit.seconds / BUCKETS,
                "target": f"limit/{limit.name}",
            }
            async with self._database.statements() as alone:
                rows = await alone.rows(TAKEN, values)
            counts = [number for row in rows for number in (row.bucket, row.calls)]
            await self._run("restore", stack, [_Counter(self.counter(limit), limit)], [0], *counts)

    async def _run(
        self,
        operation: str,
        stack: Stack,
        counters: Sequence[_Counter],
        caps: Sequence[int],
        *rest: int,
    ) -> Any:
        keys: list[str] = []
        arguments: list[str | int] = [operation]
        prefix = self.settings.limit_prefix
        for one, cap in zip(counters, caps, strict=True):
            keys += [one.key, f"{prefix}window:{one.key.removeprefix(prefix)}"]
            # A thousandth of so many seconds is so many milliseconds.
            arguments += [cap, one.limit.seconds, int(one.limit.calendar), int(one.is_remembered), one.of]
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                answer, unusable = await self._script(keys=keys, args=[*arguments, *rest])
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            log.warning("limits_unavailable", operation=operation, platform=stack.platform, error=_said(error))
            raise _unavailable(error) from None
        unusable_keys().found(unusable)
        return answer


def _standing(limit: RequestLimit, left: int, renews_in: float) -> Standing:
    return Standing(limit.name, limit.calls, limit.seconds, left, renews_in, limit.per_subject)


def _is_remembered(limit: RequestLimit) -> bool:
    return not limit.per_subject and limit.seconds >= REMEMBERED


def _buckets(held: Sequence[bytes]) -> dict[int, int]:
    pairs = zip(held[::2], held[1::2], strict=True)
    return {int(bucket): int(calls) for bucket, calls in pairs if _is_count(bucket) and _is_count(calls)}


def _is_count(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 15


def _said(error: Exception) -> str:
    """What the server answered, where it did: it may be full, or not allow this. Else the kind of failure, without any address."""
    return said(error)[:200] if isinstance(error, ResponseError) else type(error).__name__


def _unavailable(error: Exception) -> LimitsUnavailable:
    return LimitsUnavailable(
        f"Redis does not answer ({_said(error)}), so the remaining calls of the limits are unknown; nothing was accepted"
    )
