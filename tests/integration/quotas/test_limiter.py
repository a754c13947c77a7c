"""The stack of limits on a real Valkey: exact, all or nothing, and true under the name that operators know."""

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from beat_actors.database import Database
from beat_actors.errors import LimitsUnavailable, RateLimitError
from beat_actors.platforms.interface import RequestLimit
from beat_actors.quotas.limiter import StackedLimiter, Taken
from beat_actors.quotas.stack import Stack, most, stacks
from beat_actors.requests.states import Priority
from beat_actors.settings import LimitChange, Settings
from tests.extent import cases
from tests.integration.quotas.conftest import ServerClock

CUSTOMER, STANDARD, BATCH = Priority.CUSTOMER, Priority.STANDARD, Priority.BATCH


def stack(*limits: RequestLimit) -> Stack:
    return Stack("instagram", limits)


async def refusal(
    limiter: StackedLimiter, of: Stack, subject: str = "a", priority: Priority = CUSTOMER
) -> RateLimitError:
    with pytest.raises(RateLimitError) as refused:
        await limiter.take(of, subject, priority)
    return refused.value


async def takes(limiter: StackedLimiter, of: Stack, count: int, priority: Priority = CUSTOMER) -> None:
    await asyncio.gather(*(limiter.take(of, f"h{n}", priority) for n in range(count)))


@pytest.mark.exhaustive
async def test_s9_1_request_20001_in_the_window_is_refused_whichever_process_asks(
    database: Database, settings: Settings, valkey: redis.Redis
) -> None:
    """Two processes on the server's own clock, all of the day's calls, and not one more."""
    (daily,) = (one for one in stacks(settings)["instagram"].limits if one.name == "refresh_profile_insta_daily")
    assert (daily.calls, daily.seconds) == (20_000, 86_400)
    processes = [StackedLimiter(database), StackedLimiter(database)]

    async def ask(count: int, limiter: StackedLimiter) -> int:
        taken = 0
        for n in range(count):
            with suppress(RateLimitError):
                await limiter.take(stack(daily), f"h{n}", CUSTOMER)
                taken += 1
        return taken

    taken = sum(await asyncio.gather(*(ask(1252, processes[n % 2]) for n in range(16))))
    assert taken == 20_000
    assert valkey.get(processes[0].counter(daily)) == "20000"
    for limiter in processes:
        await limiter.close()


async def test_s9_2_a_stack_is_taken_whole_or_not_at_all(limiter: StackedLimiter, valkey: redis.Redis) -> None:
    day, minute, each = (
        RequestLimit("day", 5, 86_400),
        RequestLimit("minute", 100, 60),
        RequestLimit("each", 1, 1, per_subject=True),
    )
    whole = stack(day, minute, each)
    await takes(limiter, whole, 5)
    before = {key: valkey.dump(key) for key in valkey.scan_iter(f"{limiter.settings.limit_prefix}*")}
    error = await refusal(limiter, whole, "somebody else")
    assert (error.limit, str(error).partition(":")[0]) == ("day", "Concurrency Limit Exceeded")
    assert {key: valkey.dump(key) for key in valkey.scan_iter(f"{limiter.settings.limit_prefix}*")} == before
    assert valkey.get(limiter.counter(minute)) == "5"


async def test_s9_6_the_61st_in_a_minute_is_refused_with_a_time(
    limiter: StackedLimiter, server_clock: ServerClock
) -> None:
    whole = stacks(limiter.settings)["instagram"]
    for n in range(60):
        await limiter.take(whole, f"h{n}", STANDARD)
        server_clock.advance(100)
    error = await refusal(limiter, whole, "another", STANDARD)
    assert error.limit == "refresh_profile_insta_minute"
    # The first call was made six seconds ago.
    assert 54 < error.retry_after <= 54.06
    server_clock.advance(round(error.retry_after * 1000) - 1)
    await refusal(limiter, whole, "another", STANDARD)
    server_clock.advance(1)
    await limiter.take(whole, "another", STANDARD)


