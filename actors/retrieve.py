"""The retrieve stage as an actor; what it does is `beat_actors.pipeline.retrieve`."""

import dramatiq

from actors.mailbox import INGEST, RETRIEVE, Ids
from actors.worker import engine, mailbox
from beat_actors.failpoints import hit
from beat_actors.pipeline.retrieve import retrieve as run


@dramatiq.actor(queue_name=RETRIEVE, actor_name="retrieve")
async def retrieve(fetch_ids: Ids) -> None:
    result = await run(engine(), fetch_ids)
    await mailbox.send(INGEST, result.next)
    await mailbox.settle(result.ring)
    hit("retrieve.after_send", fetch_ids)
