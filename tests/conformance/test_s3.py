"""What S3 promises, asked of every endpoint that can be had. A check that an endpoint is declared to fail has to fail there."""

import asyncio
import base64
import hashlib
import os
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import aiohttp
import pytest

from beat_actors.errors import ObjectsUnavailable
from beat_actors.transport.objects import ObjectStore
from tests.conformance.s3.endpoints import ENDPOINTS, Endpoint
from tests.conformance.s3.probe import Probe

pytestmark = pytest.mark.slow

PART = 5 << 20
BODY = b"0123456789"


@pytest.fixture(scope="module", params=sorted(ENDPOINTS))
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    with ENDPOINTS[request.param]() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def declared(request: pytest.FixtureRequest, endpoint: Endpoint) -> None:
    name = request.node.originalname.removeprefix("test_")
    if name in endpoint.differs:
        request.applymarker(pytest.mark.xfail(reason=endpoint.differs[name], strict=True, raises=AssertionError))


@pytest.fixture
async def probe(endpoint: Endpoint) -> AsyncIterator[Probe]:
    async with aiohttp.ClientSession(skip_auto_headers=("Content-Type", "Accept-Encoding")) as session:
        probe = Probe(endpoint, session, f"conformance/{uuid.uuid4().hex[:10]}/")
        await answering(probe)
        yield probe


async def answering(probe: Probe) -> None:
    """An endpoint that was just started answers 500 while its parts find each other; some make the bucket with the first object."""
    for _ in range(600):
        if await tried(probe):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{probe.endpoint.name} takes no object")


async def tried(probe: Probe) -> bool:
    with suppress(aiohttp.ClientError):
        return (await probe.ask("PUT", "answering", b"yes")).ok
    return False


def test_every_declared_difference_is_of_a_check(endpoint: Endpoint) -> None:
    assert {f"test_{name}" for name in endpoint.differs} <= globals().keys()


async def test_a_signed_object_is_stored_and_read(probe: Probe) -> None:
    assert (await probe.ask("PUT", "a", BODY)).status == 200
    read = await probe.ask("GET", "a")
    assert (read.status, read.body) == (200, BODY)


async def test_an_empty_object_is_an_object(probe: Probe) -> None:
    assert (await probe.ask("PUT", "a")).ok
    read = await probe.ask("GET", "a")
    assert (read.status, read.body, read.headers["content-length"]) == (200, b"", "0")


async def test_a_wrong_secret_is_refused(probe: Probe) -> None:
    said = await probe.ask("PUT", "a", BODY, secret_key="guessed")
    assert (said.status, said.code) == (403, "SignatureDoesNotMatch")
    assert (await probe.ask("GET", "a")).status == 404


async def test_an_unknown_key_is_refused(probe: Probe) -> None:
    said = await probe.ask("GET", "a", access_key="nobody")
    assert (said.status, said.code) == (403, "InvalidAccessKeyId")


async def test_who_signs_nothing_is_refused(probe: Probe) -> None:
    assert (await probe.send("PUT", probe.path("a"), {}, BODY)).status == 403
    assert (await probe.send("GET", probe.path("answering"))).status == 403


async def test_a_signed_header_that_was_changed_is_refused(probe: Probe) -> None:
    given = {"content-type": "image/jpeg"}
    said = await probe.ask("PUT", "a", BODY, headers=given, changed={"content-type": "text/html"})
    assert (said.status, said.code) == (403, "SignatureDoesNotMatch")


async def test_a_body_other_than_the_signed_one_is_refused(probe: Probe) -> None:
    said = await probe.ask("PUT", "a", BODY, signed_body=b"")
    assert (said.status, said.code) == (400, "XAmzContentSHA256Mismatch")


@pytest.mark.parametrize("late", [16 * 60.0, -16 * 60.0])
async def test_a_clock_that_is_sixteen_minutes_off_is_refused(probe: Probe, late: float) -> None:
    said = await probe.ask("PUT", "a", BODY, late=late)
    assert (said.status, said.code) == (403, "RequestTimeTooSkewed")


SUMS = {
    "content-md5": lambda body: hashlib.md5(body).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
}


@pytest.mark.parametrize("name", sorted(SUMS))
async def test_a_checksum_of_other_bytes_is_refused(probe: Probe, name: str) -> None:
    right, wrong = (base64.b64encode(SUMS[name](body)).decode() for body in (BODY, b"other"))
    said = await probe.ask("PUT", "a", BODY, headers={name: wrong})
    assert said.status == 400
    assert (await probe.ask("GET", "a")).status == 404
    assert (await probe.ask("PUT", "a", BODY, headers={name: right})).ok


