"""One call of the API: its encoding, its errors, and when it is tried again."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from beat_actors.client.errors import Away, Problem, error_of

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a call is tried again."""
LONGEST_WAIT = 60
"""Seconds that a server waits at most before it answers."""
SOON = 0.5
"""Seconds until the next try, where the answer names none."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list. `next_cursor`: of the next page, `None` on the last."""

    next_cursor: str | None = None


P = TypeVar("P", bound=Page)


class Calls:
    """The HTTP session of a client, and the calls that it makes."""

    def __init__(self, url: str, key: str, *, patience: float = PATIENCE) -> None:
        self._url = url.rstrip("/")
        self._patience = patience
        timeout = aiohttp.ClientTimeout(total=LONGEST_WAIT + 30, sock_connect=5)
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    async def fetch(self, path: str, kind: type[T], params: Mapping[str, Any] | None = None) -> T:
        """GET, decoded as `kind`. Raises `ApiError`."""
        query = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        return await self._call("GET", path, kind, params=query)

    async def send(
        self, method: str, path: str, kind: type[T], body: object = None, params: Mapping[str, Any] | None = None
    ) -> T:
        """A call that changes something, made once: whether one whose answer was lost took effect is for a person to look up. Raises
        `ApiError`."""
        query = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        options: dict[str, Any] = {"params": query}
        if body is not None:
            options |= {"data": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}}
        return await self._once(method, path, kind, **options)

    async def _pages(self, path: str, kind: type[P], params: Mapping[str, Any]) -> AsyncIterator[P]:
        cursor: str | None = None
        while True:
            page = await self.fetch(path, kind, {**params, "cursor": cursor})
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _post(self, path: str, body: object, kind: type[T], *, key: str | None = None) -> T:
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return await self._call("POST", path, kind, data=msgspec.json.encode(body), headers=headers)

    async def _call(self, method: str, path: str, kind: type[T], **options: Any) -> T:
        """Try again while the API is away. Each call of the client has an effect only once, however often it is made."""
        ends = time.monotonic() + self._patience
        while True:
            try:
                return await self._once(method, path, kind, **options)
            except Away as away:
                pause = (away.retry_after or SOON) * random.uniform(1.0, 1.2)
                if time.monotonic() + pause > ends:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, method: str, path: str, kind: type[T], **options: Any) -> T:
        try:
            async with self._http.request(method, self._url + path, **options) as response:
                body = await response.read()
                if response.status < 400:
                    return msgspec.json.decode(body, type=kind)
                raise error_of(response.status, body, response.headers.get("Retry-After"))
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as broken:
            told = f"{self._url} does not answer ({type(broken).__name__})"
            raise Away(Problem("urn:beat:problem:away", "The API is away", 0, told)) from broken


def path_of(kind: str, platform: str, name: str) -> str:
    """The path of a thing."""
    return f"/v1/{quote(kind, safe='')}/{quote(platform, safe='')}/{quote(name, safe='')}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)
