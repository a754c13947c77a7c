"""Downloads from origins: the one place where Beat goes to URLs that other people wrote into their profiles and posts.

What an origin can do to a download is bounded: the addresses it leads to (`transport/guard`, at each hop), hops, seconds, bytes, and how many
downloads of its host are under way. A body that is packed is refused: Beat asks for none, and pictures are packed by themselves. A picture is
held in memory and a video in a temporary file without a name; both take their part of a budget of the process until they are closed.
"""

import asyncio
import re
import socket
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

import aiohttp
from yarl import URL

from beat_actors.assets.budget import Budget, Part
from beat_actors.assets.fetched import Dead, Denied, Fetched, Got, Later, Refused, Why, refusal
from beat_actors.assets.hosts import Host, HostBusy, HostDenies, HostDown, Hosts, NotNow
from beat_actors.own_trouble import is_exhausted
from beat_actors.routes import ASSETS, route
from beat_actors.settings import Settings
from beat_actors.transport.failures import meaning
from beat_actors.transport.guard import WEB, GuardedSockets, PrivateAddress, cause_of, literal
from beat_actors.transport.names import Names
from beat_actors.transport.ways import PROXY_FAILURES, CannotTrust, Way, Ways

HOPS = 3
CONNECT = 5.0
LONGEST_URL = 8192
IDLE = 256
EXPECTED = 32 << 10
"""Bytes of memory that a download takes before it is known how long the body is."""
CHUNK = 1 << 20
"""Bytes that are written to a file at once."""
HEADERS = {
    "Accept": "image/jpeg,image/png,image/webp,image/gif,video/mp4,*/*;q=0.5",
    "Accept-Encoding": "identity",
}
MOVED = frozenset({301, 302, 303, 307, 308})
PLAIN = re.compile(r"[!-~]+")
NOT_ASKED = {HostDown: Why.HOST_DOWN, HostDenies: Why.HOST_DENIES, HostBusy: Why.HOST_BUSY}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one download may take. `seconds` do not run while it waits for a slot of its host, or for its part of the budget."""

    most: int
    seconds: float
    to_file: bool = False


IMAGE = Limits(20_000_000, 15.0)
VIDEO = Limits(500_000_000, 120.0, to_file=True)


@dataclass(frozen=True, slots=True)
class Target:
    """One hop. `url`: as the origin says; `sent`: where the request goes, which differs in a rehearsal."""

    url: URL
    sent: URL
    host: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A redirect."""

    location: str


class _End(Exception):
    """The download ends with this."""

    def __init__(self, end: Dead | Later | Refused) -> None:
        super().__init__(end.said)
        self.end = end