async def test_a_body_without_a_length_is_refused(probe: Probe) -> None:
    said = await probe.ask("PUT", "a", BODY, chunked=True)
    assert (said.status, said.code) == (411, "MissingContentLength")


async def test_an_object_that_exists_is_not_replaced_if_that_is_asked_for(probe: Probe) -> None:
    only = {"if-none-match": "*"}
    assert (await probe.ask("PUT", "a", BODY, headers=only)).status == 200
    said = await probe.ask("PUT", "a", b"other", headers=only)
    assert (said.status, said.code) == (412, "PreconditionFailed")
    assert (await probe.ask("GET", "a")).body == BODY
    assert (await probe.ask("DELETE", "a")).ok
    assert (await probe.ask("PUT", "a", b"other", headers=only)).status == 200


async def test_of_sixteen_that_race_one_stores_the_object(probe: Probe) -> None:
    for round_ in range(3):
        key = f"race/{round_}"
        said = await asyncio.gather(
            *(probe.ask("PUT", key, b"%d" % n, headers={"if-none-match": "*"}) for n in range(16))
        )
        won = [n for n, one in enumerate(said) if one.status == 200]
        assert len(won) == 1
        assert {one.status for one in said} <= {200, 409, 412}
        assert (await probe.ask("GET", key)).body == b"%d" % won[0]


