"""Objects in an S3 bucket: the one client of S3. Each request has an end in time, and the bucket compares what it stores with a checksum.

What a bucket has is never replaced: an object is stored where none has its key. This module repeats a request only where the bucket says so
(409, 503) or the connection broke, and within the time of one request. Its callers keep rows of what is left to do, and ask again.
"""

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar
from urllib.parse import unquote
from xml.sax.saxutils import escape

from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.transport.bucket import Bucket, ConnectionBroken, patience

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    import aiohttp

    from beat_actors.settings import Settings

T = TypeVar("T")

LIMIT = 32
"""Connections of an event loop to a bucket, unless the caller asks for others."""
PAGE = 1000
"""Keys that S3 lists or deletes by one request, at most."""
CHUNK = 1 << 16
"""Bytes of one part of an object that is read as a stream."""
MISSING = frozenset({"NoSuchKey", "InvalidRange", "404", "416"})
EXISTS = frozenset({"PreconditionFailed", "412"})
CONFLICT = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
"""Another request stores the same key at this moment, so who is first is not known yet."""
CONFLICTS, AFTER = 6, 0.05
"""Times that a conflict is asked about again, and seconds before the first; then twice as many each time."""
SLOW = frozenset(
    {"SlowDown", "SlowDownWrite", "ServiceUnavailable", "TooManyRequests", "RequestLimitExceeded", "503", "429"}
)
"""The bucket wants fewer requests; the client sends fewer."""
MD5 = "content-md5"


class Head(NamedTuple):
    """What a bucket says of an object without its bytes."""

    size: int
    content_type: str
    cache_control: str | None
    etag: str
    modified: datetime


class Listed(NamedTuple):
    """An object in a list."""

    key: str
    size: int
    modified: datetime
    etag: str


class Page(NamedTuple):
    """A part of a list. `token`: where the next part begins; None at the end."""

    objects: list[Listed]
    token: str | None


@dataclass(frozen=True)
class Opened:
    """An object that is being read. `size`: the bytes that come, which are those of the span. `head.size` is that of the whole object."""

    head: Head
    size: int
    _bucket: Bucket
    _response: "aiohttp.ClientResponse"

    async def chunks(self, size: int = CHUNK) -> AsyncIterator[bytes]:
        """The bytes, in parts of `size` at most. Raises `ObjectsUnavailable` where they stop coming."""
        while chunk := await self._bucket.part(self._response, size):
            yield chunk


