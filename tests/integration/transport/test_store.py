"""The client of S3 beside a bucket that refuses, hangs, breaks off and lies."""

import asyncio
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import boto3
import pytest
from botocore.config import Config
from yarl import URL

from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.transport import access, bucket, multipart, objects
from beat_actors.transport.objects import ObjectStore
from beat_actors.transport.pace import Pace
from beat_actors.transport.signing import Credentials, Signer
from tests.strict_s3 import StrictS3, serving
from tests.strict_s3.objects import Answer
from tests.strict_s3.requests import Refused, Request, verify

KEY = "ab/cd/" + "e" * 64
PICTURE = bytes(range(256)) * 160


@pytest.fixture
async def strict(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StrictS3]:
    async with serving() as strict:
        for name, value in strict.env.items():
            monkeypatch.setenv(name, value)
        yield strict


@pytest.fixture
async def store(strict: StrictS3) -> AsyncIterator[ObjectStore]:
    store = ObjectStore(strict.bucket, endpoint_url=strict.url)
    yield store
    await store.close()


def at_hand(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(bucket, "PATIENCE", seconds)


async def test_a_picture_is_stored_once_with_what_browsers_need(store: ObjectStore, strict: StrictS3) -> None:
    digest = hashlib.sha256(PICTURE).digest()
    given = {"content_type": "image/jpeg", "cache_control": "public, max-age=31536000, immutable"}
    assert await store.put(KEY, PICTURE, sha256=digest, **given) is True
    assert await store.put(KEY, PICTURE, sha256=digest, **given) is False
    head = await store.head(KEY)
    assert (head.size, head.content_type, head.cache_control) == (len(PICTURE), *given.values())
    assert head.etag == strict.objects.stored[KEY].etag
    assert abs(head.modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert await store.read(KEY) == PICTURE
    counts = strict.objects.counts
    assert (counts.puts, counts.stored, counts.existed) == (2, 1, 1)


async def test_s7_7_fifty_at_once_make_one_object(store: ObjectStore, strict: StrictS3) -> None:
    done = await asyncio.gather(*(store.put(KEY, PICTURE) for _ in range(50)))
    assert sorted(done) == [False] * 49 + [True]
    assert len(strict.objects.stored) == 1


async def test_a_conflict_is_asked_about_again(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "AFTER", 0.0)
    strict.faults.order(conflict=0.5, seed=3)
    assert await store.put(KEY, PICTURE) is True
    assert strict.objects.counts.puts > 1
    strict.faults.order(conflict=1.0)
    before = strict.objects.counts.puts
    with pytest.raises(ObjectsUnavailable) as refused:
        await store.put("other", PICTURE)
    assert refused.value.reason == "ConditionalRequestConflict"
    assert strict.objects.counts.puts - before == objects.CONFLICTS + 1


async def test_other_bytes_than_those_of_the_checksum_are_refused(store: ObjectStore, strict: StrictS3) -> None:
    with pytest.raises(ObjectsUnavailable, match="XAmzContentSHA256Mismatch"):
        await store.put(KEY, PICTURE, sha256=hashlib.sha256(b"other").digest())
    assert strict.objects.stored == {}


async def test_s7_7_what_is_refused_once_is_stored_soon_and_all_of_it_at_last(
    store: ObjectStore, strict: StrictS3
) -> None:
    strict.faults.order(slow_down=0.1)
    done = await asyncio.gather(*(store.put(f"k/{n}", b"%d" % n) for n in range(120)), return_exceptions=True)
    assert done.count(True) == len(strict.objects.stored)
    refused = [one for one in done if isinstance(one, ObjectsUnavailable)]
    assert {one.reason for one in refused} <= {"SlowDown"}
    assert len(refused) + done.count(True) == 120
    assert await store.puts_per_second() < 4000
    strict.faults.order()
    for n, one in enumerate(done):
        if one is not True:
            assert await store.put(f"k/{n}", b"%d" % n)
    assert len(strict.objects.stored) == 120


async def test_s7_7_who_has_no_turn_in_time_is_told_to_slow_down(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("first", b"")
    monkeypatch.setattr(Pace, "take", lambda _self, _now: 0.05)
    at_hand(monkeypatch, 0.2)
    with pytest.raises(ObjectsUnavailable, match="takes fewer objects") as refused:
        await store.put(KEY, PICTURE)
    assert refused.value.reason == "SlowDown"
    assert strict.objects.counts.puts == 1


@pytest.mark.parametrize("what", ["put", "put_large", "read", "head", "keys", "delete"])
async def test_a_bucket_that_hangs_holds_nobody_longer_than_the_time_of_a_request(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(StrictS3, "answer", lambda _self, _request: "hang")
    at_hand(monkeypatch, 0.2)
    monkeypatch.setattr(bucket, "BYTES_A_SECOND", 1e9)
    asked = {
        "put": lambda: store.put(KEY, PICTURE),
        "put_large": lambda: store.put_file(KEY, io.BytesIO(bytes(9 << 20)), 9 << 20),
        "read": lambda: store.read(KEY),
        "head": lambda: store.head(KEY),
        "keys": lambda: store.keys(""),
        "delete": lambda: store.delete([KEY]),
    }[what]
    with pytest.raises(ObjectsUnavailable, match=r"did not answer within 0\.2") as late:
        await asked()
    assert late.value.reason == "unreachable"


def test_a_small_request_has_less_than_fifteen_seconds_and_a_large_one_more() -> None:
    assert bucket.patience(0) == bucket.patience(1 << 20) < 15
    assert bucket.patience(20_000_000) > 60


async def test_a_broken_connection_is_repeated_and_an_object_is_not_stored_twice(
    store: ObjectStore, strict: StrictS3
) -> None:
    strict.faults.next(*["reset"] * 10)
    done = await asyncio.gather(*(store.put(f"r/{n}", PICTURE) for n in range(20)))
    assert done == [True] * 20
    strict.faults.next("lost")
    # This very call stored it, and cannot know.
    assert await store.put(KEY, PICTURE) is False
    assert strict.objects.counts.stored == 21


async def test_a_bucket_that_is_full_is_named(store: ObjectStore, strict: StrictS3) -> None:
    strict.faults.order(full=1.0)
    with pytest.raises(ObjectsUnavailable) as refused:
        await store.put(KEY, PICTURE)
    assert refused.value.reason == "InsufficientStorage"
    assert strict.objects.counts.puts == 1


async def test_what_a_bucket_says_it_stored_can_be_looked_for(store: ObjectStore, strict: StrictS3) -> None:
    strict.faults.order(lie=1.0)
    assert await store.put(KEY, PICTURE) is True
    with pytest.raises(ObjectMissing):
        await store.head(KEY)


async def test_connections_are_bounded_and_used_again(strict: StrictS3) -> None:
    store = ObjectStore(strict.bucket, endpoint_url=strict.url, limit=5)
    await asyncio.gather(*(store.put(f"c/{n}", b"") for n in range(60)))
    assert strict.most_connections <= 5
    await store.close()
    assert store._bucket._links._open == {}


async def test_an_object_is_read_as_a_stream_and_by_a_range(store: ObjectStore) -> None:
    await store.put(KEY, PICTURE)
    async with store.opened(KEY) as opened:
        chunks = [chunk async for chunk in opened.chunks(1000)]
    assert b"".join(chunks) == PICTURE
    assert max(map(len, chunks)) <= 1000
    async with store.opened(KEY, (256, 512)) as opened:
        assert (opened.size, opened.head.size) == (512, len(PICTURE))
        assert b"".join([chunk async for chunk in opened.chunks()]) == PICTURE[256:768]
    with pytest.raises(ObjectMissing, match="ends before"):
        async with store.opened(KEY, (len(PICTURE) - 5, 10)):
            pass
    with pytest.raises(ZeroDivisionError):  # what goes wrong beside it is nobody else's error
        async with store.opened(KEY):
            1 / 0  # noqa: B018


async def test_a_stream_that_stops_is_given_up(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(KEY, PICTURE)
    real = StrictS3.answer

    def half(self: StrictS3, request: object) -> object:
        status, headers, body = real(self, request)
        return status, {**headers, "content-length": str(len(body))}, body[: len(body) // 2]

    monkeypatch.setattr(bucket, "STALLED", 0.1)
    monkeypatch.setattr(StrictS3, "answer", half)
    with pytest.raises(ObjectsUnavailable):
        await store.read(KEY)


async def test_a_bucket_is_listed_page_by_page_with_odd_keys(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAGE", 3)
    keys = sorted([f"l/{n}" for n in range(7)] + ["l/a b+c", "l/ü%41&<>'\"", "l/\x01"], key=str.encode)
    for key in keys:
        await store.put(key, key.encode())
    pages = [page async for page in store.pages("l/")]
    assert [len(page.objects) for page in pages] == [3, 3, 3, 1]
    assert [each.key for page in pages for each in page.objects] == keys
    assert {each.size for page in pages for each in page.objects} == {len(key.encode()) for key in keys}
    await store.delete([key for key in keys if key != "l/\x01"])
    assert await store.keys("l/") == ["l/\x01"]


async def test_a_file_is_stored_in_parts(store: ObjectStore, strict: StrictS3) -> None:
    body = os.urandom(multipart.PART) + b"end"
    assert await store.put_file("v/1", io.BytesIO(body), len(body), content_type="video/mp4") is True
    assert await store.put_file("v/1", io.BytesIO(body), len(body), content_type="video/mp4") is False
    assert strict.objects.stored["v/1"].body == body
    assert (await store.head("v/1")).content_type == "video/mp4"
    assert strict.objects.uploads == {}
    assert await store.put_file("v/2", io.BytesIO(b"short"), 5, content_type="video/mp4") is True
    with pytest.raises(ValueError, match="the file ends at"):
        await store.put_file("v/3", io.BytesIO(body), len(body) + 1)
    assert strict.objects.uploads == {}
    assert sorted(strict.objects.stored) == ["v/1", "v/2"]


async def test_an_upload_whose_end_conflicts_begins_anew_and_leaves_no_parts(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = os.urandom(multipart.PART + 1)
    complete, ends = strict.objects._complete, iter(["conflict", "conflict"])

    def conflicting(request: Request, upload: str) -> Answer:
        if next(ends, None):
            raise Refused(409, "ConditionalRequestConflict")
        return complete(request, upload)

    monkeypatch.setattr(strict.objects, "_complete", conflicting)
    assert await store.put_file("v/1", io.BytesIO(body), len(body)) is True
    assert strict.objects.stored["v/1"].body == body
    assert strict.objects.uploads == {}
    strict.faults.order(full=1.0)
    with pytest.raises(ObjectsUnavailable, match="InsufficientStorage"):
        await store.put_file("v/2", io.BytesIO(body), len(body))
    assert strict.objects.uploads == {}


async def test_a_url_is_valid_for_its_time_and_its_object(store: ObjectStore) -> None:
    await store.put(KEY, PICTURE)
    url = await store.presigned(KEY, 60)
    async with aiohttp.ClientSession() as session:
        async with session.get(URL(url, encoded=True)) as answer:
            assert await answer.read() == PICTURE
        async with session.get(URL(url.replace("/ab/", "/ac/"), encoded=True)) as answer:
            assert answer.status == 403


async def test_a_key_that_was_replaced_is_found_without_a_restart(
    store: ObjectStore, strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("one", b"")
    strict.keys.clear()
    strict.keys["next"] = "next-secret"
    with pytest.raises(ObjectsUnavailable, match="InvalidAccessKeyId"):
        await store.put("two", b"")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "next")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "next-secret")
    monkeypatch.setattr(access, "DOUBTED", 0.0)
    assert await store.put("two", b"") is True


async def test_a_process_without_a_key_is_told_so(strict: StrictS3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    store = ObjectStore(strict.bucket, endpoint_url=strict.url)
    with pytest.raises(ObjectsUnavailable, match="no AWS credentials") as refused:
        await store.read(KEY)
    assert refused.value.reason == "no_credentials"


@pytest.mark.parametrize(
    ("name", "region", "origin", "root"),
    [
        ("beat-assets", "eu-central-1", "https://beat-assets.s3.eu-central-1.amazonaws.com", "/"),
        ("beat-assets", "us-east-1", "https://beat-assets.s3.amazonaws.com", "/"),
        ("with.dots", "eu-central-1", "https://s3.eu-central-1.amazonaws.com", "/with.dots/"),
        ("beat-assets", "cn-north-1", "https://beat-assets.s3.cn-north-1.amazonaws.com.cn", "/"),
    ],
)
async def test_buckets_of_aws_have_hosts_of_their_own_where_their_names_can_be_one(
    strict: StrictS3, name: str, region: str, origin: str, root: str
) -> None:
    found = await access.AccessFinder(name, None, region).get()
    assert (found.origin, found.root, found.region) == (
        origin,
        root,
        region,
    )


async def test_a_bucket_in_another_region_is_followed_there(strict: StrictS3) -> None:
    finder = access.AccessFinder("beat-assets", None, "us-east-1")
    await finder.get()
    assert finder.moved("eu-west-1")
    assert not finder.moved("eu-west-1")
    assert (await finder.get()).origin == "https://beat-assets.s3.eu-west-1.amazonaws.com"


async def test_a_request_to_another_region_is_made_again_there(
    strict: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AWS does it, whose buckets have no endpoint of their own in the settings."""
    answer, regions = StrictS3.answer, list[str]()

    def regional(self: StrictS3, request: Request) -> Answer | str:
        regions.append(request.headers["authorization"].split("/")[2])
        if regions[-1] == "eu-west-1":
            return answer(self, request)
        refused = Refused(400, "AuthorizationHeaderMalformed", "the region is wrong; expecting 'eu-west-1'")
        return 400, {"x-amz-bucket-region": "eu-west-1"}, refused.body

    def located(self: access.AccessFinder, _session: object, known: Credentials) -> access.Access:
        region = self._region or "us-east-1"
        signer = Signer(strict.url.removeprefix("http://"), region)
        return access.Access(known, strict.url, f"/{strict.bucket}/", region, signer)

    monkeypatch.setattr(StrictS3, "answer", regional)
    monkeypatch.setattr(access.AccessFinder, "_located", located)
    store = ObjectStore(strict.bucket)
    assert await store.put(KEY, PICTURE) is True
    assert await store.read(KEY) == PICTURE
    assert regions == ["us-east-1", "eu-west-1", "eu-west-1"]
    await store.close()


def test_each_event_loop_has_its_connections_and_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = StrictS3()
    for name, value in strict.env.items():
        monkeypatch.setenv(name, value)

    async def store_one(store: ObjectStore, key: str) -> bool:
        server = await strict.listen(strict.port)
        stored = await store.put(key, b"")
        server.close()
        return stored

    async def begin() -> ObjectStore:
        server = await strict.listen()
        store = ObjectStore(strict.bucket, endpoint_url=strict.url)
        assert await store.put("one", b"")
        server.close()
        return store

    store = asyncio.run(begin())
    assert asyncio.run(store_one(store, "two"))
    assert store._bucket._links._open == {}
    assert sorted(strict.objects.stored) == ["one", "two"]


async def test_a_clock_that_is_sixteen_minutes_off_is_refused(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.strict_s3.server.verify", lambda *given: verify(*given, time.time() + 16 * 60))
    with pytest.raises(ObjectsUnavailable, match="RequestTimeTooSkewed"):
        await store.keys("")


async def test_boto3_and_the_strict_server_agree_on_signatures(store: ObjectStore, strict: StrictS3) -> None:
    """The server checks signatures on its own; that boto3's are good keeps both from being wrong in the same way."""

    def by_boto3() -> bytes:
        client = boto3.client("s3", endpoint_url=strict.url, config=Config(s3={"addressing_style": "path"}))
        client.put_object(Bucket=strict.bucket, Key="ü b+c", Body=PICTURE, ContentType="image/jpeg", IfNoneMatch="*")
        found: bytes = client.get_object(Bucket=strict.bucket, Key=KEY)["Body"].read()
        return found

    await store.put(KEY, PICTURE)
    assert await asyncio.to_thread(by_boto3) == PICTURE
    assert await store.read("ü b+c") == PICTURE
