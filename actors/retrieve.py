"""The retrieve stage as two actors; what it does is `beat_actors.pipeline.retrieve`."""

import dramatiq

from actors.mailbox import EXPRESS, LATER, RETRIEVE, SOON, Ids
from actors.worker import engine, mailbox, runner


@dramatiq.actor(queue_name=RETRIEVE, actor_name="retrieve", priority=LATER)
async def retrieve(fetch_ids: Ids) -> None:
    """Hand the leases to this process's runner."""
    await _hand_over(RETRIEVE, fetch_ids)


@dramatiq.actor(queue_name=EXPRESS, actor_name=EXPRESS, priority=SOON)
async def express(fetch_ids: Ids) -> None:
    """The same for calls that somebody waits for. Where this process may parse, it goes on with their answers to the end."""
    await _hand_over(EXPRESS, fetch_ids)


async def _hand_over(queue: str, fetch_ids: Ids) -> None:
    engine().vault.require()
    if not engine().own_trouble.takes_calls:
        await mailbox.send(queue, fetch_ids)  # others take it, or this process later
        return
    await runner().retrieve(fetch_ids)
