"""F9: the clock of one group of workers is wrong."""

import asyncio

from beat_actors.chaos.rig import GROUPS
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until


async def skewed(scene: Scene, *, seconds: int) -> None:
    """Start a third group of workers with a wrong clock: first alone, then beside the others, which meet its leases and heartbeats."""
    service = scene.rig.skewed_workers(seconds)
    if service is None:
        scene.skipped = "libfaketime-is-not-installed"
        return
    await asyncio.to_thread(scene.rig.start_extra, service)
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.hold, name)
    some = len(scene.load.wanted) // 10
    await until(lambda: scene.ended() >= some, within=scene.timing.deadline, what="they did no work alone")
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.release, name)
    scene.heal()
    await scene.drained()
    await asyncio.to_thread(scene.rig.hold, service.name)
