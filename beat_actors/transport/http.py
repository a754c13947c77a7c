"""The one HTTP client for provider calls: a total deadline, a budget of decompressed bytes, no redirects, no cookies, no secrets in what it reports."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlencode, urlsplit
from weakref import WeakValueDictionary

import aiohttp

from beat_actors.own_trouble import is_exhausted
from beat_actors.platforms.interface import Answer, Call, Source
from beat_actors.platforms.reading import BYTE_ORDER_MARK
from beat_actors.redaction import HIDDEN
from beat_actors.routes import Route
from beat_actors.settings import Settings
from beat_actors.transport.failures import meaning
from beat_actors.transport.slots import Slots
from beat_actors.transport.ways import PROXY_FAILURES, CannotTrust, Ways

LONGEST_HEADER = 65_536
"""Bytes of one header line: providers put long links and reports of usage into them."""

TOO_LARGE = "too large"
"""The kind of failure of an answer that is larger than the client takes."""


class TransportFailure(Exception):
    """No whole answer came. `kind` is a short stable word; `detail` says what happened, without the URL's secrets.

    Kinds that say something of the caller: `request`, its URL is none; `closed`, its process is ending; `resources`, its process has no
    memory or no descriptors left.
    """

    def __init__(self, kind: str, detail: str, status: int | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call as it went: either `answer` or `failure` is set. `ms` is the whole wall time.

    `answered_after`: seconds from the beginning until an answer began; all of them where none did. `sent`: whether a byte of the request
    may have left; False only where no connection to the provider came about.
    """

    url: str
    method: str
    ms: float
    answer: Answer | None = None
    failure: TransportFailure | None = None
    answered_after: float = 0.0
    sent: bool = True


@dataclass(slots=True)
class Progress:
    """How far a call came: whether there was a connection, and when the answer's headers came, on `perf_counter`."""

    connected: bool = False
    answered: float | None = None


class ProviderClient:
    """Make it inside a running event loop, and close it there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots: WeakValueDictionary[str, Slots] = WeakValueDictionary()
        self._ways = Ways(self._open_session)
        self._routes: dict[str, Route] = {}

    def _open_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            trace_configs=[_noting_connections()],
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie set for one credential must not travel with another
            timeout=aiohttp.ClientTimeout(
                total=self._settings.http_total_timeout,
                sock_connect=self._settings.http_connect_timeout,
                sock_read=None,
            ),
            headers={"Accept-Encoding": "gzip"},
            trust_env=False,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
        )

    @asynccontextmanager
    async def slot(self, source: Source, call: Call, *, urgent: bool = False) -> AsyncIterator[None]:
        """Wait until fewer than `http_max_per_host` calls to the provider's host are out, and be one of them while the block runs. Urgent
        calls go before others that wait.

        A simulator that answers for several providers stands for as many hosts: calls to one do not take the slots of another.
        """
        host = urlsplit(call.base or source.base_url).netloc
        slots = self._slots.get(host)
        if slots is None:
            slots = self._slots[host] = Slots(self._settings.http_max_per_host)
        async with slots.one(urgent=urgent):
            yield

    async def exchange(self, source: Source, call: Call) -> Exchange:
        """Make the call, inside its `slot`. Never raises for what the network or the provider does."""
        route = self._routes.get(source.name)
        if route is None:
            route = self._routes[source.name] = self._settings.route(source.name)
        base = self._base_url(source, call, route)
        began = time.perf_counter()
        progress = Progress()
        answer, failure = None, None
        try:
            answer = await self._send(base, call, route, progress)
        except TransportFailure as error:
            failure = error.with_traceback(
                None
            )  # which would keep the bytes that were read for as long as the failure is kept
        except CannotTrust as error:
            failure = TransportFailure("ca file", str(error))
        except PROXY_FAILURES as error:
            failure = TransportFailure("proxy", _refusal(error, route))
        except aiohttp.ClientResponseError as error:
            said = f"the answer's status line or headers cannot be read, or one is longer than {LONGEST_HEADER} bytes"
            failure = TransportFailure("headers", said, error.status or None)
        except TimeoutError:
            failure = TransportFailure("timeout", f"no whole answer within {self._settings.http_total_timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError, MemoryError) as error:
            failure = TransportFailure(_kind(error, progress), meaning(error))
        took = time.perf_counter() - began
        answered_after = took if progress.answered is None else progress.answered - began
        shown = shown_url(base, call)
        return Exchange(shown, call.method, took * 1000, answer, failure, answered_after, sent=progress.connected)

    async def close(self) -> None:
        await self._ways.close()

    def _base_url(self, source: Source, call: Call, route: Route) -> str:
        base = route.base_url or (call.base or source.base_url).rstrip("/")
        if source.version_setting is None:
            return base
        return base.replace("{version}", getattr(self._settings, source.version_setting))

    async def _send(self, base: str, call: Call, route: Route, progress: Progress) -> Answer:
        session, options = self._ways.of(route, base)
        headers = {**options.pop("headers"), **call.headers}
        async with session.request(
            call.method,
            base + call.path,
            params={**call.query, **call.secret_query},
            headers=headers,
            json=call.json_body,
            data=call.form,
            allow_redirects=False,  # a redirect would carry the key to another host
            trace_request_ctx=progress,
            **options,
        ) as response:
            progress.answered = time.perf_counter()
            if 300 <= response.status < 400:
                raise TransportFailure("redirect", "the provider redirects; keys do not follow", response.status)
            body = await self._read(response)
            return Answer(response.status, _lower(response.headers), body.removeprefix(BYTE_ORDER_MARK))

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        budget = self._settings.http_byte_budget
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(1 << 16):
            size += len(chunk)
            if size > budget:
                response.close()
                raise TransportFailure(TOO_LARGE, f"the answer is larger than {budget} bytes", response.status)
            chunks.append(chunk)
        return b"".join(chunks)


def _kind(error: Exception, progress: Progress) -> str:
    if is_exhausted(error):
        return "resources"
    if not progress.connected and isinstance(error, ValueError):
        return "request"
    return "closed" if isinstance(error, RuntimeError) else "connection"


def _refusal(error: Exception, route: Route) -> str:
    """What a proxy did, in no words of its own: they may hold its password or the provider's URL."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy {route.through} refuses with HTTP {error.status}" + (
            ": it wants other credentials" if error.status == 407 else ""
        )
    return f"the proxy {route.through} does not answer, or refuses: {meaning(error)}"


def _noting_connections() -> aiohttp.TraceConfig:
    """Tells a call's `Progress` when it has a connection, a new one after the TLS handshake. Nothing is sent before."""

    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(note)
    config.on_connection_reuseconn.append(note)
    return config


def shown_url(base: str, call: Call) -> str:
    """The URL as it may be logged: secret parameters are named, not shown."""
    query = [*call.query.items(), *((name, HIDDEN) for name in call.secret_query)]
    return f"{base}{call.path}" + (f"?{urlencode(query, safe='*')}" if query else "")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Lower-case names. Lines of one name are one list (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined
