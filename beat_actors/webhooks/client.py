"""One call to an endpoint, with everything that bounds it: one deadline, one connection, and so many bytes of an answer.

Each attempt opens its own connection. So its address is checked each time, a connection that the receiver closed while it was idle
costs no delivery, and the count of bytes covers the attempt whole: TLS, interim answers, headers and body.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from beat_actors.platforms import waits
from beat_actors.transport.failures import meaning
from beat_actors.transport.guard import GuardedSockets, PrivateAddress, cause_of

CONNECT, TOTAL = 5.0, 15.0
MOST_READ = 1 << 16
"""Bytes that one attempt reads of its connection."""
KEPT = 300
"""Bytes of a refusal's body that are read and kept."""
LONGEST_PAUSE = 14_400.0
_UNPRINTABLE = re.compile(r"[^ -~\u00a0-\ud7ff]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """How an attempt went. `status` is `None` where no final status line came; `said` is why, or how a refusal begins.

    `pause`: seconds that the endpoint asks for.
    """

    status: int | None
    said: str = ""
    pause: float = 0.0

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class AnswerTooLong(OSError):
    """The endpoint sent more than an attempt reads."""


class MeteredSocket(socket.socket):
    """A socket that hands over `MOST_READ` bytes and then raises `AnswerTooLong`."""

    _left = MOST_READ

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data = super().recv(self._allowed(size), flags)
        self._left -= len(data)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        count = super().recv_into(buffer, self._allowed(size or len(buffer)), flags)
        self._left -= count
        return count

    def _allowed(self, size: int) -> int:
        if self._left <= 0:
            raise AnswerTooLong("the answer is longer than an attempt reads")
        return min(size, self._left)


class WebhookClient:
    """Make it inside a running event loop; `close` it there. `trusted`: the authorities that are trusted, in the place of the system's.
    `agent`: its user agent. `setting`: what would allow private addresses."""

    def __init__(
        self,
        *,
        allow_private: bool,
        sockets: type[MeteredSocket] = MeteredSocket,
        trusted: ssl.SSLContext | None = None,
        agent: str = "beat-webhooks/1",
        setting: str = "BEAT_WEBHOOK_ALLOW_PRIVATE",
    ) -> None:
        self._setting = setting
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                force_close=True,
                ssl=True if trusted is None else trusted,
                socket_factory=GuardedSockets(allow_private=allow_private, kind=sockets),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            auto_decompress=False,  # little is read of an answer, and nothing of it is unpacked
            headers={"User-Agent": agent},
            trust_env=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Make one attempt, within `TOTAL` seconds. Never raises for what the network or the endpoint does.

        The status line decides. The body of an answer that accepts is not waited for.
        """
        status, pause = None, 0.0
        # A receiver may compare or sign the URL, so it goes out as it was given.
        target = URL(url, encoded=True) if url.isascii() else URL(url)
        try:
            async with (
                asyncio.timeout(TOTAL),
                self._session.post(target, data=body, headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
                if status in (429, 503):
                    pause = _retry_after(response.headers)
                if 300 <= status < 400:
                    return Reply(
                        status, f"HTTP {status}: it redirects, which is not followed; give the URL that it leads to"
                    )
                said = "" if 200 <= status < 300 else _shown(await response.content.read(KEPT))
                return Reply(status, f"HTTP {status}: {said}".rstrip(": "), pause)
        except TimeoutError:
            return Reply(status, f"no whole answer within {TOTAL:g} s", pause)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(status, _failure(error, self._setting), pause)

    async def close(self) -> None:
        await self._session.close()


def _retry_after(headers: CIMultiDictProxy[str]) -> float:
    """Seconds that the endpoint asks for, in any form that is read of a provider, and no more than `LONGEST_PAUSE`."""
    said = {name: ", ".join(headers.getall(name)) for name in ("retry-after", "date") if name in headers}
    return min(waits.asked_for(said, b"") or 0.0, LONGEST_PAUSE)


def _failure(error: BaseException, setting: str) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return "what it answered is not HTTP, or has too many headers"
    if cause_of(error, PrivateAddress) is not None:
        return f"its address or port is not one for the public, so nothing was sent; {setting} would allow it"
    if cause_of(error, AnswerTooLong) is not None:
        return f"no final status within the first {MOST_READ >> 10} KiB of its answer"
    return meaning(error)


def _shown(body: bytes) -> str:
    return _UNPRINTABLE.sub(" ", body.decode("utf-8", "replace")).strip()
