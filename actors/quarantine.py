"""Messages that cannot be used, quarantined by the process that fetched them (`beat_actors.quarantine`)."""

from dataclasses import asdict

import dramatiq

from actors.encoder import QUARANTINE, Refused
from actors.mailbox import CREDENTIAL_BROKER
from actors.worker import engine
from beat_actors.quarantine import set_aside_message


# Nobody sends to it, so it needs no queue of its own. What raises here leaves the message in Redis, as a dead letter.
@dramatiq.actor(queue_name=CREDENTIAL_BROKER, actor_name=QUARANTINE)
async def quarantine(queue_name: str, refused: Refused) -> None:
    kept = asdict(refused)
    await set_aside_message(engine().database, queue_name, kept.pop("why"), kept)
