"""The proxy before S3 fails as it is told to, and passes all else, so that a client with a strict signature works through it."""

import hashlib
from collections.abc import AsyncIterator, Iterator

import pytest

from beat_actors.chaos.bucket import Bucket, BucketProxy
from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.local.s3 import S3Server
from beat_actors.transport.objects import ObjectStore

pytestmark = pytest.mark.timeout(120)
BODY = b"a picture" * 1000
KEY = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketProxy]:
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    with BucketProxy.running(s3_server) as running:
        yield running


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[Bucket]:
    bucket = Bucket(s3_server)
    bucket.clear()
    yield bucket
    bucket.clear()


@pytest.fixture
async def store(proxy: BucketProxy, bucket: Bucket) -> AsyncIterator[ObjectStore]:
    store = ObjectStore(bucket.name, endpoint_url=f"http://127.0.0.1:{proxy.port}")
    yield store
    await store.close()


async def test_it_passes_what_a_client_signed(proxy: BucketProxy, store: ObjectStore, bucket: Bucket) -> None:
    assert await store.put(KEY, BODY, content_type="image/jpeg")
    assert not await store.put(KEY, BODY)
    head = await store.head(KEY)
    assert (head.size, head.content_type) == (len(BODY), "image/jpeg")
    assert await store.read(KEY) == BODY
    assert [listed.key for listed in (await store.page("")).objects] == [KEY]
    assert bucket.hashes() == {KEY: KEY}
    assert proxy.done["passed"] == 2


@pytest.mark.parametrize(("failure", "reason"), [("full", "InsufficientStorage"), ("slow_down", "SlowDown")])
async def test_it_refuses(failure: "str", reason: str, proxy: BucketProxy, store: ObjectStore, bucket: Bucket) -> None:
    proxy.fail(failure)  # type: ignore[arg-type]
    with pytest.raises(ObjectsUnavailable) as refused:
        await store.put(KEY, BODY)
    assert refused.value.reason == reason
    assert proxy.done[failure] >= 1
    assert bucket.keys() == []
    proxy.heal()
    assert await store.put(KEY, BODY)


async def test_a_lie_looks_like_a_success(proxy: BucketProxy, store: ObjectStore, bucket: Bucket) -> None:
    proxy.fail("unstored")
    assert await store.put("nothing", BODY)
    with pytest.raises(ObjectMissing):
        await store.head("nothing")
    proxy.fail("other_bytes")
    assert await store.put("other", BODY)
    proxy.fail("cut")
    assert await store.put("half", BODY)
    proxy.heal()
    assert proxy.lies == {"nothing": "unstored", "other": "other_bytes", "half": "cut"}
    assert (len(bucket.read("other")), len(bucket.read("half"))) == (len(BODY), len(BODY) // 2)
    assert KEY not in bucket.hashes().values()


async def test_a_share_of_the_puts_fails_and_a_reset_forgets_it(
    proxy: BucketProxy, store: ObjectStore, bucket: Bucket
) -> None:
    proxy.fail("unstored", rate=0.5)
    for n in range(40):
        await store.put(str(n), BODY)
    assert 0 < len(proxy.lies) < 40
    assert set(bucket.keys()) == {str(n) for n in range(40)} - proxy.lies.keys()
    proxy.reset()
    assert (proxy.lies, proxy.done.total()) == ({}, 0)
