"""How long it takes from a fault to the notification, and from its end to the message of the end: `make notices`.

A whole stack runs over the simulator. Each fault is caused by itself, when nothing of the one before is left; a receiver on this machine is the sink, a signed
webhook. The figure of a fault counts from the moment at which it was caused, and so contains the time that Beat takes to find it. When the message is there,
`beat brief` is asked for the cause; what stood before the fault, and what a busy machine raises at any time, is not counted. Each step has a time limit, and a
fault that cannot be caused, ended or noticed is a row that says so: the others are measured all the same. The table is printed at the end, also after Ctrl-C.
Figures of one machine, one run. Exit 1 if a notification comes later than after 60 s, or not, if the message of the end does not come, or if the brief names
another cause first.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.home import Home
from beat_actors.local.servers import ValkeyServer, running
from beat_actors.local.stack import Stack
from beat_actors.simulator.client import SimulatorClient
from bench.drills import MEASURED_BY_LOAD
from bench.notices_faults import (
    CREDENTIALS,
    FAULTS,
    LASTING,
    LEFT,
    SOURCES,
    Act,
    Fault,
    Inbox,
    World,
)

GOAL = 60.0
PATIENCE = 240.0
"""Seconds for which a message, or the end of what is left of the fault before, is waited for."""
ACT_WITHIN = 120.0
"""Seconds that it may take to cause a fault, or to end it."""
ENDS = 10
"""Tries to end a fault."""
BRIEF_WITHIN = 30.0
"""Seconds within which `beat brief` has to name the cause first, once the message is there."""
HEAD = "| fault | alert | notification after | `beat brief` names first | end told after |\n|---|---|---|---|---|"


@dataclasses.dataclass
class Row:
    """`key`: the alert that came. Seconds until its message arrived (`detected`), and from the end of the fault until the message of its end (`over`).
    `first`: the key of what `beat brief` names first. `stood`: the alerts that were open when no message had come. `failed`: what went wrong."""

    name: str
    key: str | None = None
    detected: float | None = None
    over: float | None = None
    first: str = "-"
    named: bool = False
    stood: str = ""
    failed: str = ""

    @property
    def missed(self) -> list[str]:
        if self.failed and self.key is None:
            return [self.failed]
        found = {
            f"no notification in time{self.stood}": self.detected is None or self.detected > GOAL,
            "no message of its end": self.over is None and self.key not in LASTING,
            "another cause first": not self.named,
            self.failed: bool(self.failed),
        }
        return [what for what, is_so in found.items() if is_so]

    def __str__(self) -> str:
        said = ["-" if value is None else f"{value:.0f} s" for value in (self.detected, self.over)]
        over = "not waited for" if self.key in LASTING else said[1]
        return f"| {self.name} | `{self.key or 'none'}` | {said[0]} | `{self.first}` | {over} |"


async def measure(world: World, fault: Fault, row: Row) -> None:
    """Cause a fault, wait for its message, ask for the cause, end the fault, and wait for the message of its end. Into `row` goes what is found."""
    stood = await _calm(world, fault)
    async with asyncio.timeout(2 * ACT_WITHIN):
        await fault.before(world)
    world.inbox.new.clear()
    world.inbox.over.clear()
    began = time.monotonic()
    try:
        async with asyncio.timeout(ACT_WITHIN):
            await fault.cause(world)
        keys = tuple(fault.keys)
        row.key = key = await _until(
            world,
            fault.meanwhile,
            PATIENCE,
            lambda: next((one for one in world.inbox.new if one.startswith(keys)), None),
        )
        if key is None:
            row.stood = f" (open: {', '.join(await _open(world)) or 'nothing'})"
        else:
            row.detected = world.inbox.new[key] - began
        row.first, row.named = await _first_of_the_brief(world, fault, stood)
    finally:
        ended = time.monotonic()
        await _end(world, fault)
    if key is not None and key not in LASTING:
        patience = fault.lasts + PATIENCE
        if await _until(
            world, fault.afterwards, patience, lambda: key if world.inbox.over.get(key, 0) > ended else None
        ):
            row.over = world.inbox.over[key] - ended


async def _end(world: World, fault: Fault) -> None:
    """End a fault. The API may be slow for a moment, as behind a database that was."""
    for left in reversed(range(ENDS)):
        try:
            async with asyncio.timeout(ACT_WITHIN):
                await fault.end(world)
            return
        except (aiohttp.ClientError, TimeoutError):
            if not left:
                raise
            await asyncio.sleep(2)


async def _first_of_the_brief(world: World, fault: Fault, stood: frozenset[str]) -> tuple[str, bool]:
    """The first problem of the brief, and whether it is of this fault; it has `BRIEF_WITHIN` for that. `stood`: what is not counted, because it stood before.
    Nor is what a machine that other work has too raises at any time."""
    first, ends, keys = "-", time.monotonic() + BRIEF_WITHIN, tuple(fault.keys)
    while time.monotonic() < ends:
        others = stood.union(MEASURED_BY_LOAD)
        problems = [one for one in await _problems(world) if one.startswith(keys) or one not in others]
        first = problems[0] if problems else "-"
        if first.startswith(keys):
            return first, True
        await asyncio.sleep(1)
    return first, False


async def _problems(world: World) -> list[str]:
    """Root causes, the gravest first. None while the API does not answer."""
    return await _keys(world, "brief", "problems")


async def _open(world: World) -> list[str]:
    """All open alerts, those included that another one explains."""
    return await _keys(world, "alerts", "alerts")


async def _keys(world: World, path: str, name: str) -> list[str]:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with world.http.get(f"{world.stack.api_url}/v1/{path}") as answer:
            answer.raise_for_status()
            return [one["key"] for one in (await answer.json())[name]]
    return []


async def _calm(world: World, fault: Fault) -> frozenset[str]:
    """Wait until nothing is left of the fault before, apart from what stands long after its end or is a busy machine's, and no alert of this fault is open:
    it would not be new. Returns the alerts that are open then."""
    ends, keys = time.monotonic() + PATIENCE, tuple(fault.keys)
    while True:
        found = await _open(world)
        left = [one for one in found if one.startswith(keys) or not one.startswith((*LEFT, *MEASURED_BY_LOAD))]
        if left and time.monotonic() > ends:
            print(f"  still open before: {', '.join(left)}", flush=True)
        elif left:
            await asyncio.sleep(2)
            continue
        return frozenset(one for one in found if not one.startswith(keys))


async def _until(world: World, meanwhile: Act, patience: float, found: Callable[[], str | None]) -> str | None:
    ends = time.monotonic() + patience
    while (said := found()) is None and time.monotonic() < ends:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(ACT_WITHIN):
                await meanwhile(world)
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


async def run(stack: Stack, bus: ValkeyServer, port: int, faults: Sequence[Fault], rows: list[Row]) -> None:
    """Measure these faults, and add a row for each when it begins."""
    inbox = Inbox()
    engine = Engine.start(stack.settings, name="bench")
    for source in SOURCES:
        for number in range(CREDENTIALS):
            await engine.credentials.add(source, _secret(source, number))
    async with (
        receiving(inbox, port),
        SimulatorClient(stack.simulator.url) as simulator,
        aiohttp.ClientSession(headers=stack.authorization, timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        world = World(stack, engine, simulator, http, bus, inbox)
        await simulator.accept_any(True)
        for fault in faults:
            rows.append(row := Row(fault.name))
            try:
                await measure(world, fault, row)
            except Exception as error:  # noqa: BLE001 - the other faults are measured all the same
                row.failed = f"{type(error).__name__} {error}".strip()
            print(row, *(f"MISSED {missed}" for missed in row.missed), flush=True)
    await engine.close()


def _secret(source: str, number: int) -> dict[str, str]:
    from beat_actors.platforms.registry import source_named

    fields = source_named(source)[1].secret_forms()[0]
    return {
        field: f"1784140000000{number:04d}" if field == "user_id" else f"bench-{source}-{number}-{'x' * 12}"
        for field in fields
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="words of the names of faults, separated by commas")
    options = parser.parse_args()
    only = [word for word in options.only.split(",") if word]
    faults = [fault for fault in FAULTS if not only or any(word in fault.name for word in only)]
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
        stack = Stack(Path(folder) / "stack", extra_env=extra)
        rows = list[Row]()
        try:
            with running(elsewhere, bus), stack.running(migrate=migrate.upgrade):
                asyncio.run(run(stack, bus, port, faults, rows))
        except KeyboardInterrupt:
            print("stopped: the last row is not whole")
        finally:
            stack.home.erase()
            good = tell(rows)
    return 0 if good == len(faults) else 1


def tell(rows: Sequence[Row]) -> int:
    """Print the table and what was missed; how many rows missed nothing."""
    print("", HEAD, *rows, "", sep="\n")
    for row in rows:
        if row.missed:
            print(f"MISSED {row.name}: {', '.join(row.missed)}")
    good = sum(not row.missed for row in rows)
    print(
        f"a notification within {GOAL:.0f} s, the cause first in the brief, and the message of the end: {good} of {len(rows)}"
    )
    waiting, cores = os.getloadavg()[2], os.cpu_count() or 1
    print(f"Meanwhile {waiting:.1f} processes ran or waited for one of {cores} processors (average of 15 minutes).")
    return good


if __name__ == "__main__":
    raise SystemExit(main())
