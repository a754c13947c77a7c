"""The faults of `make notices`: what each does to a running stack, and how it ends.

No fault waits in the event loop for something outside of it: the receiver of the notifications runs there.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import psutil
import psycopg
from aiohttp import web
from redis import asyncio as redis

from beat_actors.engine import Engine
from beat_actors.local.servers import ValkeyServer
from beat_actors.local.stack import Stack
from beat_actors.simulator.client import SimulatorClient

FLOW = "refresh_profile_by_handle"
SOURCES = ("graphapi", "arraybobo", "jotucker", "lama", "bestsolutions")
DAILY, USED = "refresh_profile_insta_daily", 20_000
BACKLOG = 50_500
CREDENTIALS = 6
"""Of each source: the traffic must not use their limits up."""
CRASHES = 4
"""Workers that are killed; three are a crash loop."""
FROZEN = 1.7
"""Seconds for which PostgreSQL stands still at a time: longer than a statement that counts as slow, shorter than what ends a connection."""
KNOWN = 60
"""Profiles that are known before answers become false."""
ASSETS = """
INSERT INTO asset_log (platform, entity, entity_key, field, url)
SELECT 'instagram', 'instagram_account', n::text, 'profile_pic_url', 'https://cdn.example.invalid/' || n FROM generate_series(1, %s) n
"""
NO_ASSETS = "DELETE FROM asset_log WHERE url LIKE 'https://cdn.example.invalid/%'"


@dataclasses.dataclass
class Inbox:
    """What has arrived: for each alert when it was new, and when its end was told."""

    new: dict[str, float] = dataclasses.field(default_factory=dict)
    over: dict[str, float] = dataclasses.field(default_factory=dict)
    messages: int = 0

    async def take(self, request: web.Request) -> web.Response:
        told, now = await request.json(), time.monotonic()
        self.messages += 1
        for one in told["data"]["alerts"]:
            self.over.pop(one["key"], None) if one["state"] == "new" else None
            into = {"new": self.new, "resolved": self.over}.get(one["state"])
            if into is not None:
                into[one["key"]] = now
        return web.Response()


@dataclasses.dataclass(frozen=True)
class World:
    stack: Stack
    engine: Engine
    simulator: SimulatorClient
    http: aiohttp.ClientSession
    bus: ValkeyServer
    inbox: Inbox
    numbers: "itertools.count[int]" = dataclasses.field(default_factory=itertools.count)

    async def ask(self, count: int) -> None:
        """New requests for profiles that nobody asked for before."""
        for _ in range(count):
            await self.ask_for(next(self.numbers) % 1000)

    async def ask_for(self, number: int) -> None:
        """A new request for a profile."""
        body = {"platform": "instagram", "flow": FLOW, "params": {"handle": f"creator_{number:06d}"}, "force": True}
        async with self.http.post(f"{self.stack.api_url}/v1/scrape-requests", json=body) as answer:
            await answer.read()

    def family(self, service: str) -> list[psutil.Process]:
        """The processes of a service, its parent first; none while it does not run."""
        pid = next((one.pid for one in self.stack.supervisor.status() if one.name == service), None)
        with contextlib.suppress(psutil.NoSuchProcess):
            return [] if pid is None else [parent := psutil.Process(pid), *parent.children(recursive=True)]
        return []


Act = Callable[[World], Awaitable[None]]


async def nothing(_: World) -> None:
    """No requests."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """`keys`: beginnings of the alerts one of which is expected. `meanwhile`: what goes on while the alert is waited for, once a second;
    `afterwards`: while its end is. `before`: what has to be there before the fault; it takes none of its time. `lasts`: seconds for which the alert
    stands after the end of its fault, by its rule."""

    name: str
    keys: Sequence[str]
    cause: Act
    end: Act
    meanwhile: Act
    afterwards: Act = nothing
    before: Act = nothing
    lasts: float = 0.0


async def traffic(world: World) -> None:
    await world.ask(3)


async def outage(world: World) -> None:
    await world.simulator.add_fault("outage", "graphapi")


async def limited(world: World) -> None:
    for source in SOURCES:
        await world.simulator.add_fault("rate_limit", source, retry_after=600)


async def unlimited(world: World) -> None:
    await world.simulator.clear_faults()
    for one in await world.engine.credentials.overview():
        if one.state in ("cooling", "probing"):
            await world.engine.credentials.reset(one.id, reason="the fault is over")


async def malformed(world: World) -> None:
    await world.simulator.add_fault("malformed", "graphapi")


async def known(world: World) -> None:
    """Profiles whose numbers are known when answers become false."""
    for _ in range(2):
        for number in range(KNOWN):
            await world.ask_for(number)
        await asyncio.sleep(15)


async def known_traffic(world: World) -> None:
    """They are asked for again."""
    for _ in range(3):
        await world.ask_for(next(world.numbers) % KNOWN)


async def corrupt(world: World) -> None:
    """Its answers are well-formed, and their numbers are not true."""
    await world.simulator.add_fault("corrupt", "graphapi", ways=["zero", "thousandfold", "thousandth"])


async def trusted(world: World) -> None:
    """The answers are right again, and an operator lets the source be used, whose breaker would try it only now and then."""
    await world.simulator.clear_faults()
    async with world.http.post(
        f"{world.stack.api_url}/v1/sources/graphapi/breaker/close", json={"reason": "the fault is over"}
    ) as answer:
        answer.raise_for_status()


async def cleared(world: World) -> None:
    await world.simulator.clear_faults()


async def freeze(world: World) -> None:
    """All processes of PostgreSQL stand still for most of each two or three seconds."""
    family = world.family("postgres")
    try:
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()
        await asyncio.sleep(FROZEN)
    finally:
        for one in reversed(family):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()


async def kill_workers(world: World) -> None:
    """All worker processes die, so often that it is a crash loop, and each time the parent has replaced them."""
    killed = set[int]()
    while len(killed) < CRASHES:
        for child in world.family("workers")[1:]:
            if child.pid not in killed:
                killed.add(child.pid)
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        await asyncio.sleep(0.5)


async def stop_workers(world: World) -> None:
    await asyncio.to_thread(world.stack.supervisor.hold, "workers")


async def start_workers(world: World) -> None:
    await asyncio.to_thread(world.stack.supervisor.release, "workers")


async def stop_bus(world: World) -> None:
    os.kill(_pid_of(world.bus.port), signal.SIGSTOP)


async def start_bus(world: World) -> None:
    os.kill(_pid_of(world.bus.port), signal.SIGCONT)


async def backlog(world: World) -> None:
    await _run(world, ASSETS, BACKLOG)


async def no_backlog(world: World) -> None:
    await _run(world, NO_ASSETS)


async def _run(world: World, sql: str, *values: int) -> None:
    async with await psycopg.AsyncConnection.connect(world.stack.postgres.url, autocommit=True) as connection:
        await connection.execute(sql, values)


async def spend(world: World) -> None:
    """The daily limit on on-demand requests is used up, as if many of them had been made."""
    async with redis.from_url(world.stack.env["BEAT_REDIS_URL"]) as client:
        await client.set(f"{world.stack.settings.limit_prefix}{DAILY}", USED)


async def unspend(world: World) -> None:
    url = f"{world.stack.api_url}/v1/limits/{DAILY}/reset"
    async with world.http.post(url, json={"reason": "the fault is over"}) as answer:
        answer.raise_for_status()


FAULTS = (
    Fault("the Graph API is down", ("source:graphapi",), outage, cleared, traffic, traffic),
    Fault("its answers are malformed", ("parser:graphapi",), malformed, trusted, traffic, traffic),
    Fault("its answers are false", ("data:graphapi:",), corrupt, trusted, known_traffic, known_traffic, before=known),
    Fault("all credentials are limited", ("platform:instagram", "credentials:"), limited, unlimited, traffic, traffic),
    Fault("no worker runs", ("workers:none", "claims:instagram"), stop_workers, start_workers, traffic, traffic),
    Fault("the bus is down", ("events:bus:",), stop_bus, start_bus, traffic, traffic),
    Fault("a backlog of assets", ("backlog:assets",), backlog, no_backlog, nothing),
    Fault("a daily limit is used up", (f"limit:{DAILY}",), spend, unspend, nothing),
    Fault("PostgreSQL is slow", ("database:slow", "database:outage"), nothing, nothing, freeze),
    Fault("workers crash", ("process:crashes",), kill_workers, nothing, nothing, lasts=600.0),
)
"""Crashes come last, because their alert stands for ten minutes after them."""
LASTING = {"database:outage"}
"""Alerts that stand for an hour after their cause: their end is not waited for."""
LEFT = ("quarantine:", "process:crashes", *LASTING)
"""Beginnings of alerts that stand after their fault is over: payloads stay in quarantine until a person decides."""


def _pid_of(port: int) -> int:
    return next(
        one.pid
        for one in psutil.net_connections("tcp")
        if one.pid and one.status == psutil.CONN_LISTEN and one.laddr.port == port
    )
