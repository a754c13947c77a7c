"""F2: the scheduler is killed or frozen, while messages are lost that only its sweeps can replace."""

import asyncio
import signal
import time

from beat_actors.chaos.logs import Mark
from beat_actors.chaos.rig import GROUPS
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until
from beat_actors.leadership import SILENT_FOR

DEAD = 5.0
"""Seconds in which another scheduler must lead after the leader died. A scheduler asks for the lock once a second."""
FROZEN = SILENT_FOR + DEAD
"""The same after the leader froze. Its lock is taken over once it was not seen for `SILENT_FOR`."""
UNSENT_TURNS = range(1, 60, 3)
"""The turns that commit their leases and send no message. FLUSHALL alone may hit no message of a lease, which depends on the machine."""


async def scheduler_killed(scene: Scene) -> None:
    """Kill the only scheduler between a sweep and its messages, and twice more, while messages are lost."""
    unsent = (f"turn.after_commit=raise@{nth}" for nth in UNSENT_TURNS)
    scene.rig.failpoints.arm("sweep.before_send~unsent=kill@1", *unsent)
    await _lose_messages(scene, scene.timing.window)
    await scene.fired(1)
    for _ in range(2):
        await scene.pause(0.3, 1.0)
        scene.rig.signal("scheduler", signal.SIGKILL)
    scene.heal()


async def leader_frozen(scene: Scene) -> None:
    """Freeze the leader of two schedulers until the other has brought every request to its end. The first one must follow when it goes on."""
    await _strand(scene)
    second = await _second_scheduler(scene)
    leader, epoch = await _leader(scene)
    mark = scene.rig.mark()
    with scene.rig.frozen(leader):
        await _let_go(scene)
        await _replaced(scene, epoch, within=FROZEN)
        await scene.rig.ready()
        scene.heal()
        await scene.drained()
        scene.complain((await _leader(scene))[0] == leader, "a frozen scheduler leads")
    await until(
        lambda: bool(scene.rig.logged("not_leading", mark)), within=FROZEN, what="the frozen leader did not step down"
    )
    await asyncio.to_thread(scene.rig.hold, second)


async def leader_killed(scene: Scene) -> None:
    """Kill the leader of two schedulers three times. All messages are lost before the last of them takes over."""
    await _strand(scene)
    second = await _second_scheduler(scene)
    for last in (False, False, True):
        leader, epoch = await _leader(scene)
        mark = scene.rig.mark()
        scene.rig.signal(leader, signal.SIGKILL)
        if last:
            await _let_go(scene)
        await _replaced(scene, epoch, within=DEAD)
        await _started(scene, mark)  # the killed one is up again
    await scene.rig.ready()
    scene.heal()
    await scene.drained()
    await asyncio.to_thread(scene.rig.hold, second)


async def _strand(scene: Scene) -> None:
    """Hold all workers until every request was accepted."""
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.hold, name)
    await until(
        lambda: len(scene.load.ids) == len(scene.load.wanted),
        within=scene.timing.deadline,
        what="not all were accepted",
    )


async def _let_go(scene: Scene) -> None:
    """Empty the queues and start the workers again. From here on only the sweeps move a request."""
    scene.rig.valkey().flushall()
    for name in GROUPS:
        await asyncio.to_thread(scene.rig.release, name)


async def _second_scheduler(scene: Scene) -> str:
    """Start a second scheduler, and return its name once it can take over."""
    mark, service = scene.rig.mark(), scene.rig.second_scheduler()
    await asyncio.to_thread(scene.rig.start_extra, service)
    await _started(scene, mark)
    return service.name


async def _started(scene: Scene, since: Mark) -> None:
    await until(
        lambda: bool(scene.rig.logged("scheduler_started", since)),
        within=scene.timing.deadline,
        what="no scheduler started",
    )


async def _leader(scene: Scene) -> tuple[str, int]:
    """The service that leads, and its epoch. Raises `ChaosError` where none leads in time."""
    found: list[tuple[str, int]] = []

    def led() -> bool:
        found.extend(scene.rig.leader())
        return bool(found)

    await until(led, within=DEAD + FROZEN, what="no scheduler leads")
    return found[0]


async def _replaced(scene: Scene, epoch: int, *, within: float) -> None:
    """Wait for the next epoch, and note how long that took."""
    began = time.monotonic()
    await until(
        lambda: any(newer > epoch for _, newer in scene.rig.leader()), within=within, what="no other scheduler led"
    )
    scene.note_longest("takeover_s", time.monotonic() - began)


async def _lose_messages(scene: Scene, seconds: float) -> None:
    """Empty Valkey so often that few messages are delivered."""
    client, ends = scene.rig.valkey(), time.monotonic() + seconds
    while time.monotonic() < ends:
        client.flushall()
        await asyncio.sleep(0.02)
