"""F1: the publisher of events is killed or frozen."""

import asyncio
import signal
import time

from beat_actors.chaos.scene import GRACE, Scene
from beat_actors.chaos.waiting import until
from beat_actors.failpoints import pairs
from beat_actors.failpoints.armed import Fired

STAGE = "publish"
PLACE = "SELECT holder, s.seq, e.seq AS last FROM event_sink s, event_sequence e"


async def kill_at_boundaries(scene: Scene) -> None:
    """Kill the publisher at each boundary. What it had in hand is there for the next one, so each boundary is reached once more."""
    await scene.pause(0.0, scene.timing.window)
    points = pairs(STAGE)
    scene.rig.failpoints.arm(*(f"{point}=kill@1" for point in points))
    hits = await scene.fired(len(points))
    scene.heal()
    await _taken_over(scene, max(hits, key=lambda hit: hit.at))


async def pause_at_boundary(scene: Scene) -> None:
    """Freeze the publisher while another one takes over. When it goes on, its sink's place is not its own any more."""
    points = pairs(STAGE)
    point = points[(scene.seed + 1) % len(points)]
    scene.extra["point"] = point
    mark, seconds = scene.rig.mark(), scene.timing.publisher_pause
    scene.rig.failpoints.arm(f"{point}=pause:{seconds}@{scene.dice.randint(1, 5)}")
    (hit,) = await scene.fired(1)
    scene.healed_at, scene.quiet_at = hit.at, hit.at + seconds + GRACE
    second = scene.rig.second_publisher()
    await asyncio.to_thread(scene.rig.start_extra, second)
    await _taken_over(scene, hit)
    await asyncio.sleep(max(0.0, scene.quiet_at - time.time()))
    await until(
        lambda: bool(scene.rig.logged("sink_lease_lost", mark)),
        within=scene.timing.publisher_budget,
        what="the frozen publisher did not see that it had lost its lease",
    )
    await asyncio.to_thread(scene.rig.hold, second.name, signal.SIGTERM)


async def _taken_over(scene: Scene, hit: Fired) -> None:
    """Wait until another process has published all that the log had when a publisher was hit, and note how long that took."""
    (before,) = await asyncio.to_thread(scene.rig.rows, PLACE)

    def published() -> bool:
        (now,) = scene.rig.rows(PLACE)
        return now.holder is not None and not now.holder.endswith(f":{hit.pid}") and now.seq >= before.last

    await until(published, within=scene.timing.deadline, what="no other publisher took over")
    scene.recovered_s = time.time() - hit.at