class ObjectStore:
    """A bucket. Every method raises `ObjectsUnavailable` where the bucket does not answer in time, or refuses. `limit`: connections of an event
    loop; further requests wait for one."""

    def __init__(
        self, bucket: str, *, endpoint_url: str | None = None, region: str | None = None, limit: int = LIMIT
    ) -> None:
        self._bucket = Bucket(bucket, endpoint_url=endpoint_url, region=region, limit=limit)
        self.bucket, self.where = bucket, self._bucket.where

    @staticmethod
    def of(settings: "Settings", *, limit: int = LIMIT) -> "ObjectStore | None":
        """The bucket of raw payloads, one object for the whole process. None where the settings name none."""
        if settings.s3_bucket is None:
            return None
        return _known(settings.s3_bucket, settings.s3_endpoint_url, settings.s3_region, limit)

    @staticmethod
    def of_assets(settings: "Settings", *, limit: int = LIMIT) -> "ObjectStore | None":
        """The bucket of assets, likewise."""
        if settings.asset_bucket is None:
            return None
        return _known(settings.asset_bucket, settings.s3_endpoint_url, settings.s3_region, limit)

    async def close(self) -> None:
        """Close the connections of the running event loop, which otherwise happens at its end."""
        await self._bucket.close()

    async def puts_per_second(self) -> float:
        """How many objects may be stored in a second at present, as far as this event loop has seen."""
        return (await self._bucket.link()).gate.pace.rate

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
        sha256: bytes | None = None,
    ) -> bool:
        """Store an object that does not exist yet, with its SHA-256, which the bucket compares. False where one with this key exists.

        `sha256`: of the body, where the caller has it. If the connection broke after the bucket stored the object, the answer is False too.
        """
        digest = sha256 or hashlib.sha256(body).digest()
        headers = {"if-none-match": "*", "x-amz-checksum-sha256": base64.b64encode(digest).decode()}
        headers |= described(content_type, cache_control)

        async def put() -> bool:
            await self._bucket.send("PUT", key, headers=headers, body=body, digest=digest, again=False)
            return True

        try:
            return await self.paced(len(body), put)
        except ObjectsUnavailable as error:
            if error.reason in EXISTS:
                return False
            raise

    async def put_file(
        self,
        key: str,
        file: BinaryIO,
        size: int,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> bool:
        """Store a file of `size` bytes, as `put` does, in parts if it is large. One part is in memory at a time."""
        from beat_actors.transport import multipart

        return await multipart.put_file(self, self._bucket, key, file, size, content_type, cache_control)

    async def head(self, key: str) -> Head:
        """What the bucket says of an object. Raises `ObjectMissing`."""
        reply = await self._found(key, self._bucket.ask("HEAD", key))
        return _head(reply.headers, int(reply.headers["content-length"]))

    async def read(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """An object, or the bytes of it that `span` (position, length) names. Raises `ObjectMissing` where there is no such object, or it is
        shorter."""
        async with self._bucket.within(span[1] if span else 0) as ends, self.opened(key, span) as opened:
            ends.reschedule(asyncio.get_running_loop().time() + patience(opened.size))
            return b"".join([chunk async for chunk in opened.chunks()])

    @asynccontextmanager
    async def opened(self, key: str, span: tuple[int, int] | None = None) -> AsyncIterator[Opened]:
        """An object as a stream, or the bytes of it that `span` (position, length) names. Raises `ObjectMissing` as `read` does."""
        headers = {} if span is None else {"range": f"bytes={span[0]}-{span[0] + span[1] - 1}"}
        stream = self._bucket.stream(key, headers)
        response = await self._found(key, stream.__aenter__())
        try:
            length = int(response.headers["content-length"])
            whole = response.headers.get("content-range", "").rpartition("/")[2]
            if span is not None and length != span[1]:
                raise ObjectMissing(f"the object {key} of the bucket {self.where} ends before {span[0] + span[1]}")
            yield Opened(_head(response.headers, int(whole or length)), length, self._bucket, response)
        finally:
            await stream.__aexit__(None, None, None)

    async def presigned(self, key: str, seconds: int) -> str:
        """A URL with which anybody may GET the object for this time, a week at most."""
        return await self._bucket.presigned(key, seconds)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; what does not exist is deleted already. Raises where the bucket refuses one of them."""
        for key, (code, said) in (await self.delete_each(keys)).items():
            raise ObjectsUnavailable(f"the bucket {self.where}: it does not delete {key}: {said}", reason=code)

    async def delete_each(self, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Delete objects as `delete` does. Returns those that the bucket refuses to delete, each with its code and message."""
        refused = dict[str, tuple[str, str]]()
        for at in range(0, len(keys), PAGE):
            named = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys[at : at + PAGE])
            body = f"<Delete><Quiet>true</Quiet>{named}</Delete>".encode()
            reply = await self._bucket.ask("POST", "", query=[("delete", "")], headers={MD5: md5_of(body)}, body=body)
            for each in parsed(reply.body).iter("Error"):
                said = each.findtext("Code") or "refused", each.findtext("Message") or ""
                refused[each.findtext("Key") or ""] = said
        return refused

    async def keys(self, prefix: str) -> list[str]:
        """The first keys that begin with `prefix`, a thousand at most."""
        return [each.key for each in (await self.page(prefix)).objects]

    async def page(self, prefix: str, token: str | None = None) -> Page:
        """Objects whose keys begin with `prefix`, a thousand at most, in the order of their keys. `token`: of the page before."""
        query = [("list-type", "2"), ("max-keys", str(PAGE)), ("prefix", prefix), ("encoding-type", "url")]
        if token is not None:
            query.append(("continuation-token", token))
        answer = parsed((await self._bucket.ask("GET", "", query=query)).body)
        # Keys may hold what XML may not, so they are encoded as in a URL.
        plain = unquote if answer.findtext("EncodingType") == "url" else str
        objects = [
            Listed(
                plain(each.findtext("Key") or ""),
                int(each.findtext("Size") or 0),
                datetime.fromisoformat(each.findtext("LastModified") or ""),
                (each.findtext("ETag") or "").strip('"'),
            )
            for each in answer.iter("Contents")
        ]
        return Page(objects, answer.findtext("NextContinuationToken") or None)

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        """All objects whose keys begin with `prefix`, a thousand at a time: one request for each, however many there are."""
        page = await self.page(prefix)
        yield page
        while page.token is not None:
            page = await self.page(prefix, page.token)
            yield page

    async def paced(self, size: int, store: Callable[[], Awaitable[T]]) -> T:
        """Send what stores something, in its turn, within the time of `size` bytes. A conflict is asked about again; a bucket that wants fewer
        requests gets fewer; and of what it refused, or what broke off, a few are sent again at once (`Pace.may_repeat`)."""
        conflicts, waits = 0, False
        try:
            async with self._bucket.within(size):
                gate = (await self._bucket.link()).gate
                while True:
                    waits = True
                    generation = await gate.turn()
                    waits = False
                    try:
                        done = await store()
                    except ObjectsUnavailable as error:
                        if error.reason in SLOW:
                            gate.refused(generation)
                        elif error.reason in EXISTS | CONFLICT:
                            gate.accepted(generation)
                        if error.reason in CONFLICT and conflicts < CONFLICTS:
                            await asyncio.sleep(AFTER * 2**conflicts * random.uniform(0.5, 1.0))
                            conflicts += 1
                        elif (
                            not (error.reason in SLOW or isinstance(error, ConnectionBroken))
                            or not gate.pace.may_repeat()
                        ):
                            raise
                    else:
                        gate.accepted(generation)
                        return done
        except ObjectsUnavailable as error:
            if waits:
                said = f"the bucket {self.where} takes fewer objects than are to be stored, and none in this request's time"
                raise ObjectsUnavailable(said, reason="SlowDown") from None
            raise error

    async def _found(self, key: str, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except ObjectsUnavailable as error:
            if error.reason in MISSING:
                raise ObjectMissing(f"the bucket {self.where} has no object {key}, or a shorter one") from None
            raise


def described(content_type: str | None, cache_control: str | None) -> dict[str, str]:
    """The headers that the bucket gives back with an object."""
    given = {"content-type": content_type, "cache-control": cache_control}
    return {name: value for name, value in given.items() if value is not None}


def md5_of(body: bytes) -> str:
    """As the header has it that every S3 server compares; a signature and SHA-256 do the securing."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def parsed(body: bytes) -> "Element":
    """An answer of S3, without its namespace. Raises `ObjectsUnavailable` for what is no XML."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(body)  # noqa: S314 (of the operator's own bucket; expat bounds what entities make of it)
    except ElementTree.ParseError:
        raise ObjectsUnavailable("the bucket answers a list that is no XML", reason="unreadable") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _head(headers: Mapping[str, str], size: int) -> Head:
    modified = headers.get("last-modified")
    return Head(
        size,
        headers.get("content-type", "binary/octet-stream"),
        headers.get("cache-control"),
        headers.get("etag", "").strip('"'),
        parsedate_to_datetime(modified) if modified else datetime.now(UTC),
    )


@cache
def _known(bucket: str, endpoint_url: str | None, region: str | None, limit: int) -> ObjectStore:
    return ObjectStore(bucket, endpoint_url=endpoint_url, region=region, limit=limit)
