"""The ingest stage as an actor; what it does is `beat_actors.pipeline.ingest`."""

import dramatiq

from actors.mailbox import INGEST, LATER, PROCESS, Ids
from actors.worker import engine, mailbox
from beat_actors.failpoints import hit
from beat_actors.pipeline.ingest import ingest as run


@dramatiq.actor(queue_name=INGEST, actor_name="ingest", priority=LATER)
async def ingest(fetch_ids: Ids) -> None:
    result = await run(engine(), fetch_ids, go_on=True)
    await mailbox.send(PROCESS, result.next)
    await mailbox.settle(result.wake)
    hit("ingest.after_send", fetch_ids)
