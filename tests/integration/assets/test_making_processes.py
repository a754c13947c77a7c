"""Smaller pictures, from the messages of several processes of the API to a process that uploads."""

import hashlib
from pathlib import Path

import pytest

from actors.mailbox import Mailbox
from actors.queues import Queues
from beat_actors.assets.serving.places import key_of
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.integration.assets.processes import environment, started
from tests.integration.assets.rows import eventually, run
from tests.pictures import encoded, noise
from tests.strict_s3 import StrictS3

ADD = "INSERT INTO asset_object (content, bytes, media_type, width) VALUES (%s, %s, 'image/jpeg', 400)"


@pytest.mark.slow
async def test_s7_11_processes_of_the_api_that_want_one_smaller_picture_send_one_message(
    upload_settings: Settings, database_url: str, bucket: StrictS3, tmp_path: Path
) -> None:
    body = encoded(noise(400, 300), "JPEG", quality=90)
    content = hashlib.sha256(body).digest()
    store = ObjectStore.of_assets(upload_settings)
    assert store is not None
    await store.put(key_of(content), body, content_type="image/jpeg")
    run(database_url, ADD, (content, len(body)))
    mailboxes, queues = [Mailbox(upload_settings) for _ in range(2)], Queues(upload_settings)
    for mailbox in mailboxes * 3:
        assert await mailbox.want_variant(content, 160, "image/webp")
    assert {each.queue: each.waiting for each in (await queues.look()).queues}["assets"] == 1
    async with started(tmp_path / "log", environment(upload_settings, bucket)):
        await eventually(lambda: run(database_url, "SELECT count(*) FROM asset_variant") == [(1,)])
    ((width, media_type, shown),) = run(
        database_url,
        "SELECT v.width, v.media_type, o.width FROM asset_variant v JOIN asset_object o ON o.content = v.variant",
    )
    assert (width, media_type, shown) == (160, "image/webp", 160)
    assert len(bucket.objects.stored) == 2
    await store.close()
    queues.close()
    for mailbox in mailboxes:
        mailbox.close()
