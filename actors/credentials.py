"""The upkeep of credentials as an actor; what it does is `beat_actors.pipeline.upkeep`."""

import dramatiq

from actors.mailbox import CREDENTIALS, Ids
from actors.worker import engine, mailbox
from beat_actors.pipeline.upkeep import look_after


@dramatiq.actor(queue_name=CREDENTIALS, actor_name="credentials")
async def credentials(credential_ids: Ids) -> None:
    """Check or refresh them, where that is due."""
    result = await look_after(engine(), credential_ids)
    await mailbox.settle(result.ring)
