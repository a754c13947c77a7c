"""How soon each failure is told, by which alert, and whether its command works: `make drills`.

A whole stack on simulated providers, with requests that keep coming. Each drill breaks one thing, waits for the alert that names it, reads it as an
operator does (`beat alerts`, then the command that the alert gives), and mends the thing. The last column counts the alerts that were announced
because of it, the one that names it included. Exit 1 if one is told later than after 30 s, or says less than an alert has to say.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import psycopg
import redis
from psycopg.rows import TupleRow, dict_row

from beat_actors.broker import flows, sources
from beat_actors.cli import neighbours
from beat_actors.cli.rehearsal import POOLS
from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local.stack import Stack
from beat_actors.settings import Settings
from beat_actors.simulator.client import SimulatorClient

WITHIN = 30.0
"""Seconds within which each failure is told."""
AFTERWARDS = 20.0
"""Seconds for which alerts are counted that come after the first one."""
PATIENCE = 90.0
FLOW = "refresh_profile_by_handle"
FROZEN = 22.0
"""Seconds for which PostgreSQL stands still."""
PAUSED = (
    "UPDATE flow_setting SET changed_at = clock_timestamp() - interval '1 hour' WHERE platform = 'tiktok' AND flow = %s"
)
OPENED = """SELECT key, severity, cause, impact, automatic, action, source, extract(epoch FROM opened_at)::float8 AS at, silenced OR explained AS silenced
            FROM alert WHERE opened_at > to_timestamp(%s) ORDER BY opened_at, id"""
ANNOUNCED = "SELECT data->>'key' FROM event WHERE type = 'beat.alert.opened' AND id > %s ORDER BY id"
MEASURED_BY_LOAD = ("database:slow", "database:claims", "database:pool")
"""Alerts about a machine that is too slow, which a busy one raises during any drill."""


@dataclass
class World:
    stack: Stack
    engine: Engine
    simulator: SimulatorClient
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def rows(self) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(self.stack.postgres.url, autocommit=True)

    def service(self, name: str) -> psutil.Process:
        (pid,) = [one.pid for one in self.stack.supervisor.status() if one.name == name and one.pid is not None]
        return psutil.Process(pid)

    async def submit(self, http: aiohttp.ClientSession, count: int = 1) -> None:
        handles = [f"creator_{next(self.numbers) % 1000:06d}" for _ in range(count)]
        wanted = [{"platform": "instagram", "flow": FLOW, "params": {"handle": handle}} for handle in handles]
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # the API may be what is broken
            async with http.post(f"{self.stack.api_url}/v1/scrape-requests", json={"requests": wanted}) as response:
                await response.read()


@dataclass(frozen=True)
class Drill:
    """`breaks` returns the time from which the failure counts (epoch seconds); `mends` ends it. `key`: how the key of its alert begins."""

    name: str
    key: str
    breaks: Callable[[World], Awaitable[float]]
    mends: Callable[[World], Awaitable[object]]
    says: Sequence[str] = ()
    """Patterns of what the alert has to say of cause, impact and recovery."""


async def outage(world: World) -> float:
    await world.simulator.add_fault("outage", "graphapi", seconds=PATIENCE)
    return time.time()


async def all_limited(world: World) -> float:
    for source in POOLS:
        await world.simulator.add_fault("rate_limit", source, seconds=PATIENCE, retry_after=60)
    return time.time()


async def malformed(world: World) -> float:
    await world.simulator.add_fault("malformed", "graphapi", seconds=PATIENCE)
    return time.time()


async def malformed_once(world: World) -> float:
    await world.simulator.add_fault("malformed", "graphapi", times=1)
    return time.time()


async def frozen(world: World) -> float:
    """All of PostgreSQL's processes stand still."""
    parent = world.service("postgres")
    family = [parent, *parent.children(recursive=True)]
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.suspend()
    await asyncio.sleep(FROZEN)
    for one in reversed(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            one.resume()
    return time.time()


async def crashing(world: World) -> float:
    """Three workers are killed, one after the other."""
    for _ in range(3):
        os.kill(world.service("workers").children()[0].pid, signal.SIGKILL)
        killed = time.time()
        await asyncio.sleep(2)
    return killed


async def no_workers(world: World) -> float:
    for name in ("workers", "uploads"):
        await asyncio.to_thread(world.stack.supervisor.hold, name, signal.SIGKILL)
    return time.time()


async def workers_back(world: World) -> None:
    for name in ("workers", "uploads"):
        await asyncio.to_thread(world.stack.supervisor.release, name)


async def limit_used_up(world: World) -> float:
    with redis.Redis.from_url(world.stack.env["BEAT_REDIS_URL"]) as client:
        client.set("beat_server_refresh_profile_insta_daily", 20_000)
    return time.time()


async def limit_free(world: World) -> None:
    with redis.Redis.from_url(world.stack.env["BEAT_REDIS_URL"]) as client:
        client.delete("beat_server_refresh_profile_insta_daily")


async def forgotten(world: World) -> float:
    """A flow that a person paused an hour ago."""
    await flows.change(
        world.engine.database,
        "refresh_tiktok_profiles",
        paused=True,
        actor="drill",
        reason="drill of a forgotten pause",
    )
    with world.rows as connection:
        connection.execute(PAUSED, ("refresh_tiktok_profiles",))
    return time.time()


async def resumed(world: World) -> None:
    await flows.change(
        world.engine.database, "refresh_tiktok_profiles", paused=False, actor="drill", reason="the drill is over"
    )


async def healed(world: World) -> None:
    """No faults, and every credential and breaker as before, so that the next drill begins with all of them."""
    await world.simulator.clear_faults()
    for one in await world.engine.credentials.overview():
        if one.state in ("cooling", "probing"):
            await world.engine.credentials.reset(one.id, reason="the drill is over")
    database = world.engine.database
    broken = [found.source for found in await sources.overview(database) if found.breakers]
    for source in broken:
        await sources.close_breaker(database, source, None, actor="drill", reason="the drill is over")


async def nothing(_world: World) -> None:
    """It ended by itself."""


DRILLS = (
    Drill("one malformed answer", "quarantine:malformed:graphapi", malformed_once, healed, (r"^1 ", r"graphapi")),
    Drill("a source answers 503", "source:graphapi", outage, healed, (r"\d+ of \d+ calls failed", r"HTTP 503", r"probe")),
    Drill("malformed answers of a source", "parser:graphapi", malformed, healed, (r"\d+ of \d+ calls failed", r"probe")),
    Drill(
        "all credentials of a platform answer 429", "platform:instagram", all_limited, healed, (r"\d+ requests?", r"can be served at .*Z", r"rate_limited|429|cool")
    ),
    Drill("PostgreSQL stands still for 22 s", "database:outage", frozen, nothing, (r"from .*Z to .*Z",)),
    Drill("workers are killed again and again", "process:crashes", crashing, nothing, (r"3 workers .* SIGKILL",)),
    Drill("no workers", "workers:none", no_workers, workers_back, (r"no worker",)),
    Drill("the daily limit on demand is used up", "limit:refresh_profile_insta_daily", limit_used_up, limit_free, (r"20,000 of 20,000", r"429")),
    Drill("a paused flow is forgotten", "hand:flow:tiktok", forgotten, resumed, (r"paused by a person at .*Z",)),
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """`after`: seconds, `None`: not at all. `commands`: those that an operator needs, and how they ended. `announced`: alerts."""

    drill: Drill
    after: float | None
    announced: list[str]
    commands: list[str]
    lacks: list[str]

    @property
    def others(self) -> list[str]:
        """Alerts that were announced although the one of the drill explains them."""
        return [key for key in self.announced if not key.startswith(self.drill.key)]

    @property
    def good(self) -> bool:
        return self.after is not None and self.after <= WITHIN and not self.lacks and not self.others


async def run(world: World, drill: Drill) -> Told:
    with world.rows as connection:
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone() or (0,)
        began = time.time()
        since = await drill.breaks(world)
        alert, deadline = None, time.monotonic() + PATIENCE
        while alert is None and time.monotonic() < deadline:
            await asyncio.sleep(0.25)
            found = connection.cursor(row_factory=dict_row).execute(OPENED, (began,)).fetchall()
            alert = next((one for one in found if one["key"].startswith(drill.key)), None)
        commands, lacks = list[str](), list[str]()
        if alert is not None:
            said = " ".join(str(alert[name]) for name in ("cause", "impact", "automatic", "action"))
            lacks = [f"it does not say {pattern}" for pattern in drill.says if not re.search(pattern, said)]
            commands, failed = await asyncio.to_thread(read, world.stack, str(alert["key"]), str(alert["action"]))
            lacks += failed
            await asyncio.sleep(AFTERWARDS)
        await drill.mends(world)
        announced = [str(key) for (key,) in connection.execute(ANNOUNCED, (last,)).fetchall()]
    after = None if alert is None else max(float(alert["at"]) - since, 0.0)
    return Told(drill, after, [key for key in announced if key not in MEASURED_BY_LOAD], commands, lacks)


def read(stack: Stack, key: str, action: str) -> tuple[list[str], list[str]]:
    """Read the alert as an operator does. The commands, and what is wrong with them."""
    listed = beat(stack, "alerts", "--json")
    wrong = (
        [] if key in [one["key"] for one in json.loads(listed.stdout or "[]")] else ["`beat alerts` does not list it"]
    )
    commands = ["beat alerts"]
    for command in re.findall(r"`(beat [^`]*)`", action):
        if "…" in command or "ID" in command.split():
            continue  # what changes something, or is for one of what the first one lists
        words = shlex.split(command)[1:]
        ended = beat(stack, *words)
        # `beat doctor` says by 1 that something is wrong, and there is.
        if ended.returncode not in ((0, 1) if words == ["doctor"] else (0,)) or not ended.stdout.strip():
            wrong.append(f"`{command}` ended with {ended.returncode}: {ended.stderr.strip()[:200]}")
        return [*commands, command], wrong
    return commands, wrong


def beat(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    env["BEAT_ROOT"] = str(stack.home.path)
    return subprocess.run(
        [str(Path(sys.executable).parent / "beat"), *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@asynccontextmanager
async def traffic(world: World, a_second: float) -> AsyncIterator[None]:
    """Requests for profiles, until the end of the block."""

    async def submit() -> None:
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(headers=world.stack.authorization, timeout=timeout) as http:
            while True:
                await world.submit(http)
                await asyncio.sleep(1 / a_second)

    task = asyncio.create_task(submit())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def drills(stack: Stack, chosen: Sequence[Drill], a_second: float) -> list[Told]:
    settings: Settings = stack.settings
    engine = Engine.start(settings, name="drills")
    assert settings.simulator_url is not None
    async with SimulatorClient(settings.simulator_url) as simulator:
        for source, number in {**POOLS, **neighbours.POOLS}.items():
            for i in range(number):
                await engine.credentials.add(source, neighbours.secret_of(source, "drills", i), label=f"drill {i + 1}")
        world = World(stack, engine, simulator)
        found = []
        async with traffic(world, a_second):
            await asyncio.sleep(20)
            for drill in chosen:
                told = await run(world, drill)
                found.append(told)
                show(told)
                await asyncio.sleep(5)
    await engine.close()
    return found


def show(told: Told) -> None:
    after = "not told" if told.after is None else f"{told.after:.0f} s"
    print(
        f"| {told.drill.name} | {after} | `{told.drill.key}` | {', '.join(f'`{one}`' for one in told.commands)} | {len(told.announced)} |"
        + (f"  ALSO: {', '.join(told.others)}" if told.others else "")
        + (f"  LACKS: {'; '.join(told.lacks)}" if told.lacks else ""),
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="drills whose alert begins so, with commas: source,parser")
    parser.add_argument("--rate", type=float, default=3.0, help="requests a second meanwhile")
    options = parser.parse_args()
    only = tuple(filter(None, options.only.split(",")))
    chosen = [drill for drill in DRILLS if not only or drill.key.startswith(only)]
    with tempfile.TemporaryDirectory(prefix="beat-") as folder:
        stack = Stack(Path(folder) / "stack")
        try:
            with stack.running(migrate=migrate.upgrade):
                print("| failure | told after | alert | commands | alerts |\n|---|---|---|---|---|", flush=True)
                found = asyncio.run(drills(stack, chosen, options.rate))
        finally:
            stack.home.erase()
    waiting, cores = os.getloadavg()[2], os.cpu_count() or 1
    print(f"\nMeanwhile {waiting:.1f} processes ran or waited for one of {cores} processors (average of 15 minutes).")
    return 0 if all(told.good for told in found) else 1


if __name__ == "__main__":
    sys.exit(main())