class Origin:
    """Make it inside a running event loop, and close it there. `idle`: connections that are kept for further downloads. `names` and `sockets` are for
    tests."""

    def __init__(
        self,
        settings: Settings,
        *,
        idle: int = IDLE,
        names: Names | None = None,
        sockets: type[socket.socket] = socket.socket,
    ) -> None:
        self._instead = settings.asset_origin and settings.asset_origin.rstrip("/")
        self._route = route({} if self._instead else settings.sources, None, ASSETS)
        # The simulator of a rehearsal is on this host. Where a proxy lies between, only the proxy sees the addresses of origins.
        allow_private = self._instead is not None or self._route.proxy is not None
        self._names = names or Names()
        self._ways = Ways(
            self._open_session,
            idle=idle,
            resolver=self._names,
            use_dns_cache=False,
            socket_factory=GuardedSockets(allow_private=allow_private, kind=sockets),
        )
        self._known_ways: dict[str, Way] = {}
        self._hosts = Hosts(settings.asset_max_per_host)
        self._memory = Budget(settings.asset_memory_mb * 1_000_000)
        self._disk = Budget(settings.asset_disk_mb * 1_000_000)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._ways.close()
        await self._names.close()

    @property
    def held(self) -> int:
        """Bytes of memory that downloads and their pictures have."""
        return self._memory.taken

    async def fetch(self, url: str, limits: Limits = IMAGE) -> Fetched:
        """Download it. Never raises for what the network or the origin does. Close what comes back: `with await origin.fetch(url) as fetched`.

        Waits for a slot of the host, and for room in the budget.
        """
        part = Part(self._memory)
        fetched: Fetched | None = None
        left = limits.seconds
        try:
            target = self._target(url)
            for _ in range(HOPS + 1):
                async with self._hosts.one(target.host) as (host, since):
                    if not part.size:
                        part = await self._memory.take(EXPECTED)
                    began = time.perf_counter()
                    found = await self._hop(target, host, since, limits, part, left)
                    left -= time.perf_counter() - began
                if not isinstance(found, Moved):
                    fetched = found
                    return found
                target = self._target(found.location, target.url)
            return Refused(Why.REDIRECTS, f"the origin redirects more than {HOPS} times")
        except NotNow as error:
            return Later(NOT_ASKED[type(error)], str(error), pause=max(error.pause, 1.0))
        except _End as end:
            return end.end
        finally:
            if not isinstance(fetched, Got) or fetched.part is not part:
                part.give_back()

    def _target(self, text: str, base: URL | None = None) -> Target:
        """Raises `_End` where Beat does not go there."""
        if len(text) > LONGEST_URL or CONTROL.search(text):
            raise _End(Refused(Why.URL, "the URL is too long, or has control characters"))
        try:
            # A signature covers the URL as it is written, so it is not written anew.
            url = URL(text, encoded=PLAIN.fullmatch(text) is not None)
            if base is not None:
                url = base.join(url)
            host, port = url.raw_host, url.port
        except (ValueError, UnicodeError):
            raise _End(Refused(Why.URL, "the URL cannot be read")) from None
        if url.scheme not in ("http", "https") or not host:
            raise _End(Refused(Why.URL, "the URL is not an http or https URL with a host"))
        if url.raw_user is not None or url.raw_password is not None:
            raise _End(Refused(Why.URL, "the URL holds a user or a password"))
        if port not in WEB or literal(host) is False:
            raise _End(
                Refused(Why.ADDRESS, "the URL names a port other than 80 and 443, or an address that is not public")
            )
        sent = url if self._instead is None else URL(f"{self._instead}/{host}{url.raw_path_qs}", encoded=True)
        return Target(url, sent, host)

    async def _hop(
        self, target: Target, host: Host, since: float, limits: Limits, part: Part, left: float
    ) -> Fetched | Moved:
        """One request, within `left` seconds."""
        try:
            async with asyncio.timeout(left) as deadline:
                found = await self._ask(target, limits, part, deadline)
        except _End as end:
            host.answered()
            return end.end
        except TimeoutError:
            host.failed(since)
            return Later(Why.TIMEOUT, f"no whole answer within {limits.seconds:g} s")
        except aiohttp.ClientPayloadError:
            host.answered()
            return Later(Why.SHORT, "the body is shorter than announced, or its chunks cannot be read")
        except CannotTrust as error:
            return Later(Why.CONNECTION, str(error), pause=60.0)
        except PROXY_FAILURES as error:
            return Later(
                Why.CONNECTION, f"the proxy {self._route.through} refuses or does not answer: {type(error).__name__}"
            )
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError, MemoryError) as error:
            return _failure(error, host, since)
        host.answered()
        if isinstance(found, Got):
            host.gave()
        if isinstance(found, Denied) and host.denied():
            return Later(Why.DENIED, found.said, found.status, pause=60.0)
        return found

    async def _ask(self, target: Target, limits: Limits, part: Part, deadline: asyncio.Timeout) -> Fetched | Moved:
        session, options = self._way(target)
        async with session.get(target.sent, allow_redirects=False, **options) as response:
            status = response.status
            if status in MOVED and (location := response.headers.get("Location")) is not None:
                return Moved(location)
            if status != 200:
                headers = {name: response.headers[name] for name in ("Retry-After", "Date") if name in response.headers}
                beginning = await response.content.read(1024)
                return refusal(status, {name.lower(): value for name, value in headers.items()}, beginning)
            coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if coding not in ("identity", ""):
                return Refused(Why.PACKED, "the origin packs the body although it was asked not to", status)
            length = response.content_length
            if length is not None and length > limits.most:
                return Refused(Why.TOO_LARGE, f"the origin announces {length} bytes; {limits.most} are allowed", status)
            if length == 0:
                return Later(Why.EMPTY, "the origin answers 200 with nothing", status)
            got = Got(
                0,
                response.headers.get("Content-Type", "").partition(";")[0].strip().lower()[:100],
                target.host,
                announced=length is not None or response.headers.get("Transfer-Encoding", "").lower() == "chunked",
            )
            if limits.to_file:
                await self._into_file(response.content, got, limits.most, deadline)
            else:
                await _into_memory(response.content, got, limits.most, length, part, deadline)
        if not got.size:
            got.close()
            return Later(Why.EMPTY, "the origin answers 200 with nothing", status)
        return got

    async def _into_file(self, content: aiohttp.StreamReader, got: Got, most: int, deadline: asyncio.Timeout) -> None:
        """It takes as much of the disk as has come, whatever length was announced."""
        part = Part(self._disk)
        file = got.file = await asyncio.to_thread(tempfile.TemporaryFile)
        got.part = part
        try:
            chunks: list[bytes] = []
            waiting = 0
            async for chunk in content.iter_any():
                chunks.append(chunk)
                waiting += len(chunk)
                got.size += len(chunk)
                _check_size(got.size, most)
                if waiting >= CHUNK:
                    await _grown(part, got.size, deadline)
                    await asyncio.to_thread(file.writelines, chunks)
                    chunks, waiting = [], 0
            await _grown(part, got.size, deadline)
            await asyncio.to_thread(_finish, file, chunks)
        except BaseException:
            got.close()
            raise

    def _way(self, target: Target) -> Way:
        scheme = target.sent.scheme
        way = self._known_ways.get(scheme)
        if way is None:
            way = self._known_ways[scheme] = self._ways.of(self._route, f"{scheme}:")
        return way

    def _open_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            headers=HEADERS,
            auto_decompress=False,
            trust_env=False,
        )


