"""A world in which assets are uploaded: an uploader in this process, and what is checked afterwards."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from beat_actors.assets.origin import Origin
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.uploader import Uploader
from beat_actors.database import Database
from beat_actors.media.conversion import Converters
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.integration.assets.rows import all_of, eventually, run
from tests.strict_s3 import StrictS3


@asynccontextmanager
async def uploading(settings: Settings, database: Database, slots: int = 500) -> AsyncIterator[Uploader]:
    store = ObjectStore(settings.asset_bucket or "", endpoint_url=settings.s3_endpoint_url, limit=64)
    converters = Converters()
    async with Origin(settings) as origin:
        uploader = Uploader(database, origin, converters.picture, store, slots=slots).start()
        try:
            yield uploader
        finally:
            await uploader.close(5.0)
            await converters.close()
            await store.close()


async def until(database_url: str, condition: str, seconds: float = 60.0) -> None:
    """Wait until the condition holds of all rows."""
    others = f"SELECT count(*) FROM asset_log WHERE NOT coalesce({condition}, false)"
    await eventually(lambda: run(database_url, others) == [(0,)], seconds)


def check_all(database_url: str, bucket: StrictS3) -> None:
    """Each asset that is COMPLETE has its object, and the object is what its key says."""
    for (content,) in all_of(database_url, "content", "status = 'COMPLETE'"):
        body = bucket.objects.stored[key_of(content)].body
        assert hashlib.sha256(body).digest() == content
    without = "NOT EXISTS (SELECT FROM asset_object o WHERE o.content = a.content)"
    assert run(database_url, f"SELECT count(*) FROM asset_log a WHERE status = 'COMPLETE' AND {without}") == [(0,)]
