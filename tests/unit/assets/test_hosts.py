"""Hosts of origins: when one counts as down, and when it is asked again."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from beat_actors.assets.hosts import (
    DENIED_FOR,
    DENIED_IN_A_ROW,
    IN_A_ROW,
    LONGEST_PAUSE,
    LONGEST_QUEUE,
    LONGEST_WAIT,
    MOST,
    PAUSE,
    HostBusy,
    HostDenies,
    HostDown,
    Hosts,
    NotNow,
)


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


async def refused(hosts: Hosts, kind: type[NotNow] = HostDown) -> float:
    with pytest.raises(kind) as down:
        async with hosts.one("a"):
            pass
    return down.value.pause


async def deny(hosts: Hosts, times: int) -> list[bool]:
    found = []
    for _ in range(times):
        async with hosts.one("a") as (host, _):
            host.answered()
            found.append(host.denied())
    return found


async def give(hosts: Hosts) -> None:
    async with hosts.one("a") as (host, _):
        host.answered()
        host.gave()


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
            await refused(hosts)
            probe.failed(began)
        pause = min(2 * pause, LONGEST_PAUSE)
    clock.now += LONGEST_PAUSE
    async with hosts.one("a") as (probe, _):
        probe.answered()
    async with hosts.one("a"), hosts.one("a"):
        pass


async def test_those_that_wait_for_a_slot_leave_when_the_host_is_down(hosts: Hosts) -> None:
    await fail(hosts, IN_A_ROW - 1)
    async with hosts.one("a") as (first, began), hosts.one("a"):
        waiting = [asyncio.create_task(refused(hosts)) for _ in range(2)]
        await asyncio.sleep(0)
        first.failed(began)
    assert await asyncio.gather(*waiting) == [PAUSE] * 2


async def test_those_that_find_no_room_get_appointments_at_the_pace_of_the_host(hosts: Hosts, clock: Clock) -> None:
    async with hosts.one("a"):
        clock.now += 10.0
    async with hosts.one("a") as (first, began), hosts.one("a"):
        waiting = [asyncio.create_task(refused(hosts)) for _ in range(2)]
        await asyncio.sleep(0)
        assert [await refused(hosts, HostBusy) for _ in range(3)] == [6.0, 11.0, 16.0]
        for _ in range(1000):
            last = await refused(hosts, HostBusy)
        assert last == LONGEST_QUEUE
        async with hosts.one("b"):
            pass
        for _ in range(IN_A_ROW):
            first.failed(began)
    await asyncio.gather(*waiting)


async def test_the_longer_a_host_is_down_the_longer_its_downloads_wait(hosts: Hosts, clock: Clock) -> None:
    await fail(hosts, IN_A_ROW)
    for down in (600.0, 3600.0, 100 * 3600.0):
        clock.now = 1000.0 + down
        async with hosts.one("a") as (probe, began):
            assert await refused(hosts) == min(down / 2, LONGEST_WAIT)
            probe.failed(began)


async def test_a_host_that_denies_everything_is_believed_only_after_hours(hosts: Hosts, clock: Clock) -> None:
    assert await deny(hosts, DENIED_IN_A_ROW) == [False] * (DENIED_IN_A_ROW - 1) + [True]
    assert await refused(hosts, HostDenies) == PAUSE
    clock.now += 3600.0
    assert await deny(hosts, 1) == [True]
    assert await refused(hosts, HostDenies) == 1800.0
    clock.now += DENIED_FOR
    assert await deny(hosts, 100) == [False] * 100
    await give(hosts)
    clock.now += 3600.0
    assert await deny(hosts, DENIED_IN_A_ROW) == [False] * (DENIED_IN_A_ROW - 1) + [True]
    clock.now += LONGEST_PAUSE
    await give(hosts)
    await give(hosts)


async def test_a_host_that_gives_pictures_denies_for_the_sake_of_the_url(hosts: Hosts) -> None:
    await give(hosts)
    assert await deny(hosts, 10 * DENIED_IN_A_ROW) == [False] * 10 * DENIED_IN_A_ROW


async def test_so_many_hosts_are_remembered(hosts: Hosts) -> None:
    await fail(hosts, IN_A_ROW)
    for n in range(MOST):
        async with hosts.one(f"other{n}"):
            pass
    assert len(hosts._known) == MOST
    async with hosts.one("a"):
        pass
