"""What may have killed workers, tried apart from all others; how is `beat_actors.pipeline.alone`."""

import asyncio

import dramatiq

from actors.mailbox import LATER, PROCESS, SUSPECTS, Ids
from actors.worker import mailbox
from beat_actors.pipeline.alone import try_alone

_busy = asyncio.Lock()


@dramatiq.actor(queue_name=SUSPECTS, actor_name="suspects", priority=LATER)
async def suspects(fetch_ids: Ids) -> None:
    """One such process for each worker. A message that comes meanwhile is let go: the scheduler sends again what was not tried."""
    if _busy.locked():
        return
    async with _busy:
        result = await try_alone(fetch_ids)
    await mailbox.send(PROCESS, result.next)
    await mailbox.settle(result.wake)
