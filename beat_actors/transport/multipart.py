"""Large objects, in parts: each part is a request with an end in time of its own, and its MD5, which the bucket compares.

S3 keeps the parts of an upload that was broken off, and charges for them. So an upload that fails is aborted here; a process that dies leaves its
own to the bucket's life-cycle rule (docs/operations.md).
"""

import asyncio
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO
from xml.sax.saxutils import escape

from beat_actors.errors import ObjectsUnavailable
from beat_actors.transport.bucket import Bucket
from beat_actors.transport.objects import CONFLICT, EXISTS, MD5, described, md5_of, parsed

if TYPE_CHECKING:
    from beat_actors.transport.objects import ObjectStore

PART, PARTS = 8 << 20, 10_000
"""Bytes of a part, at least; parts of an object, at most. S3 takes no part below 5 MiB but the last one."""
ATTEMPTS = 3
"""Times that an upload is begun whose end conflicts with another of the same key: S3 forgets the parts then."""


async def put_file(
    store: "ObjectStore",
    bucket: Bucket,
    key: str,
    file: BinaryIO,
    size: int,
    content_type: str | None,
    cache_control: str | None,
) -> bool:
    """As `ObjectStore.put_file`. Raises `ValueError` where the file is shorter."""
    if size <= PART:
        body = await _read(file, 0, size)
        return await store.put(key, body, content_type=content_type, cache_control=cache_control)
    headers = described(content_type, cache_control)
    for left in range(ATTEMPTS - 1, -1, -1):
        begun = await bucket.ask("POST", key, query=[("uploads", "")], headers=headers, again=False)
        upload = ("uploadId", parsed(begun.body).findtext("UploadId") or "")
        try:
            etags = await _parts(store, bucket, key, file, size, upload)
            await _complete(bucket, key, upload, etags, size)
        except BaseException as error:
            with suppress(ObjectsUnavailable):
                await asyncio.shield(bucket.ask("DELETE", key, query=[upload]))
            reason = error.reason if isinstance(error, ObjectsUnavailable) else ""
            if reason in EXISTS:
                return False
            if reason not in CONFLICT or not left:
                raise
        else:
            return True
    return False


async def _parts(
    store: "ObjectStore", bucket: Bucket, key: str, file: BinaryIO, size: int, upload: tuple[str, str]
) -> list[str]:
    """Send all parts, one after the other; their ETags. The store wants to see them at the end."""
    length = max(PART, -(-size // PARTS))
    etags = list[str]()
    for number, at in enumerate(range(0, size, length), 1):
        body = await _read(file, at, min(length, size - at))
        digest, md5 = await asyncio.to_thread(_sums, body)
        query = [("partNumber", str(number)), upload]

        async def send(
            body: bytes = body, digest: bytes = digest, md5: str = md5, query: list[tuple[str, str]] = query
        ) -> str:
            sent = await bucket.send("PUT", key, query=query, headers={MD5: md5}, body=body, digest=digest)
            return sent.headers.get("etag", "")

        etags.append(await store.paced(len(body), send))
    return etags


async def _complete(bucket: Bucket, key: str, upload: tuple[str, str], etags: list[str], size: int) -> None:
    """S3 answers 200 before it knows the outcome, so the outcome may also be an error in the body."""
    named = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    async with bucket.within(size):
        reply = await bucket.send("POST", key, query=[upload], headers={"if-none-match": "*"}, body=body, again=False)
    answer = parsed(reply.body)
    if answer.tag == "Error":
        code = answer.findtext("Code") or "refused"
        raise ObjectsUnavailable(f"the bucket {bucket.where} answers {code}: {answer.findtext('Message')}", reason=code)


def _sums(body: bytes) -> tuple[bytes, str]:
    return hashlib.sha256(body).digest(), md5_of(body)


async def _read(file: BinaryIO, at: int, size: int) -> bytes:
    def read() -> bytes:
        file.seek(at)
        return file.read(size)

    body = await asyncio.to_thread(read)
    if len(body) != size:
        raise ValueError(f"the file ends at {at + len(body)}, and {at + size} bytes of it were to be stored")
    return body
