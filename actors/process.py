"""The process stage as an actor; what it does is `beat_actors.pipeline.process`."""

import dramatiq

from actors.mailbox import LATER, PROCESS, Ids
from actors.worker import engine, mailbox
from beat_actors.failpoints import hit
from beat_actors.pipeline.process import process as run


@dramatiq.actor(queue_name=PROCESS, actor_name="process", priority=LATER)
async def process(fetch_ids: Ids) -> None:
    result = await run(engine(), fetch_ids)
    for platform in result.wake:  # follow-ups wait
        await mailbox.wake(platform)
    hit("process.after_send", fetch_ids)