async def _into_memory(
    content: aiohttp.StreamReader, got: Got, most: int, length: int | None, part: Part, deadline: asyncio.Timeout
) -> None:
    """It takes at most four times as much of the memory as has come, whatever length was announced."""
    most_of_part = most if length is None else length
    chunks: list[bytes] = []
    async for chunk in content.iter_any():
        chunks.append(chunk)
        got.size += len(chunk)
        _check_size(got.size, most)
        if got.size > part.size:
            await _grown(part, min(max(got.size, 4 * part.size), most_of_part), deadline)
    got.data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    got.part = part
    part.give_back(got.size)


async def _grown(part: Part, to: int, deadline: asyncio.Timeout) -> None:
    """Wait for so much of the budget. The host is not to blame for that, so the deadline moves."""
    if part.grows_at_once(to):
        return
    loop, ends = asyncio.get_running_loop(), deadline.when()
    if ends is None or deadline.expired():
        await part.grow(to)
        return
    since = loop.time()
    deadline.reschedule(None)
    try:
        await part.grow(to)
    finally:
        deadline.reschedule(ends + loop.time() - since)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise _End(Refused(Why.TOO_LARGE, f"the body is longer than {most} bytes", 200))


def _finish(file: BinaryIO, chunks: list[bytes]) -> None:
    file.writelines(chunks)
    file.seek(0)


def _failure(error: Exception, host: Host, since: float) -> Later | Refused:
    if cause_of(error, PrivateAddress) is not None:
        return Refused(Why.ADDRESS, "the host leads to an address that is not public, so nothing was sent", again=True)
    if is_exhausted(error) or isinstance(error, RuntimeError):
        return Later(Why.RESOURCES, f"this process has no descriptors or memory left: {type(error).__name__}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        host.failed(since)
        return Later(Why.NAME, "the host's name does not resolve", pause=60.0)
    if isinstance(error, aiohttp.ClientResponseError):
        host.answered()
        return Later(Why.CONNECTION, "the answer is not HTTP, or its headers are too long or too many", pause=60.0)
    host.failed(since)
    return Later(Why.CONNECTION, f"no whole answer: {meaning(error)}")
