"""Requests to one bucket: signed, each with an end in time. A refusal is an error that has the bucket's own code as its reason."""

import asyncio
import hashlib
import html
import io
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from beat_actors.errors import ObjectsUnavailable
from beat_actors.transport.access import Access, AccessFinder
from beat_actors.transport.links import Link, Links
from beat_actors.transport.signing import EMPTY, path_of, query_of

if TYPE_CHECKING:
    import aiohttp

PATIENCE, SMALL, BYTES_A_SECOND = 14.0, 1 << 20, 256_000
"""Seconds that a request with a body of `SMALL` bytes at most may take: with all of its answer, with the time that it waits for a connection and
for its turn, and when it is repeated. A larger body has more time, as if it came at `BYTES_A_SECOND`."""
STALLED = 10.0
"""Seconds between two parts of an answer that is read as a stream."""
LONGEST_REFUSAL = 8192
"""Bytes that are read of a refusal."""
SAID = {name: re.compile(f"<{name}>([^<]{{0,500}})</{name}>") for name in ("Code", "Message")}
REFUSED_KEY = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"})
NONE: Mapping[str, str] = {}


class Reply(NamedTuple):
    """An answer that is no refusal. Names of headers are case-insensitive."""

    headers: Mapping[str, str]
    body: bytes


class ConnectionBroken(ObjectsUnavailable):
    """The connection broke before the answer came. Whether the bucket did what was asked is not known, and the request may be repeated."""


class _Moved(ObjectsUnavailable):
    """The bucket is in another region, which is known from now on."""


def patience(size: int) -> float:
    """Seconds for a request with a body of `size` bytes, in either direction."""
    return PATIENCE + max(0, size - SMALL) / BYTES_A_SECOND