async def test_s9_6_minute_limits_do_not_protect_the_day_its_pace_does(
    limiter: StackedLimiter, server_clock: ServerClock
) -> None:
    """At 60 a minute the day would be gone after five and a half hours. Who is not customer-facing gets an even part of it."""
    whole = stacks(limiter.settings)["instagram"]
    taken, error = 0, None
    for minute in range(16):
        for n in range(60):
            try:
                await limiter.take(whole, f"h{minute}.{n}", STANDARD)
                taken += 1
            except RateLimitError as refused:
                error = refused
        server_clock.advance(60_100)
    assert taken == 750  # (20,000 - 10 %) / 24
    assert error is not None
    assert error.limit == "refresh_profile_insta_daily_pace"
    assert 24 * taken <= 18_000
    await limiter.take(whole, "somebody who waits", CUSTOMER)


async def test_s9_7_the_same_handle_waits_and_another_does_not(
    limiter: StackedLimiter, server_clock: ServerClock
) -> None:
    whole = stacks(limiter.settings)["instagram"]
    await limiter.take(whole, "creator", CUSTOMER)
    error = await refusal(limiter, whole, "creator")
    assert (error.limit, error.per_subject) == ("refresh_profile_insta_handle", True)
    assert 0 < error.retry_after <= 1.001
    await limiter.take(whole, "creator:window", CUSTOMER)
    server_clock.advance(math.ceil(error.retry_after * 1000))
    await limiter.take(whole, "creator", CUSTOMER)


