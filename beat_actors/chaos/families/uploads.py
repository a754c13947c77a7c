"""F10: a process that uploads pictures is killed or frozen, or all of Beat is killed at once. Every fault of pictures ends with their check."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from beat_actors.chaos.pictures import HELD, Held
from beat_actors.chaos.scene import GRACE, Scene
from beat_actors.chaos.surveying import most_memory, over, survey
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.failpoints import pairs

STAGE = "upload"
KILLS = 3
"""At each failpoint."""
OF_BATCHES = frozenset({"upload.after_claim", "upload.after_commit"})
"""Failpoints that are hit once for a batch and not for each picture."""
LATEST_BATCH, LATEST_PICTURE = 6, 60
"""The visits of a failpoint at which a process is killed are among so many."""
SERVERS = ("postgres", "valkey", "s3")
STORED = "SELECT count(*) AS n FROM asset_log WHERE status = 'COMPLETE'"
KEPT = "SELECT public_id::text AS id, encode(content, 'hex') AS content FROM asset_log WHERE status = 'COMPLETE'"
STILL_HELD = """
SELECT count(*) AS n FROM asset_log a JOIN unnest(%s::uuid[], %s::integer[]) AS h(id, fence) ON a.public_id = h.id AND a.fence = h.fence
WHERE a.status = 'PROCESSING'
"""
SHORTEN = """
UPDATE asset_log a SET lease_until = least(a.lease_until, clock_timestamp() + make_interval(secs => %s))
FROM unnest(%s::uuid[], %s::integer[]) AS h(id, fence) WHERE a.public_id = h.id AND a.fence = h.fence AND a.status = 'PROCESSING'
"""


async def with_pictures(
    scene: Scene, *, fault: Callable[[Scene], Coroutine[Any, Any, None]], deadlines: int = 1
) -> None:
    """Inject a fault, wait until every picture is uploaded or given up, for so many deadlines, and check all of them."""
    async with _watched(scene):
        await fault(scene)
        await over(scene, deadlines=deadlines)
    await survey(scene)


async def kill_at_boundaries(scene: Scene) -> None:
    """Kill the process that reaches a failpoint of an upload, three times at each. The seed chooses at which visits."""
    armed = []
    for point in pairs(STAGE):
        latest = LATEST_BATCH if point in OF_BATCHES else LATEST_PICTURE
        armed += [f"{point}=kill@{nth}" for nth in scene.dice.sample(range(1, latest + 1), KILLS)]
    scene.rig.failpoints.arm(*armed)
    held: set[Held] = set()
    deadline, seen = time.monotonic() + scene.timing.deadline, 0
    while seen < len(armed):
        hits = await asyncio.to_thread(scene.hits)
        if len(hits) > seen:
            seen = len(hits)
            # What a killed process had claimed stays PROCESSING until its leases expire.
            held |= await _shortened(scene)
        if time.monotonic() > deadline:
            raise ChaosError(f"of {len(armed)} failpoints {seen} were reached within {scene.timing.deadline:g} s")
        await asyncio.sleep(0.05)
    scene.heal()
    scene.pictures.in_flight = len({one.id for one in held})
    scene.extra["kills"] = seen
    await _taken_over(scene, held)


async def pause_at_boundary(scene: Scene) -> None:
    """Freeze a process that has uploads in flight for longer than their leases. Others take them over, and it must do no harm when it goes on."""
    points = pairs(STAGE)
    point = points[(scene.seed + 1) % len(points)]
    scene.extra["point"] = point
    latest = LATEST_BATCH if point in OF_BATCHES else LATEST_PICTURE
    scene.rig.failpoints.arm(f"{point}=pause:{scene.timing.pause}@{scene.dice.randint(1, latest)}")
    (hit,) = await scene.fired(1)
    held = await _shortened(scene)
    scene.pictures.in_flight = len(held)
    scene.healed_at, scene.quiet_at = hit.at, hit.at + scene.timing.pause + GRACE
    await _taken_over(scene, held)
    await asyncio.sleep(max(0.0, scene.quiet_at - time.time()))


async def killed_altogether(scene: Scene) -> None:
    """Kill every process of Beat with PostgreSQL, Valkey and S3 at once, and start them again. What was COMPLETE before must be there."""
    rig = scene.rig
    enough = scene.dice.randint(5, 50)
    await until(
        lambda: scene.count(STORED) > enough,
        within=scene.timing.deadline,
        what="nothing was uploaded",
    )
    scene.pictures.before = {row.id: row.content for row in await asyncio.to_thread(rig.rows, KEPT)}
    held = set(await asyncio.to_thread(rig.rows_of, HELD))
    # Claims of the moments between this look and the kill are not among those, and their processes are killed too.
    others = [status.name for status in rig.supervisor.status() if status.name not in ("simulator", *SERVERS)]
    await asyncio.gather(*(asyncio.to_thread(rig.hold, name, signal.SIGKILL) for name in (*others, *SERVERS)))
    await scene.pause(0.1, 1.0)
    for name in (*SERVERS, *others):
        await asyncio.to_thread(rig.release, name)
    held |= set(await asyncio.to_thread(rig.rows_of, HELD))
    scene.pictures.in_flight = len({one.id for one in held})
    scene.heal()
    await _taken_over(scene, held)


async def _shortened(scene: Scene) -> set[Held]:
    """The uploads that are in flight. Their leases, of 90 s, expire as soon as those of a stage, so that a run takes minutes and not an hour. Uploads of
    processes that live lose their leases too, which must do no harm."""
    held = set(await asyncio.to_thread(scene.rig.rows_of, HELD))
    ids, fences = [one.id for one in held], [one.fence for one in held]
    await asyncio.to_thread(scene.rig.run, SHORTEN, scene.timing.lease, ids, fences)
    return held


async def _taken_over(scene: Scene, held: set[Held]) -> None:
    """Wait until no upload stands as its process left it, and note how long that took."""
    began = time.time()
    ids, fences = [one.id for one in held], [one.fence for one in held]
    await until(
        lambda: not scene.count(STILL_HELD, ids, fences),
        within=scene.timing.deadline,
        what="uploads of a process that was killed or frozen were not taken over",
    )
    scene.recovered_s = time.time() - (scene.healed_at or began)


MOST_MEMORY = 500e6
"""Bytes that a process may take that uploads: 192 MB are for pictures."""


@contextlib.asynccontextmanager
async def _watched(scene: Scene) -> AsyncIterator[None]:
    """Watch the memory of those that upload meanwhile."""
    watch = asyncio.create_task(_watch(scene))
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch(scene: Scene) -> None:
    peak = 0
    while True:
        peak = max(peak, await asyncio.to_thread(most_memory, scene.rig))
        scene.extra["rss_mb"] = round(peak / 1e6)
        if peak > MOST_MEMORY and not any("memory" in complaint for complaint in scene.complaints):
            scene.complaints.append(f"a process that uploads took {peak / 1e6:.0f} MB of memory")
        await asyncio.sleep(0.3)