class Bucket:
    """A bucket, for the tasks of any event loop. Every method raises `ObjectsUnavailable` where it does not answer in time, or refuses."""

    def __init__(self, name: str, *, endpoint_url: str | None, region: str | None, limit: int) -> None:
        self.name = name
        self.where = f"{name} at {endpoint_url or 'AWS'}"
        self._access = AccessFinder(name, endpoint_url, region)
        self._links = Links(limit)

    async def link(self) -> Link:
        """The connections and the pace of the running event loop."""
        return await self._links.of((await self._access.get()).origin)

    async def close(self) -> None:
        """Close the connections of the running event loop, which otherwise happens at its end."""
        await self._links.close()

    def within(self, size: int) -> "_Within":
        """The time that requests may take together which carry `size` bytes."""
        return _Within(self.where, patience(size))

    async def ask(
        self,
        method: str,
        key: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] = NONE,
        body: bytes = b"",
        again: bool = True,
    ) -> Reply:
        """`send`, within the time of the body."""
        async with self.within(len(body)):
            return await self.send(method, key, query=query, headers=headers, body=body, again=again)

    async def send(
        self,
        method: str,
        key: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] = NONE,
        body: bytes = b"",
        digest: bytes | None = None,
        again: bool = True,
    ) -> Reply:
        """One request and all of its answer, inside of `within`. Names of `headers` are in lower case. `digest`: the SHA-256 of the body, where
        it is known.

        `again`: the request may be made twice, so it is repeated once if the connection breaks. It is also repeated with a new key if the
        bucket refuses an old one, and in the region that AWS names.
        """
        hashed = EMPTY if not body else (digest or hashlib.sha256(body).digest()).hex()
        response = await self._begun(method, key, query_of(query) if query else "", headers, body, hashed, again)
        async with response:
            return Reply(response.headers, await self._rest(response))

    @asynccontextmanager
    async def stream(self, key: str, headers: Mapping[str, str]) -> AsyncIterator["aiohttp.ClientResponse"]:
        """A GET whose answer has begun. The block reads it with `part`; there is no end in time but between two parts."""
        async with self.within(0):
            response = await self._begun("GET", key, "", headers, b"", EMPTY, True)
        async with response:
            yield response

    async def part(self, response: "aiohttp.ClientResponse", size: int) -> bytes:
        """The next bytes of an answer, `size` at most; none at its end."""
        import aiohttp

        try:
            async with asyncio.timeout(STALLED):
                return await response.content.read(size)
        except TimeoutError:
            said = f"the bucket {self.where} stopped within an answer for {STALLED:g} s"
            raise ObjectsUnavailable(said, reason="unreachable") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None

    async def presigned(self, key: str, seconds: int, query: Iterable[tuple[str, str]] = ()) -> str:
        """A URL with which anybody may GET the object for this time. Keys of a role may expire earlier, and the URL with them."""
        access = await self._access.get()
        path = access.root + path_of(key)
        signed = access.signer.presigned(access.credentials, path, query, seconds, time.time())
        return f"{access.origin}{path}?{signed}"

    async def _begun(
        self, method: str, key: str, query: str, headers: Mapping[str, str], body: bytes, hashed: str, again: bool
    ) -> "aiohttp.ClientResponse":
        """The beginning of an answer, after what it takes to get one."""
        access = await self._access.get()
        link = await self._links.of(access.origin)
        try:
            return await self._sent(access, link, method, key, query, headers, body, hashed)
        except ObjectsUnavailable as error:
            if isinstance(error, ConnectionBroken):
                repeated = again and link.gate.pace.may_repeat()
            elif error.reason in REFUSED_KEY:
                repeated = await self._access.doubted()
            else:
                repeated = isinstance(error, _Moved)
            if not repeated:
                raise
        return await self._sent(await self._access.get(), link, method, key, query, headers, body, hashed)

    async def _sent(
        self,
        access: Access,
        link: Link,
        method: str,
        key: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        hashed: str,
    ) -> "aiohttp.ClientResponse":
        import aiohttp
        from yarl import URL

        path = access.root + path_of(key)
        signed = access.signer.headers(access.credentials, method, path, query, headers, hashed, time.time())
        url = URL(f"{access.origin}{path}?{query}" if query else access.origin + path, encoded=True)
        # aiohttp writes large bytes at once, and a file in parts.
        data = io.BytesIO(body) if len(body) > SMALL else body or None
        try:
            response = await link.session.request(
                method, url, data=data, headers=signed, allow_redirects=False, proxy=link.proxy
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            said = f"the bucket {self.where} does not answer ({type(error).__name__}: {error})"
            raise ObjectsUnavailable(said, reason="unreachable") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None
        if response.status >= 300:
            async with response:
                raise await self._refusal(response)
        return response

    async def _rest(self, response: "aiohttp.ClientResponse") -> bytes:
        import aiohttp

        try:
            return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> ConnectionBroken:
        said = f"the bucket {self.where} does not answer ({type(error).__name__}: {error})"
        return ConnectionBroken(said, reason="unreachable")

    async def _refusal(self, response: "aiohttp.ClientResponse") -> ObjectsUnavailable:
        """Answers to HEAD have no body, and those of proxies are none of S3: then the status is the reason."""
        body = await self.part(response, LONGEST_REFUSAL)
        region = response.headers.get("x-amz-bucket-region")
        text = body.decode(errors="replace")
        said = {name: html.unescape(found[1]) for name, form in SAID.items() if (found := form.search(text))}
        reason = said.get("Code") or str(response.status)
        message = f"the bucket {self.where} answers {reason}: {said.get('Message') or response.reason}"
        if region is not None and response.status in (301, 307, 400) and self._access.moved(region):
            return _Moved(message, reason=reason)
        return ObjectsUnavailable(message, reason=reason)


class _Within:
    """A time for requests, in an `async with` block."""

    __slots__ = ("_ends", "_seconds", "_where")

    def __init__(self, where: str, seconds: float) -> None:
        self._where, self._seconds = where, seconds
        self._ends = asyncio.timeout(seconds)

    async def __aenter__(self) -> asyncio.Timeout:
        return await self._ends.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._ends.__aexit__(kind, error, trace)
        except TimeoutError:
            # No name is bound to it: an error that its own frame refers to would keep the body of the request until garbage is collected.
            raise self._late() from None
        if isinstance(error, TimeoutError):
            raise self._late() from None

    def _late(self) -> ObjectsUnavailable:
        said = f"the bucket {self._where} did not answer within {self._seconds:g} s"
        return ObjectsUnavailable(said, reason="unreachable")
