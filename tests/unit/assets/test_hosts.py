"""Hosts of origins: when one counts as down, and when it is asked again."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from beat_actors.assets.hosts import IN_A_ROW, LONGEST_PAUSE, MOST, PAUSE, HostDown, Hosts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hosts(clock: Clock) -> Hosts:
    return Hosts(2, clock)


async def fail(hosts: Hosts, times: int = 1) -> None:
    for _ in range(times):
        async with hosts.one("a") as (host, began):
            host.failed(began)


async def refused(hosts: Hosts, name: str = "a") -> float:
    with pytest.raises(HostDown) as down:
        async with hosts.one(name):
            pass
    return down.value.pause


async def test_a_host_is_down_after_so_many_failures_in_a_row_and_others_are_not(hosts: Hosts) -> None:
    await fail(hosts, IN_A_ROW - 1)
    async with hosts.one("a") as (host, _):
        host.answered()
    await fail(hosts, IN_A_ROW)
    assert await refused(hosts) == PAUSE
    async with hosts.one("b"):
        pass


async def test_a_host_that_has_answered_others_since_is_not_down(hosts: Hosts, clock: Clock) -> None:
    """Many downloads end at one time if this process is slow."""
    hosts = Hosts(2 * IN_A_ROW, clock)
    async with AsyncExitStack() as stack:
        begun = [await stack.enter_async_context(hosts.one("a")) for _ in range(2 * IN_A_ROW)]
        clock.now += 15
        begun[0][0].answered()
        for host, began in begun[1:]:
            host.failed(began)
    async with hosts.one("a"):
        pass


async def test_one_probe_at_a_time_with_pauses_that_grow(hosts: Hosts, clock: Clock) -> None:
    await fail(hosts, IN_A_ROW)
    pause = PAUSE
    for _ in range(6):
        clock.now += pause
        async with hosts.one("a") as (probe, began):
            pause = await refused(hosts)
            probe.failed(began)
    assert pause == LONGEST_PAUSE
    clock.now += pause
    async with hosts.one("a") as (probe, _):
        probe.answered()
    async with hosts.one("a"), hosts.one("a"):
        pass


async def test_those_that_wait_for_a_slot_leave_when_the_host_is_down(hosts: Hosts) -> None:
    await fail(hosts, IN_A_ROW - 1)
    async with hosts.one("a") as (first, began), hosts.one("a"):
        waiting = [asyncio.create_task(refused(hosts)) for _ in range(10)]
        await asyncio.sleep(0)
        first.failed(began)
    assert await asyncio.gather(*waiting) == [PAUSE] * 10


async def test_so_many_hosts_are_remembered(hosts: Hosts) -> None:
    await fail(hosts, IN_A_ROW)
    for n in range(MOST):
        async with hosts.one(f"other{n}"):
            pass
    assert len(hosts._known) == MOST
    async with hosts.one("a"):
        pass
