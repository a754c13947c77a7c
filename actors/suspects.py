"""Fetches that may have killed workers, each tried in a process of its own (`beat_actors.pipeline.isolation`)."""

import asyncio

import dramatiq

from actors.mailbox import LATER, PROCESS, SUSPECTS, Ids
from actors.worker import mailbox
from beat_actors.pipeline.isolation import run_isolated

_busy = asyncio.Lock()


@dramatiq.actor(queue_name=SUSPECTS, actor_name="suspects", priority=LATER)
async def suspects(fetch_ids: Ids) -> None:
    """One such process for each worker. A message that comes meanwhile is let go: the scheduler sends again what was not tried."""
    if _busy.locked():
        return
    async with _busy:
        result = await run_isolated(fetch_ids)
    await mailbox.send(PROCESS, result.next)
    await mailbox.settle(result.wake)
