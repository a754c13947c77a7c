"""What a process holds that uploads assets: the way to origins, the converters, the bucket, and the uploader over them."""

import contextlib
from typing import Self

from beat_actors.assets.origin import Origin
from beat_actors.assets.room import descriptors, room
from beat_actors.assets.serving.making import Maker
from beat_actors.assets.uploader import Uploader
from beat_actors.engine import Engine
from beat_actors.errors import BadSettings
from beat_actors.logger import get_logger
from beat_actors.media.conversion import Converters
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

PROCESS = "uploads"
"""The name by which a process that only uploads reports and connects."""
CLOSES = 1.0
"""Seconds of the time for an end that are left for the last commits."""


class Uploads:
    """One for each process. Made by `start`, inside its event loop."""

    def __init__(
        self, uploader: Uploader, origin: Origin, converters: Converters, store: ObjectStore, maker: Maker
    ) -> None:
        self.maker = maker
        self._uploader = uploader
        self._origin = origin
        self._converters = converters
        self._store = store

    @classmethod
    def start(cls, engine: Engine) -> Self:
        """Begin to upload. Raises `BadSettings` where no bucket is named."""
        settings = engine.settings
        allowed = room(settings.asset_uploads, descriptors())
        if allowed.lowered is not None:
            log.warning("uploads_lowered", said=allowed.lowered, action="raise `ulimit -n` of this process")
            engine.own_trouble.lowered(allowed.lowered)
        store = ObjectStore.of_assets(settings, limit=allowed.puts)
        if store is None:
            raise BadSettings("BEAT_ASSET_BUCKET is not set, and this process uploads into it")
        origin, converters = Origin(settings, idle=allowed.idle), Converters()
        trouble = engine.own_trouble.bucket
        rate = settings.asset_uploads_per_second
        uploader = Uploader(
            engine.database,
            origin,
            converters.picture,
            store,
            slots=allowed.uploads,
            per_second=rate,
            trouble=trouble,
        )
        log.info("uploads_started", slots=allowed.uploads, bucket=store.where)
        maker = Maker(engine.database, converters.variant, store)
        return cls(uploader.start(), origin, converters, store, maker)

    def wake(self) -> None:
        """There may be something to upload. Call it on the event loop."""
        self._uploader.wake()

    async def close(self, seconds: float) -> None:
        """Finish what is in flight, for so many seconds at most, and give back the rest."""
        await self._uploader.close(max(seconds - CLOSES, 0.0))
        for one in (self._converters, self._origin, self._store):
            with contextlib.suppress(OSError):
                await one.close()
