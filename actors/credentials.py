"""The upkeep of credentials as an actor; what it does is `beat_actors.pipeline.upkeep`."""

import dramatiq

from actors.mailbox import CREDENTIALS, LATER, Ids
from actors.worker import engine, runner


@dramatiq.actor(queue_name=CREDENTIALS, actor_name="credentials", priority=LATER)
async def credentials(credential_ids: Ids) -> None:
    """Hand them to this process's runner, which checks or refreshes those for which that is due."""
    engine().vault.require()
    if not engine().own_trouble.takes_calls:
        return  # it stays due, and is sent again
    runner().look_after(credential_ids)
