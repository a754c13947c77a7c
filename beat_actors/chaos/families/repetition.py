"""F4: messages and submissions arrive more than once, and clients cancel requests at any stage."""

import asyncio

from actors.mailbox import INGEST, PROCESS, RETRIEVE, Mailbox
from beat_actors.chaos.load import at_once
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until

COPIES = 50
"""Clients that submit each request."""
REDELIVERIES = 3
"""Messages for each fetch in each of its stages, beside its own."""


STAGES = {"LEASED": RETRIEVE, "RETRIEVED": INGEST, "INGESTED": PROCESS}


async def duplicate_delivery(scene: Scene) -> None:
    """Send the message of each fetch again while a worker has the fetch, and the messages of all stages once every request has ended."""
    mailbox = Mailbox(scene.rig.settings())
    seen: set[tuple[int, str]] = set()
    sent = 0
    try:
        while await asyncio.to_thread(scene.ended) < len(scene.load.wanted):
            rows = await asyncio.to_thread(
                scene.rig.rows, "SELECT id, stage FROM scrape_fetch WHERE stage = ANY(%s)", list(STAGES)
            )
            fresh = [(row.id, row.stage) for row in rows if (row.id, row.stage) not in seen]
            seen.update(fresh)
            for stage, queue in STAGES.items():
                ids = [id for id, at in fresh if at == stage]
                for _ in range(REDELIVERIES):
                    sent += len(ids) * await mailbox.send(queue, ids)
            await mailbox.wake("instagram")
            await asyncio.sleep(0.01)
        everything = [row.id for row in await asyncio.to_thread(scene.rig.rows, "SELECT id FROM scrape_fetch")]
        for queue in STAGES.values():
            sent += len(everything) * await mailbox.send(queue, everything)
    finally:
        mailbox.close()
    scene.extra["redelivered"] = sent
    scene.complain(sent < len(everything) * 3, "nothing was delivered twice")
    await until(lambda: _queues_empty(scene), within=scene.timing.deadline, what="the second messages were not taken")


async def duplicate_submission(scene: Scene) -> None:
    """Submit each request from many clients at once, under one idempotency key."""
    await at_once(scene.load, scene.rig.stack.api_url, COPIES, timeout=scene.timing.deadline)
    scene.extra["submissions"] = len(scene.load.answers)


def _queues_empty(scene: Scene) -> bool:
    client = scene.rig.valkey()
    namespace = scene.rig.settings().redis_namespace
    return not any(client.llen(f"{namespace}:{queue}") for queue in STAGES.values())


async def cancellations(scene: Scene) -> None:
    """Cancel requests at whatever stage they are, while workers die."""
    cancelled: set[int] = set()
    async with scene.load.session() as http:
        for n in range(40):
            await scene.pause(0.0, 0.1)
            if n % 15 == 10:
                scene.kill_worker()
            left = [request for request in scene.load.accepted if request not in cancelled]
            if left:
                request = scene.dice.choice(left)
                async with http.post(f"{scene.rig.stack.api_url}/v1/scrape-requests/{request}/cancel") as response:
                    if (await response.json())["status"] == "CANCELLED":
                        cancelled.add(request)
    scene.heal()
    await scene.drained()
    (row,) = scene.rig.rows("SELECT array_agg(id) AS ids FROM scrape_request_log WHERE status = 'CANCELLED'")
    scene.complain(
        set(row.ids or []) != cancelled,
        f"the API and the database disagree on whether these were cancelled: {cancelled ^ set(row.ids or [])}",
    )
    scene.complain(not cancelled, "nothing could be cancelled")
