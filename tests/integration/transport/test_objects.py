"""The bucket as it is used: what S3 promises to whoever races, sends wrong bytes or reads past an end."""

import asyncio
import base64
from typing import Any

import pytest

from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.settings import Settings
from beat_actors.transport.objects import PAGE, ObjectStore


@pytest.fixture
def store(with_bucket: Settings) -> ObjectStore:
    store = ObjectStore.of(with_bucket)
    assert store is not None
    assert ObjectStore.of(with_bucket) is store
    return store


async def test_of_those_that_store_under_one_key_one_wins(store: ObjectStore, with_bucket: Settings) -> None:
    key = f"{with_bucket.s3_prefix}one"
    written = await asyncio.gather(*(store.put(key, b"%d" % n) for n in range(12)), return_exceptions=True)
    # Some servers tell a loser that it raced (409), and not that it came late.
    assert written.count(True) == 1
    assert all(one in (True, False) or isinstance(one, ObjectsUnavailable) for one in written)
    assert await store.read(key) == b"%d" % written.index(True)


async def test_bytes_that_are_not_those_that_were_sent_are_refused(
    store: ObjectStore, with_bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{with_bucket.s3_prefix}damaged"
    monkeypatch.setattr(base64, "b64encode", lambda _digest: b"A" * 43 + b"=")
    with pytest.raises(ObjectsUnavailable, match=r"Digest|Checksum"):
        await store.put(key, b"right")
    monkeypatch.undo()
    with pytest.raises(ObjectMissing, match="has no object"):
        await store.read(key)


async def test_a_range_is_read_whole_or_not_at_all(store: ObjectStore, with_bucket: Settings) -> None:
    key = f"{with_bucket.s3_prefix}range"
    await store.put(key, b"0123456789")
    assert await store.read(key, (3, 4)) == b"3456"
    for span in ((8, 4), (10, 1)):
        with pytest.raises(ObjectMissing):
            await store.read(key, span)


async def test_a_thousand_and_one_objects_are_listed_by_the_thousand_and_deleted_at_once(
    store: ObjectStore, with_bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"{with_bucket.s3_prefix}many/"
    monkeypatch.setattr("beat_actors.transport.objects.PAGE", 10)
    assert PAGE == 1000
    keys = [f"{prefix}{n:02}" for n in range(13)]
    await asyncio.gather(*(store.put(key, b"") for key in keys))
    assert await store.keys(prefix) == keys[:10]
    await store.delete([*keys, f"{prefix}not-there"])
    assert await store.keys(prefix) == []


@pytest.mark.parametrize(
    ("changes", "environment", "reason"),
    [
        ({"s3_bucket": "another-bucket"}, {}, "NoSuchBucket"),
        ({"s3_endpoint_url": "http://127.0.0.1:1"}, {}, "unreachable"),
        ({"s3_region": "eu-central-1"}, {"AWS_SECRET_ACCESS_KEY": "guessed"}, "SignatureDoesNotMatch"),
        ({"s3_region": "eu-central-2"}, {"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
    ],
)
async def test_a_refusal_has_its_reason_and_reports_no_key(
    with_bucket: Settings,
    changes: dict[str, Any],
    environment: dict[str, str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    store = ObjectStore.of(with_bucket.model_copy(update=changes))
    assert store is not None
    with pytest.raises(ObjectsUnavailable) as refused:
        await store.read("nothing")
    assert refused.value.reason == reason
    assert "guessed" not in str(refused.value)
