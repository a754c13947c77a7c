"""F8: a provider attacks with its answers, or does not answer."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import psutil

from beat_actors.chaos.load import Load, choose
from beat_actors.chaos.rig import GROUPS, HTTP_TIMEOUT, POPULATION
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until
from beat_actors.platforms.registry import platforms
from beat_actors.simulator.client import SimulatorClient

FIRST = ("graphapi", "jotucker")
"""The first source of each chain."""


async def become_hostile(scene: Scene, *, kinds: Mapping[str, Mapping[str, Any]]) -> None:
    """The first sources of both chains give answers of these kinds from now on, in equal shares."""

    async def break_them(simulator: SimulatorClient) -> None:
        for n, (name, details) in enumerate(kinds.items()):
            # The simulator tries the newest fault first, so each rate leaves the others their shares.
            for source in FIRST:
                await simulator.add_fault(**{"kind": name, **details}, source=source, rate=1 / (n + 1))

    await scene.rig.with_simulator(break_them)
    # New processes, since one keeps the memory that an earlier run's answers took.
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.hold, name)
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.release, name)


async def hostile(scene: Scene) -> None:
    """Work with sources that are hostile for the whole run."""
    peak = asyncio.create_task(_peak_memory(scene))
    await scene.drained()
    ledger = await scene.rig.with_simulator(lambda simulator: simulator.ledger())
    scene.complain(not ledger["faulted"], "no call met the hostile answer")
    peak.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await peak
    (row,) = scene.rig.rows("SELECT max(ms) / 1000 AS slowest FROM trace_log")
    scene.extra |= {"faulted": ledger["faulted"], "slowest_call_s": f"{row.slowest:.1f}"}
    # A busy machine notices a deadline a second or two late. Three times the deadline is a broken one.
    said = f"a call took {row.slowest:.1f} s, and {HTTP_TIMEOUT:g} are allowed"
    scene.complain(row.slowest > 3 * HTTP_TIMEOUT, said)
    if HTTP_TIMEOUT + 2 < row.slowest <= 3 * HTTP_TIMEOUT:
        scene.late.append(said)
    blamed = scene.rig.rows("SELECT id FROM credential WHERE disabled_till IS NOT NULL OR dead_at IS NOT NULL")
    scene.complain(bool(blamed), f"{len(blamed)} credentials were blamed for what they did not do")


HEALTHY, SPREAD = 40, 6.0
"""Requests of the healthy platform in each of the two measurements, and the seconds over which they arrive, more than a call may hang."""
MOST_SLOWDOWN, NOTICEABLE = 4.0, 1.0
"""The highest allowed ratio of the two slowest requests, and the seconds below which a difference does not count."""
SLOWEST = """
SELECT extract(epoch FROM max(scraped_at - created_at))::float8 AS seconds FROM scrape_request_log WHERE idempotency_key LIKE %s
"""


async def beside_a_hang(scene: Scene) -> None:
    """Measure requests of YouTube while all sources of Instagram accept connections and never answer, and again without the fault."""
    sources = platforms()["instagram"].sources
    await scene.rig.add_credentials({"ytapi": 3})

    async def hang(simulator: SimulatorClient) -> None:
        for source in sources:
            await simulator.add_fault("hang", source=source)

    await scene.rig.with_simulator(hang)
    await until(lambda: _calls_out(scene) > 0, within=scene.timing.deadline, what="no call hangs")
    beside = await _slowest_healthy(scene, "beside")
    hanging = await asyncio.to_thread(_open_requests, scene)
    await scene.rig.with_simulator(lambda simulator: simulator.clear_faults())
    scene.heal()
    await scene.drained()
    alone = await _slowest_healthy(scene, "alone")
    scene.extra |= {"beside_s": f"{beside:.1f}", "alone_s": f"{alone:.1f}", "hanging": hanging}
    scene.complain(
        beside > MOST_SLOWDOWN * max(alone, NOTICEABLE),
        f"a request of the healthy platform took {beside:.1f} s beside the hang, and {alone:.1f} s at most alone",
    )
    scene.complain(not hanging, "no request hung until the healthy platform had ended")


async def _slowest_healthy(scene: Scene, name: str) -> float:
    """Submit requests of YouTube and wait until all have ended. Returns the seconds that the slowest took."""
    keys = f"healthy-{scene.seed}-{name}"
    wanted = choose(scene.dice, keys, HEALTHY, POPULATION, SPREAD, "youtube")
    load = Load(wanted, scene.load.authorization, scene.load.ids, scene.load.answers)
    scene.load.wanted.extend(wanted)
    await load.run(scene.rig.stack.api_url, timeout=scene.timing.deadline)
    await until(
        lambda: _open_requests(scene, "youtube") == 0, within=scene.timing.deadline, what="the healthy platform hangs"
    )
    (row,) = await asyncio.to_thread(scene.rig.rows, SLOWEST, f"{keys}-%")
    return float(row.seconds)


def _open_requests(scene: Scene, platform: str = "instagram") -> int:
    return scene.count(
        "SELECT count(*) AS n FROM scrape_request_log WHERE platform = %s AND status IN ('PENDING', 'PROCESSING')",
        platform,
    )


def _calls_out(scene: Scene) -> int:
    return scene.count("SELECT count(*) AS n FROM scrape_fetch WHERE lease_until IS NOT NULL AND stage = 'LEASED'")


MOST_MEMORY = 700e6
"""Bytes that a worker may take."""


async def _peak_memory(scene: Scene) -> None:
    """Watch the memory of the workers until the task is cancelled."""
    peak = 0
    while True:
        for process in scene.rig.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                peak = max(peak, process.memory_info().rss)
        scene.extra["rss_mb"] = round(peak / 1e6)
        if peak > MOST_MEMORY and not any("memory" in complaint for complaint in scene.complaints):
            scene.complaints.append(f"a worker took {peak / 1e6:.0f} MB of memory")
        await asyncio.sleep(0.3)
