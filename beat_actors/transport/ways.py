"""The ways out: a session for calls without a SOCKS proxy and one for each such proxy, and the authorities of each CA file."""

import ssl
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError

from beat_actors.routes import Route

# Idle connections are given up before providers close them, which a call would notice as a failure. A connector has no limit of its own:
# slots are waited for before the call, so that no call grows old in the connector's queue.
CONNECTOR: dict[str, Any] = {"limit": 0, "ttl_dns_cache": 60, "keepalive_timeout": 10}
SOCKS_FAILURES = (ProxyConnectionError, ProxyError, ProxyTimeoutError)
"""What a SOCKS proxy raises that does not answer or refuses. Their messages name addresses."""
PROXY_FAILURES = (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError, *SOCKS_FAILURES)


class CannotTrust(Exception):
    """The CA file cannot be read, or holds no certificate. The message names the file."""


class Way(NamedTuple):
    """The session of a call, and what its request is given besides."""

    session: aiohttp.ClientSession
    options: dict[str, Any]


class Ways:
    """Made inside a running event loop. `open_session` makes a session over a connector. There are as many sessions as SOCKS proxies
    in the settings, and one. `options`: of the connector for calls without a SOCKS proxy, beside the usual ones. `idle`: connections of a session that are
    kept without a call, where that has a limit."""

    # Any: the options of aiohttp's connector have many types.
    def __init__(
        self,
        open_session: Callable[[aiohttp.TCPConnector], aiohttp.ClientSession],
        *,
        idle: int | None = None,
        **options: Any,
    ) -> None:
        self._open_session = open_session
        self._idle = idle
        self._options = CONNECTOR | options
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._trusted: dict[str, ssl.SSLContext] = {}

    def of(self, route: Route, base: str) -> Way:
        """`base`: the URL that is called, or its beginning. Raises `CannotTrust`."""
        options: dict[str, Any] = {"headers": {"User-Agent": route.user_agent}}
        if route.ca_file is not None:
            options["ssl"] = self._authorities(route.ca_file)
        proxy = "" if route.proxy is None else route.proxy.get_secret_value()
        if not proxy.startswith("socks"):
            if proxy:
                proxied = _http_proxy(proxy)
                if base.startswith("http:"):  # no tunnel is opened, and the request itself goes to the proxy
                    options["headers"] |= proxied.pop("proxy_headers", {})
                options |= proxied
            return Way(self._session(""), options)
        return Way(self._session(proxy), options)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, socks: str) -> aiohttp.ClientSession:
        session = self._sessions.get(socks)
        if session is None:
            # The proxy looks up the names of hosts, so that no query for them leaves by another way.
            connector = (
                ProxyConnector.from_url(socks, rdns=True, **CONNECTOR)
                if socks
                else aiohttp.TCPConnector(**self._options)
            )
            if self._idle is not None:
                _bound_idle(connector, self._idle)
            session = self._sessions[socks] = self._open_session(connector)
            # By itself aiohttp repeats a GET whose connection broke: a second paid call under one lease. The broker decides that.
            session._retry_connection = False
        return session

    def _authorities(self, ca_file: str) -> ssl.SSLContext:
        context = self._trusted.get(ca_file)
        if context is None:
            try:
                context = ssl.create_default_context(cafile=ca_file)
            except OSError as error:  # an `ssl.SSLError` is one too
                raise CannotTrust(
                    f"the CA file {ca_file} cannot be used: {error.strerror or 'it holds no certificate'}"
                ) from None
            self._trusted[ca_file] = context
        return context


def _bound_idle(connector: aiohttp.TCPConnector, most: int) -> None:
    """Close the connection that has been idle for longest if more than `most` are. aiohttp limits those in use alone."""
    release = connector._release

    def bounded(key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        release(key, protocol, should_close=should_close)
        kept = connector._conns
        if sum(map(len, kept.values())) > most:
            oldest = min((key for key, idle in kept.items() if idle), key=lambda key: kept[key][0][1])
            closing, _since = kept[oldest].popleft()
            if not kept[oldest]:
                del kept[oldest]
            closing.close()

    connector._release = bounded  # type: ignore[method-assign]


def _http_proxy(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.username is None:
        return {"proxy": url}
    login = aiohttp.encode_basic_auth(unquote(parts.username), unquote(parts.password or ""))
    return {
        "proxy": f"{parts.scheme}://{parts.hostname}:{parts.port}",
        "proxy_headers": {"Proxy-Authorization": login},
    }
