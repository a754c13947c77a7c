"""The retrieve stage as an actor; what it does is `beat_actors.pipeline.retrieve`."""

import dramatiq

from actors.mailbox import RETRIEVE, Ids
from actors.worker import engine, mailbox, runner


@dramatiq.actor(queue_name=RETRIEVE, actor_name="retrieve")
async def retrieve(fetch_ids: Ids) -> None:
    """Hand the leases to this process's runner."""
    engine().vault.require()
    if not engine().own_trouble.takes_calls:
        await mailbox.send(RETRIEVE, fetch_ids)  # others take it, or this process later
        return
    await runner().retrieve(fetch_ids)
