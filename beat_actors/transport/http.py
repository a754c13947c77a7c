"""The one HTTP client for provider calls: a total deadline, a budget of decompressed bytes, no redirects, no cookies, no secrets in what it reports."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from beat_actors.platforms.interface import Answer, Call, Source
from beat_actors.settings import Settings

HIDDEN = "***"


class TransportFailure(Exception):
    """No whole answer came. `kind` is a short stable word; `detail` says what happened, without the URL's secrets."""

    def __init__(self, kind: str, detail: str, status: int | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call as it went: either `answer` or `failure` is set. `ms` is the whole wall time.

    `answered_after`: seconds from the beginning until an answer began; all of them where none did.
    """

    url: str
    method: str
    ms: float
    answer: Answer | None = None
    failure: TransportFailure | None = None
    answered_after: float = 0.0


@dataclass(slots=True)
class Clock:
    """When an answer's headers came, on `perf_counter`."""

    answered: float | None = None


class ProviderClient:
    """Make it inside a running event loop, and close it there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = aiohttp.ClientSession(
            # Idle connections are given up before providers close them, which a call would notice as a failure.
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=settings.http_max_per_host, ttl_dns_cache=60, keepalive_timeout=10
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie set for one credential must not travel with another
            timeout=aiohttp.ClientTimeout(
                total=settings.http_total_timeout, sock_connect=settings.http_connect_timeout, sock_read=None
            ),
            headers={"Accept-Encoding": "gzip", "User-Agent": "beat/0.1"},
            trust_env=False,
        )
        # By itself aiohttp repeats a GET whose connection broke: a second paid call under one lease. The broker decides that.
        self._session._retry_connection = False

    async def exchange(self, source: Source, call: Call) -> Exchange:
        """Make the call. Never raises for what the network or the provider does."""
        base = self._base_url(source, call)
        began = time.perf_counter()
        clock = Clock()
        answer, failure = None, None
        try:
            answer = await self._send(base, call, clock)
        except TransportFailure as error:
            failure = error
        except TimeoutError:
            failure = TransportFailure("timeout", f"no whole answer within {self._settings.http_total_timeout:g} s")
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # RuntimeError: the session was closed
            # aiohttp's messages may hold the whole URL, query and all: the type says enough.
            failure = TransportFailure("connection", type(error).__name__)
        took = time.perf_counter() - began
        answered_after = took if clock.answered is None else clock.answered - began
        return Exchange(shown_url(base, call), call.method, took * 1000, answer, failure, answered_after)

    async def close(self) -> None:
        await self._session.close()

    def _base_url(self, source: Source, call: Call) -> str:
        simulator, base = self._settings.simulator_url, (call.base or source.base_url).rstrip("/")
        if simulator:
            return f"{simulator.rstrip('/')}/{source.name}"
        if source.version_setting is None:
            return base
        return base.replace("{version}", getattr(self._settings, source.version_setting))

    async def _send(self, base: str, call: Call, clock: Clock) -> Answer:
        async with self._session.request(
            call.method,
            base + call.path,
            params={**call.query, **call.secret_query},
            headers=call.headers,
            json=call.json_body,
            data=call.form,
            allow_redirects=False,  # a redirect would carry the key to another host
        ) as response:
            clock.answered = time.perf_counter()
            if 300 <= response.status < 400:
                raise TransportFailure("redirect", "the provider redirects; keys do not follow", response.status)
            body = await self._read(response)
            return Answer(response.status, _lower(response.headers), body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        budget = self._settings.http_byte_budget
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(1 << 16):
            size += len(chunk)
            if size > budget:
                response.close()
                raise TransportFailure("too large", f"the answer is larger than {budget} bytes", response.status)
            chunks.append(chunk)
        return b"".join(chunks)


def shown_url(base: str, call: Call) -> str:
    """The URL as it may be logged: secret parameters are named, not shown."""
    query = [*call.query.items(), *((name, HIDDEN) for name in call.secret_query)]
    return f"{base}{call.path}" + (f"?{urlencode(query, safe='*')}" if query else "")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
