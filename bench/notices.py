"""How long it takes from a fault to the notification, and from its end to the message of the end: `make notices`.

A whole stack runs over the simulator. Each fault is caused by itself; a receiver on this machine is the sink, a signed webhook. The figure of a fault counts
from the moment at which it was caused, and so contains the time that Beat takes to find it. Figures of one machine, one run.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
from aiohttp import web

from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.home import Home
from beat_actors.local.servers import ValkeyServer, running
from beat_actors.local.stack import Stack
from beat_actors.simulator.client import SimulatorClient

GOAL = 60.0
PATIENCE = 240.0
FLOW = "refresh_profile_by_handle"
SOURCES = ("graphapi", "arraybobo", "jotucker", "lama", "bestsolutions")
DAILY = "refresh_profile_insta_daily"
BACKLOG = 50_500
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
            body = {
                "platform": "instagram",
                "flow": FLOW,
                "params": {"handle": f"creator_{next(self.numbers) % 1000:06d}"},
            }
            async with self.http.post(
                f"{self.stack.api_url}/v1/scrape-requests", json=body | {"force": True}
            ) as answer:
                await answer.read()


Act = Callable[[World], Awaitable[None]]


@dataclasses.dataclass(frozen=True)
class Fault:
    """`keys`: beginnings of the alerts one of which is expected. `meanwhile`: what goes on while the alert is waited for, once a second."""

    name: str
    keys: Sequence[str]
    cause: Act
    end: Act
    meanwhile: Act


async def nothing(_: World) -> None:
    """No requests."""


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


async def cleared(world: World) -> None:
    await world.simulator.clear_faults()


async def freeze(world: World) -> None:
    """PostgreSQL stands still for most of each two seconds."""
    world.stack.supervisor.hold("postgres", signal.SIGSTOP)
    await asyncio.sleep(1.7)
    world.stack.supervisor.release("postgres")


async def kill_workers(world: World) -> None:
    """Every worker process dies, three times."""
    for _ in range(3):
        parent = next(one.pid for one in world.stack.supervisor.status() if one.name == "workers")
        for child in psutil.Process(parent).children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        await asyncio.sleep(4)


async def stop_workers(world: World) -> None:
    world.stack.supervisor.hold("workers")


async def start_workers(world: World) -> None:
    world.stack.supervisor.release("workers")


async def stop_bus(world: World) -> None:
    os.kill(_pid_of(world.bus.port), signal.SIGSTOP)


async def start_bus(world: World) -> None:
    os.kill(_pid_of(world.bus.port), signal.SIGCONT)


async def backlog(world: World) -> None:
    with psycopg.connect(world.stack.postgres.url, autocommit=True) as connection:
        connection.execute(ASSETS, (BACKLOG,))


async def no_backlog(world: World) -> None:
    with psycopg.connect(world.stack.postgres.url, autocommit=True) as connection:
        connection.execute(NO_ASSETS)


async def spend(world: World) -> None:
    """Use the daily limit on on-demand requests up."""
    for number in range(30):
        url = f"{world.stack.api_url}/v1/profiles/instagram/creator_{number:06d}/refresh"
        async with world.http.post(url, json={"force": True}) as answer:
            await answer.read()


async def unspend(world: World) -> None:
    url = f"{world.stack.api_url}/v1/limits/{DAILY}/reset"
    async with world.http.post(url, json={"reason": "the fault is over"}) as answer:
        answer.raise_for_status()


FAULTS = (
    Fault("the Graph API is down", ("source:graphapi",), outage, cleared, traffic),
    Fault("its answers are malformed", ("parser:graphapi", "quarantine:"), malformed, cleared, traffic),
    Fault("all credentials are limited", ("platform:instagram", "credentials:"), limited, unlimited, traffic),
    Fault("PostgreSQL is slow", ("database:slow", "database:outage"), nothing, nothing, freeze),
    Fault("no worker runs", ("workers:none", "claims:instagram"), stop_workers, start_workers, traffic),
    Fault("workers crash", ("process:crashes",), kill_workers, nothing, nothing),
    Fault("the bus is down", ("events:bus:",), stop_bus, start_bus, traffic),
    Fault("a backlog of assets", ("backlog:assets",), backlog, no_backlog, nothing),
    Fault("a daily limit is used up", (f"limit:{DAILY}",), spend, unspend, nothing),
)
"""`process:crashes` and `database:outage` stand for ten minutes and an hour after their cause; their end is not waited for."""
LASTING = {"process:crashes", "database:outage"}


async def measure(world: World, fault: Fault) -> tuple[str, float | None, float | None]:
    """The alert that came, the seconds until its message arrived, and those from the end of the fault until the message of its end arrived."""
    world.inbox.new.clear()
    world.inbox.over.clear()
    began = time.monotonic()
    await fault.cause(world)
    key = await _until(
        world, fault, lambda: next((key for key in world.inbox.new if key.startswith(tuple(fault.keys))), None)
    )
    if key is None:
        await fault.end(world)
        return "none", None, None
    detected = world.inbox.new[key] - began
    ended = time.monotonic()
    await fault.end(world)
    if key in LASTING:
        return key, detected, None
    calm = dataclasses.replace(fault, meanwhile=traffic if fault.meanwhile is traffic else nothing)
    await _until(world, calm, lambda: key if key in world.inbox.over else None)
    return key, detected, world.inbox.over[key] - ended if key in world.inbox.over else None


async def _until(world: World, fault: Fault, found: Callable[[], str | None]) -> str | None:
    ends = time.monotonic() + PATIENCE
    while (said := found()) is None and time.monotonic() < ends:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await fault.meanwhile(world)
        await asyncio.sleep(1)
    return said


@contextlib.asynccontextmanager
async def receiving(inbox: Inbox, port: int) -> AsyncIterator[None]:
    application = web.Application()
    application.router.add_post("/", inbox.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def run(
    stack: Stack, bus: ValkeyServer, port: int, only: Sequence[str]
) -> list[tuple[str, str, float | None, float | None]]:
    inbox, rows = Inbox(), []
    engine = Engine.start(stack.settings, name="bench")
    for source in SOURCES:
        for number in range(2):
            await engine.credentials.add(source, _secret(source, number))
    async with (
        receiving(inbox, port),
        SimulatorClient(stack.simulator.url) as simulator,
        aiohttp.ClientSession(headers=stack.authorization, timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        world = World(stack, engine, simulator, http, bus, inbox)
        await simulator.accept_any(True)
        for fault in FAULTS:
            if only and not any(word in fault.name for word in only):
                continue
            row = (fault.name, *await measure(world, fault))
            rows.append(row)
            print(line(*row), flush=True)
    await engine.close()
    return rows


def line(name: str, key: str, detected: float | None, over: float | None) -> str:
    said = ["-" if value is None else f"{value:.0f} s" for value in (detected, over)]
    return f"| {name} | `{key}` | {said[0]} | {said[1]} |"


def _secret(source: str, number: int) -> dict[str, str]:
    from beat_actors.platforms.registry import source_named

    fields = source_named(source)[1].secret_forms()[0]
    return {
        field: f"1784140000000{number:04d}" if field == "user_id" else f"bench-{source}-{number}-{'x' * 12}"
        for field in fields
    }


def _pid_of(port: int) -> int:
    return next(
        one.pid
        for one in psutil.net_connections("tcp")
        if one.pid and one.status == psutil.CONN_LISTEN and one.laddr.port == port
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="words of the names of faults, separated by commas")
    options = parser.parse_args()
    only = [word for word in options.only.split(",") if word]
    with tempfile.TemporaryDirectory(prefix="beat-") as folder:
        elsewhere = Home(Path(folder) / "bus")
        bus, port = ValkeyServer.at(elsewhere), elsewhere.port("receiver")
        extra: dict[str, Any] = {
            "BEAT_NOTIFY": json.dumps(
                {
                    "bench": {
                        "kind": "webhook",
                        "url": f"http://127.0.0.1:{port}/",
                        "severity": "info",
                        "key": "whsec_" + "A" * 44,
                    }
                }
            ),
            "BEAT_EVENT_SINKS": json.dumps({"bus": {"url": bus.url}}),
        }
        # Read by the processes alone: the settings of this one take no JSON for it.
        os.environ["BEAT_LIMITS"] = json.dumps({DAILY: {"calls": 20, "window": "calendar", "reserve": 0.0}})
        stack = Stack(Path(folder) / "stack", extra_env=extra)
        stack.env.pop("BEAT_LIMITS", None)
        try:
            with running(elsewhere, bus), stack.running(migrate=migrate.upgrade):
                rows = asyncio.run(run(stack, bus, port, only))
        finally:
            stack.home.erase()
    late = [name for name, _, detected, _ in rows if detected is None or detected > GOAL]
    print(
        f"a notification within {GOAL:.0f} s: {len(rows) - len(late)} of {len(rows)}{'; not: ' + ', '.join(late) if late else ''}"
    )
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