async def test_a_range_is_answered_with_its_bytes(probe: Probe) -> None:
    await probe.ask("PUT", "a", BODY)
    for asked, body, place in (
        ("bytes=3-6", b"3456", "bytes 3-6/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ):
        said = await probe.ask("GET", "a", headers={"range": asked})
        assert (said.status, said.body, said.headers["content-range"]) == (206, body, place)
    assert (await probe.ask("GET", "a", headers={"range": "bytes=10-11"})).status == 416


async def test_what_is_said_of_an_object_is_given_back(probe: Probe) -> None:
    given = {"content-type": "image/webp", "cache-control": "public, max-age=31536000, immutable"}
    await probe.ask("PUT", "a", BODY, headers=given)
    for method in ("HEAD", "GET"):
        said = await probe.ask(method, "a")
        assert {name: said.headers[name] for name in given} == given
        assert said.headers["content-length"] == "10"
        assert said.headers["etag"]
        assert said.headers["last-modified"]


async def test_what_is_not_there_is_missing(probe: Probe, endpoint: Endpoint) -> None:
    said = await probe.ask("GET", "nothing")
    assert (said.status, said.code) == (404, "NoSuchKey")
    assert (await probe.ask("HEAD", "nothing")).status == 404
    assert (await probe.ask("DELETE", "nothing")).status == 204


async def test_a_bucket_that_is_not_there_is_named(
    probe: Probe, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in endpoint.env.items():
        monkeypatch.setenv(name, value)
    store = ObjectStore("no-such-bucket-of-anybody", endpoint_url=endpoint.url, region=endpoint.region)
    with pytest.raises(ObjectsUnavailable) as refused:
        await store.read("a")
    assert refused.value.reason in ("NoSuchBucket", "AccessDenied")


@pytest.mark.parametrize("key", ["a b+c&d=e", "ü/語/🙂", "%41%2F", "a~b!c'(d)*", "x" * 200 + "/" + "y" * 200])
async def test_odd_keys_are_keys(probe: Probe, key: str) -> None:
    assert (await probe.ask("PUT", key, key.encode())).ok
    assert (await probe.ask("GET", key)).body == key.encode()
    listed = await probe.ask(
        "GET", query=[("list-type", "2"), ("prefix", probe.place + key[:3]), ("encoding-type", "url")]
    )
    assert listed.body.count(b"<Key>") == 1
    assert (await probe.ask("DELETE", key)).ok
    assert (await probe.ask("GET", key)).status == 404


async def test_a_list_comes_in_pages_in_the_order_of_its_keys(probe: Probe) -> None:
    keys = [f"l/{n:02}" for n in range(7)]
    await asyncio.gather(*(probe.ask("PUT", key, b"x") for key in [*keys, "m/other"]))
    found, token = list[str](), None
    for _ in range(4):
        query = [("list-type", "2"), ("max-keys", "2"), ("prefix", f"{probe.place}l/")]
        page = await probe.ask("GET", query=[*query, *([("continuation-token", token)] if token else [])])
        assert page.ok
        found += [part.partition("</Key>")[0] for part in page.body.decode().split("<Key>")[1:]]
        if page.value("IsTruncated") == "false":
            break
        token = page.value("NextContinuationToken")
    assert found == [probe.place + key for key in keys]


async def test_many_are_deleted_at_once_and_what_is_missing_is_no_error(probe: Probe) -> None:
    await asyncio.gather(*(probe.ask("PUT", f"d/{n}", b"x") for n in range(5)))
    named = "".join(f"<Object><Key>{probe.place}d/{n}</Key></Object>" for n in range(7))
    body = f"<Delete><Quiet>true</Quiet>{named}</Delete>".encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    said = await probe.ask("POST", "", body, query=[("delete", "")], headers={"content-md5": md5})
    assert said.ok
    assert b"<Error>" not in said.body
    listed = await probe.ask("GET", query=[("list-type", "2"), ("prefix", f"{probe.place}d/")])
    assert b"<Key>" not in listed.body


async def begun(probe: Probe, key: str, **headers: str) -> tuple[str, str]:
    said = await probe.ask("POST", key, query=[("uploads", "")], headers={"content-type": "video/mp4", **headers})
    assert said.ok
    return ("uploadId", said.value("UploadId"))


async def part(probe: Probe, key: str, upload: tuple[str, str], number: int, body: bytes, **headers: str) -> str:
    query = [("partNumber", str(number)), upload]
    said = await probe.ask("PUT", key, body, query=query, headers=headers)
    assert said.ok, said.code
    return said.headers["etag"]


def completion(etags: list[str]) -> bytes:
    named = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in enumerate(etags, 1))
    return f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()


async def test_parts_become_one_object(probe: Probe) -> None:
    bodies = [os.urandom(PART), b"the end"]
    upload = await begun(probe, "v")
    etags = [await part(probe, "v", upload, n, body) for n, body in enumerate(bodies, 1)]
    assert (await probe.ask("GET", "v")).status == 404
    said = await probe.ask("POST", "v", completion(etags), query=[upload])
    assert said.ok
    assert said.code == ""
    read = await probe.ask("GET", "v")
    assert read.body == b"".join(bodies)
    assert read.headers["content-type"] == "video/mp4"


async def test_a_part_with_a_wrong_checksum_is_refused(probe: Probe) -> None:
    upload = await begun(probe, "v")
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    said = await probe.ask("PUT", "v", BODY, query=[("partNumber", "1"), upload], headers={"content-md5": md5})
    assert said.status == 400
    assert (await probe.ask("DELETE", "v", query=[upload])).ok


async def test_small_parts_before_the_last_are_refused(probe: Probe) -> None:
    upload = await begun(probe, "v")
    etags = [await part(probe, "v", upload, n, BODY) for n in (1, 2)]
    said = await probe.ask("POST", "v", completion(etags), query=[upload])
    assert said.code == "EntityTooSmall"
    await probe.ask("DELETE", "v", query=[upload])


async def test_an_upload_that_was_aborted_is_gone(probe: Probe) -> None:
    upload = await begun(probe, "v")
    etag = await part(probe, "v", upload, 1, BODY)
    assert (await probe.ask("DELETE", "v", query=[upload])).status == 204
    said = await probe.ask("POST", "v", completion([etag]), query=[upload])
    assert said.code == "NoSuchUpload"
    assert (await probe.ask("GET", "v")).status == 404


async def test_the_end_of_an_upload_does_not_replace_an_object(probe: Probe) -> None:
    upload = await begun(probe, "v")
    etag = await part(probe, "v", upload, 1, b"other")
    await probe.ask("PUT", "v", BODY)
    said = await probe.ask("POST", "v", completion([etag]), query=[upload], headers={"if-none-match": "*"})
    assert said.status == 412
    assert (await probe.ask("GET", "v")).body == BODY
    await probe.ask("DELETE", "v", query=[upload])


async def test_a_signed_url_gives_its_object_for_its_time_alone(probe: Probe) -> None:
    await probe.ask("PUT", "a b", BODY)
    await probe.ask("PUT", "c", BODY)
    target = probe.presigned("a b", 60)
    assert (await probe.send("GET", target)).body == BODY
    assert (await probe.send("GET", target.replace("a%20b", "c"))).status == 403
    assert (await probe.send("PUT", target, {}, b"other")).status == 403
    assert (await probe.send("GET", probe.presigned("a b", 60, late=120.0))).status == 403


async def test_what_was_stored_is_there_after_a_kill(probe: Probe, endpoint: Endpoint) -> None:
    assert endpoint.restart is not None, "nobody can kill it"
    await asyncio.gather(*(probe.ask("PUT", f"k/{n}", b"%d" % n) for n in range(50)))
    await asyncio.to_thread(endpoint.restart)
    await answering(probe)
    read = await asyncio.gather(*(probe.ask("GET", f"k/{n}") for n in range(50)))
    assert [one.body for one in read] == [b"%d" % n for n in range(50)]
