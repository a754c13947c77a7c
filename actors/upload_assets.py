"""Uploads of assets as an actor; what it does is `beat_actors.assets.uploader`."""

import asyncio

import dramatiq

from actors.mailbox import ASSETS, SOON, UPLOAD_ASSETS, Hints
from actors.worker import mailbox, uploads
from beat_actors.broker.own_flows import UPLOADS


@dramatiq.actor(queue_name=ASSETS, actor_name=UPLOAD_ASSETS, priority=SOON)
async def upload_assets(hints: Hints) -> None:
    """There may be assets to upload. Which ones, the next claim says."""
    del hints
    await asyncio.to_thread(mailbox.turn_begins, UPLOADS.platform)
    uploads().wake()