async def test_s9_8_a_calendar_day_ends_at_midnight_utc(
    settings: Settings, database: Database, server_clock: ServerClock, valkey: redis.Redis
) -> None:
    change = {"refresh_profile_insta_daily": LimitChange(calls=3, window="calendar")}
    changed = settings.model_copy(update={"limits": change})
    daily = stacks(changed)["instagram"].limits[0]
    assert (daily.calls, daily.calendar) == (3, True)
    limiter = StackedLimiter(database, clock=server_clock.lua)
    midnight = (server_clock.now // 86_400_000 + 2) * 86_400_000
    server_clock.at(midnight - 1)
    await takes(limiter, stack(daily), 3)
    error = await refusal(limiter, stack(daily))
    assert error.retry_after == 0.001
    assert valkey.execute_command("PEXPIRETIME", limiter.counter(daily)) == midnight
    server_clock.at(midnight)
    await takes(limiter, stack(daily), 3)
    server_clock.at(midnight + 86_400_000 - 1)
    assert (await refusal(limiter, stack(daily))).limit == daily.name
    await limiter.close()


async def test_s9_9_what_operators_do_to_the_counter_holds(limiter: StackedLimiter, valkey: redis.Redis) -> None:
    day = RequestLimit("day", 5, 86_400)
    key = limiter.counter(day)
    await takes(limiter, stack(day), 5)
    await refusal(limiter, stack(day))
    assert valkey.delete(key) == 1
    await takes(limiter, stack(day), 5)
    await refusal(limiter, stack(day))
    valkey.decrby(key, 2)
    await takes(limiter, stack(day), 2)
    await refusal(limiter, stack(day))
    valkey.set(key, 4)
    await takes(limiter, stack(day), 1)
    assert valkey.get(key) == "5"
    for nonsense in ("many", "nan", "-3", "1e300"):
        valkey.set(key, nonsense)
        await refusal(limiter, stack(day))
    await limiter.reset(day)
    await takes(limiter, stack(day), 5)


async def test_s9_12_batch_leaves_the_reserve_to_the_others(limiter: StackedLimiter) -> None:
    day = RequestLimit("day", 10, 86_400, reserve=0.2)
    assert [most(day, priority) for priority in (CUSTOMER, STANDARD, BATCH)] == [10, 10, 8]
    await takes(limiter, stack(day), 8, BATCH)
    assert (await refusal(limiter, stack(day), priority=BATCH)).limit == "day"
    await takes(limiter, stack(day), 2, CUSTOMER)
    await refusal(limiter, stack(day))


async def test_the_reserve_of_instagrams_day_outlasts_everybody_who_is_paced(settings: Settings) -> None:
    daily, pace, *_ = stacks(settings)["instagram"].limits
    windows = daily.seconds // pace.seconds
    assert pace.spares_customers
    assert pace.calls * windows <= daily.calls * (1 - daily.reserve)


async def test_a_call_of_which_nothing_came_is_given_back(limiter: StackedLimiter, valkey: redis.Redis) -> None:
    day, each = RequestLimit("day", 1, 86_400), RequestLimit("each", 1, 1, per_subject=True)
    whole = stack(day, each)
    for _ in range(3):
        await limiter.give_back(await limiter.take(whole, "a", CUSTOMER))
    taken = await limiter.take(whole, "a", CUSTOMER)
    valkey.delete(limiter.counter(day))
    await limiter.give_back(taken)  # it is not there any more
    assert valkey.get(limiter.counter(day)) == "0"


async def test_a_clock_that_steps_back_makes_nothing_younger(
    limiter: StackedLimiter, server_clock: ServerClock
) -> None:
    minute = RequestLimit("minute", 2, 60)
    await takes(limiter, stack(minute), 2)
    server_clock.advance(-30_000)
    await refusal(limiter, stack(minute))
    server_clock.advance(30_000 + 59_999)
    await refusal(limiter, stack(minute))


async def test_without_redis_nobody_knows_what_is_left_and_nothing_is_given(settings: Settings) -> None:
    away = Database(settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"}), name="test")
    limiter = StackedLimiter(away)
    with pytest.raises(LimitsUnavailable, match="Redis does not answer"):
        await limiter.take(stacks(settings)["instagram"], "a", CUSTOMER)
    with pytest.raises(LimitsUnavailable):
        await limiter.reset(RequestLimit("day", 1, 60))
    await limiter.give_back(Taken(stacks(settings)["instagram"], "a", (), (1, 1, 1, 1)))
    await limiter.close()
    await away.close()


@dataclass
class Reference:
    """One limit, by a log of every call that was taken: what a window must not exceed, and what a bucket's width may add."""

    limit: RequestLimit
    log: list[int] = field(default_factory=list)

    @property
    def ms(self) -> int:
        return self.limit.seconds * 1000

    def strictly(self, now: int) -> int:
        """Calls in the window that ends now."""
        if self.limit.calendar:
            return sum(at >= now - now % self.ms for at in self.log)
        return sum(at > now - self.ms for at in self.log)

    def at_most(self, now: int) -> int:
        """The same, with a window that is as much longer as it may be."""
        return (
            self.strictly(now)
            if self.limit.calendar
            else sum(at > now - self.ms - self.limit.seconds for at in self.log)
        )


LIMITS = st.lists(
    st.builds(
        RequestLimit,
        name=st.just("some"),
        calls=st.integers(1, 6),
        seconds=st.integers(1, 90),
        calendar=st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
# Around a boundary, and through it.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("take", "take", "take", "wait", "give back", "reset")),
        st.integers(0, 30) | st.integers(0, 100_000) | st.sampled_from((999, 1000, 1001, 59_999, 60_000, 60_060)),
    ),
    max_size=60,
)


@pytest.mark.scaled
@given(limits=LIMITS, steps=STEPS, start=st.integers(0, 10**7))
@example(
    limits=[RequestLimit("some", 5, 60)], steps=[("take", 0)] * 5 + [("take", 60_000)] + [("take", 0)] * 9, start=59_000
)
@example(limits=[RequestLimit("some", 1, 1)], steps=[("take", 0), ("give back", 0), ("take", 100_000)], start=0)
@hypothesis_settings(max_examples=cases(50, 400), deadline=None, suppress_health_check=list(HealthCheck))
async def test_s9_13_no_window_ever_holds_more_than_its_calls(
    limiter: StackedLimiter, server_clock: ServerClock, valkey: redis.Redis, limits, steps, start
) -> None:
    """Against logs of every call: never one too many in any window, none refused that a window longer by a bucket has room for,
    the time that a refusal names is the first at which it is taken, and the counters say what the windows hold."""
    for key in valkey.scan_iter(f"{limiter.settings.limit_prefix}*"):
        valkey.delete(key)
    base = (int(valkey.time()[0]) // 86_400 + 1) * 86_400_000
    server_clock.at(base + start)
    named = [RequestLimit(f"n{n}", one.calls, one.seconds, calendar=one.calendar) for n, one in enumerate(limits)]
    whole, references = stack(*named), [Reference(one) for one in named]
    taken: list[tuple[int, Taken]] = []

    async def take() -> float | None:
        now = server_clock.now
        try:
            mark = await limiter.take(whole, "a", CUSTOMER)
        except RateLimitError as refused:
            assert any(one.at_most(now) >= one.limit.calls for one in references)
            return refused.retry_after
        for one in references:
            assert one.strictly(now) < one.limit.calls, "a window holds more than its calls"
            one.log.append(now)
            assert one.strictly(now) <= int(valkey.get(limiter.counter(one.limit))) <= one.at_most(now)
        taken.append((now, mark))
        return None

    for what, ms in steps:
        server_clock.advance(ms)
        if what == "take":
            await take()
        elif what == "wait":
            wait = await take()
            if wait is not None:
                server_clock.advance(round(wait * 1000) - 1)
                assert await take() is not None, "it was told to wait too long"
                server_clock.advance(1)
                assert await take() is None, "it was told too short a wait"
        elif what == "give back" and taken:
            at, mark = taken.pop()
            await limiter.give_back(mark)
            for one in references:
                if at in one.log:
                    one.log.remove(at)
        elif what == "reset":
            valkey.delete(limiter.counter(references[0].limit))
            references[0].log.clear()


GARBAGE = ["-1", "nan", "inf", "1e300", "-1e300", "words", "9" * 400, "1.5"]


@pytest.mark.parametrize("said", GARBAGE)
@pytest.mark.parametrize("field", ["total", "first", "last", "bucket"])
async def test_a_window_that_none_can_be_costs_no_call_and_no_time(
    limiter: StackedLimiter, server_clock: ServerClock, valkey: redis.Redis, field: str, said: str
) -> None:
    """Redis is another's too: whatever stands in a window, calls are taken and refused, and no script runs for long."""
    daily = RequestLimit("day", 3, 86_400)
    counter = limiter.counter(daily)
    window = f"{limiter.settings.limit_prefix}window:{counter.removeprefix(limiter.settings.limit_prefix)}"
    valkey.set(counter, 0)
    await limiter.take(stack(daily), "a", CUSTOMER)
    valkey.hset(window, str(server_clock.now // 86_400) if field == "bucket" else field, said)
    (usage,) = await limiter.look(stack(daily))
    assert usage.used >= 0
    await _taken_until_refused(limiter, daily)
    valkey.delete(counter)
    await limiter.take(stack(daily), "a", CUSTOMER)


@pytest.mark.parametrize("which", ["counter", "window"])
async def test_a_key_of_another_type_is_no_limit(
    limiter: StackedLimiter, server_clock: ServerClock, valkey: redis.Redis, which: str
) -> None:
    short = RequestLimit("minute", 2, 60)
    counter = limiter.counter(short)
    window = f"{limiter.settings.limit_prefix}window:{counter.removeprefix(limiter.settings.limit_prefix)}"
    valkey.rpush(counter if which == "counter" else window, "garbage")
    await _taken_until_refused(limiter, short)
    assert int(valkey.get(counter)) == 2


@pytest.mark.parametrize("said", ["garbage", "nan", "-7", "1e300", None])
async def test_a_counter_that_is_none_gives_nothing_out_twice(
    limiter: StackedLimiter, server_clock: ServerClock, valkey: redis.Redis, said: str | None
) -> None:
    """`None`: a key of another type. The window knows what was taken, and the counter is made anew from it."""
    daily = RequestLimit("day", 2, 86_400)
    counter = limiter.counter(daily)
    valkey.set(counter, 0)
    await limiter.take(stack(daily), "a", CUSTOMER)
    valkey.delete(counter) if said is None else valkey.set(counter, said)
    if said is None:
        valkey.rpush(counter, "garbage")
    (usage,) = await limiter.look(stack(daily))
    assert (usage.used, valkey.get(counter)) == (1, "1")
    await limiter.take(stack(daily), "a", CUSTOMER)
    with pytest.raises(RateLimitError):
        await limiter.take(stack(daily), "a", CUSTOMER)


async def _taken_until_refused(limiter: StackedLimiter, limit: RequestLimit) -> None:
    for _ in range(limit.calls + 1):
        try:
            await limiter.take(stack(limit), "a", CUSTOMER)
        except RateLimitError:
            return
    raise AssertionError("the limit refuses nothing")
