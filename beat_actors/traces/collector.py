"""Calls to the OpenTelemetry collector, as OTLP over HTTP says (https://opentelemetry.io/docs/specs/otlp/#otlphttp)."""

import gzip
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from beat_actors.platforms import waits
from beat_actors.settings import Settings
from beat_actors.traces.encoding import encoded, rejected
from beat_actors.traces.headers import headers_of
from beat_actors.traces.spans import Span

PATH = "/v1/traces"
CONNECT, TOTAL = 5.0, 10.0
"""Seconds of one call."""
MOST_READ, MOST_SAID = 1 << 16, 200
"""Bytes of an answer that are read, and characters of it that are kept."""
AGAIN = frozenset({429, 502, 503, 504})
"""The only statuses for which OTLP wants a call repeated."""
OURS = frozenset({401, 403, 404, 405, 407})
"""What these refuse are the address and the headers, and not the spans, which are kept until the settings are right."""
TOO_LARGE = 413
FIRST, FACTOR, LONGEST, LONGEST_ASKED = 5.0, 2.0, 300.0, 3600.0


class CollectorUnavailable(ConnectionError):
    """The collector takes no spans now. They are exported later, from the same rows. `pause`: seconds that it asks for."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class CollectorSlow(CollectorUnavailable):
    """The collector did not answer in time. Fewer spans may be taken in that time."""


class Sent(NamedTuple):
    """What became of spans: how many the collector took, and how many it did not; `said` is why."""

    taken: int
    refused: int = 0
    said: str = ""


class Collector:
    """Make it inside a running event loop, for one run; use it as a context manager."""

    def __init__(self, settings: Settings, resource: dict[str, str]) -> None:
        given = settings.otlp_headers
        self._url = url_of(settings.otlp_endpoint or "")
        self._headers = {} if given is None else headers_of(given.get_secret_value())
        self._resource = resource
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Collector":
        timeout = aiohttp.ClientTimeout(total=TOTAL, connect=CONNECT)
        self._session = aiohttp.ClientSession(
            timeout=timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, spans: Sequence[Span]) -> Sent:
        """Export these spans in one call, or in smaller ones if the collector says that it is too large. Raises `CollectorUnavailable`."""
        status, body = await self._post(spans)
        if 200 <= status < 300:
            refused, said = rejected(body)
            refused = min(refused, len(spans))
            return Sent(len(spans) - refused, refused, "".join(c for c in said[:MOST_SAID] if c.isprintable()))
        if status == TOO_LARGE and len(spans) > 1:
            half = len(spans) // 2
            first, second = await self.send(spans[:half]), await self.send(spans[half:])
            return Sent(first.taken + second.taken, first.refused + second.refused, first.said or second.said)
        return Sent(0, len(spans), f"status {status}")

    async def _post(self, spans: Sequence[Span]) -> tuple[int, bytes]:
        assert self._session is not None
        packed = gzip.compress(encoded(spans, self._resource), compresslevel=1)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        try:
            async with self._session.post(self._url, data=packed, headers=headers, allow_redirects=False) as answer:
                body, status = await answer.content.read(MOST_READ), answer.status
                if status in AGAIN:
                    said = {name.lower(): value for name, value in answer.headers.items()}
                    raise CollectorUnavailable(
                        f"the collector answered with status {status}", waits.asked_for(said, b"") or 0.0
                    )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, CollectorUnavailable):
                raise
            failed = CollectorSlow if isinstance(error, TimeoutError) else CollectorUnavailable
            raise failed(f"the collector does not answer ({type(error).__name__})") from None
        if status in OURS or 300 <= status < 400:
            raise CollectorUnavailable(
                f"the collector refused the call with status {status}: check BEAT_OTLP_ENDPOINT and BEAT_OTLP_HEADERS",
                LONGEST,
            )
        return status, body


def url_of(endpoint: str) -> str:
    """Where spans are posted, from a base URL or from one that names the path already."""
    base = endpoint.rstrip("/")
    return base if base.endswith(PATH) else base + PATH


def pause_after(failures: int, asked: float) -> float:
    """Seconds for which a collector that has failed this often in a row is left alone. `asked`: for which it asks."""
    return max(min(asked, LONGEST_ASKED), min(LONGEST, FIRST * FACTOR ** min(failures - 1, 10)))
