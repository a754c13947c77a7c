"""Smaller pictures of stored ones as an actor; what it does is `beat_actors.assets.serving.making`."""

import dramatiq

from actors.mailbox import ASSET_VARIANTS, ASSETS, LATER, ContentHash, MediaType, Width
from actors.worker import uploads


@dramatiq.actor(queue_name=ASSETS, actor_name=ASSET_VARIANTS, priority=LATER)
async def asset_variants(content: ContentHash, width: Width, media_type: MediaType) -> None:
    """Make one, unless it exists."""
    await uploads().maker.make(bytes.fromhex(content), width, media_type)
