"""The CredentialBroker: its turns for one platform never overlap, whatever the number of messages and workers."""

import asyncio
from functools import partial

import dramatiq

from actors.mailbox import CREDENTIAL_BROKER, EXPRESS, FIRST, RETRIEVE, PlatformName
from actors.wakes import Wakes
from actors.worker import engine, mailbox
from beat_actors.broker.turn import turn
from beat_actors.failpoints import hit
from beat_actors.platforms.registry import platform as platform_named

wakes = Wakes(mailbox.wake)


@dramatiq.actor(queue_name=CREDENTIAL_BROKER, actor_name="dispatch", priority=FIRST)
async def dispatch(platform: PlatformName) -> None:
    """There may be something to lease: new requests, follow-ups, or a lane whose time has come."""
    await _turn(platform)


@dramatiq.actor(queue_name=CREDENTIAL_BROKER, actor_name="settle", priority=FIRST)
async def settle(platform: PlatformName) -> None:
    """Outcomes came back, and with them capacity: the same turn settles them and leases again."""
    await _turn(platform)


async def _turn(platform: str) -> None:
    # Not before it has the lock: a turn that waits for it sees what the wake-ups meanwhile are for.
    begun = partial(asyncio.to_thread, mailbox.turn_begins, platform)
    result = await turn(engine().database, platform_named(platform), begun=begun)
    await mailbox.send(EXPRESS, [fetch_id for fetch_id in result.leased if fetch_id in result.urgent])
    await mailbox.send(RETRIEVE, [fetch_id for fetch_id in result.leased if fetch_id not in result.urgent])
    if result.more:
        await mailbox.wake(platform)
    if result.clears_in is not None:
        wakes.wake(platform, result.clears_in)
    hit("turn.after_send", result.leased)
