"""F1: a process is killed, frozen or told to stop."""

import asyncio
import contextlib
import signal
import time

import psutil

from beat_actors.chaos.rig import GROUPS
from beat_actors.chaos.scene import GRACE, Scene
from beat_actors.chaos.waiting import until
from beat_actors.failpoints import pairs

MOST_SECONDS_TO_STOP = 30
STEP_BY_STEP = dict.fromkeys(("ingest", "process"), ("through.before_read=raise", "through.before_write=raise"))
"""What to arm so that these stages run by themselves. Without it, the process that retrieved does the work of both."""


async def kill_at_boundaries(scene: Scene, *, stage: str) -> None:
    """Kill the worker that reaches each boundary of the stage, once for each. The seed chooses at which visit."""
    points = pairs(stage)
    struck = (f"{point}=kill@{scene.dice.randint(1, 3)}" for point in points)
    scene.rig.failpoints.arm(*struck, *STEP_BY_STEP.get(stage, ()))
    await scene.fired(len(points))
    scene.heal()


async def pause_at_boundary(scene: Scene, *, stage: str) -> None:
    """Freeze one worker while it holds work. Others must take the work over, and the worker must do no harm when it goes on."""
    points = pairs(stage)
    point = points[(scene.seed + 1) % len(points)]
    scene.extra["point"] = point
    struck = f"{point}=pause:{scene.timing.pause}@{scene.dice.randint(1, 3)}"
    scene.rig.failpoints.arm(struck, *STEP_BY_STEP.get(stage, ()))
    (hit,) = await scene.fired(1)
    scene.healed_at = hit.at
    scene.quiet_at = hit.at + scene.timing.pause + GRACE


async def kill_intake(scene: Scene) -> None:
    """Kill the API once at each boundary of the intake."""
    points = pairs("intake")
    scene.rig.failpoints.arm(*(f"{point}=kill@{scene.dice.randint(3, 40)}" for point in points))
    await scene.fired(len(points))
    scene.heal()


async def kill_anywhere(scene: Scene) -> None:
    """Kill four workers, at times that the seed chooses."""
    for _ in range(4):
        await scene.pause(0.3, 1.2)
        scene.kill_worker()
    scene.heal()


async def kill_while_starting(scene: Scene) -> None:
    """Kill the workers of both groups, and kill them again before they are ready."""
    for _ in range(2):
        await scene.pause(0.2, 0.6)
        await until(
            lambda: len(scene.rig.workers()) == len(GROUPS), within=scene.timing.deadline, what="no workers", every=0.01
        )
        for victim in scene.rig.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
    scene.heal()


async def kill_parents(scene: Scene) -> None:
    """Kill the parent of each group and not its workers. The supervisor then ends the workers."""
    for name in GROUPS:
        await scene.pause(0.2, 0.8)
        scene.rig.kill_parent(name)
    scene.heal()


async def rolling_restart(scene: Scene) -> None:
    """Stop and start one group of workers after the other."""
    for name in GROUPS:
        await scene.pause(0.2, 0.8)
        began = time.monotonic()
        await asyncio.to_thread(scene.rig.hold, name, signal.SIGTERM)
        took = time.monotonic() - began
        scene.note_longest("exit_s", took)
        scene.complain(took > MOST_SECONDS_TO_STOP, f"{name} took {took:.0f} s to stop")
        await asyncio.to_thread(scene.rig.release, name)
    scene.heal()
