"""Connections to one bucket: few for each event loop, closed when the loop ends."""

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from beat_actors.transport.gate import Gate

if TYPE_CHECKING:
    import aiohttp

CONNECT = 3.0
"""Seconds to connect."""
IDLE = 10.0
"""Seconds after which an unused connection is closed, before the bucket closes it while a request is under way."""
AUTHORITIES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""Variables that name a file of certificate authorities; boto3 reads the same."""


class Link:
    """What one event loop has. `proxy`: the URL of an HTTP proxy, as HTTPS_PROXY and NO_PROXY say."""

    def __init__(self, session: "aiohttp.ClientSession", proxy: str | None) -> None:
        self.session, self.proxy = session, proxy
        self.gate = Gate(asyncio.get_running_loop().time)


class Links:
    """Those of all event loops of the process. `limit`: connections of a loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[asyncio.AbstractEventLoop, tuple[Link, AsyncGenerator[None, None]]] = {}
        self._changing = threading.Lock()

    async def of(self, origin: str) -> Link:
        """That of the running event loop, to the server of this URL."""
        loop = asyncio.get_running_loop()
        known = self._open.get(loop)
        if known is not None:
            return known[0]
        link = _connect(origin, self._limit)
        ending = self._until_the_end(link, loop)
        await anext(ending)  # it does not suspend, so no other task makes a second link
        with self._changing:
            for ended in [each for each in self._open if each.is_closed()]:
                del self._open[ended]
            self._open[loop] = (link, ending)
        return link

    async def close(self) -> None:
        """Close those of the running event loop, which otherwise happens at its end."""
        known = self._open.get(asyncio.get_running_loop())
        if known is not None:
            await known[1].aclose()

    async def _until_the_end(self, link: Link, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        """`asyncio.run` closes all asynchronous generators before it closes the loop, and so this one, with the connections."""
        try:
            yield
        finally:
            with self._changing:
                self._open.pop(loop, None)
            await link.session.close()


def _connect(origin: str, limit: int) -> Link:
    # Imported here: most processes store nothing.
    import aiohttp

    authorities = next((os.environ[name] for name in AUTHORITIES if os.environ.get(name)), None)
    trusted: ssl.SSLContext | bool = True if authorities is None else ssl.create_default_context(cafile=authorities)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, ttl_dns_cache=60, keepalive_timeout=IDLE, ssl=trusted),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=None),
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
        auto_decompress=False,
        trust_env=False,
    )
    # By itself aiohttp repeats a PUT whose connection broke: its answer would be that the object exists, which this very request made.
    session._retry_connection = False
    return Link(session, _proxy(origin))


def _proxy(origin: str) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(origin)
    found = getproxies().get(parts.scheme)
    return None if found is None or proxy_bypass(parts.netloc) else found
