"""A provider that repeats the secret it was asked with, wherever an answer can hold words. A raw server: no library mends its answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from beat_actors.platforms.registry import platforms
from tests.canaries import NUMBER, RECORDED, Case, asked_for, renewed


def whole(status: int, body: str | bytes = b"", *headers: str, reason: str = "Said") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(data)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def as_json(said: str, case: Case) -> str:
    """Wherever a source looks for a code, a message, a scope or a token."""
    fault = (
        f'{{"message": "{said}", "code": "{said}", "error_subcode": "{said}", "type": "{said}",'
        f' "errors": [{{"reason": "{said}", "domain": "usageLimits"}}], "details": [{{"reason": "{said}"}}]}}'
    )
    data = f'{{"is_valid": true, "scopes": ["{said}", "ok"], "expires_at": 0, "error": {fault}}}'
    token = case.value("access_token")
    return (
        f'{{"error": {fault}, "errors": "{said}", "message": "{said}", "msg": "{said}", "data": {data}, "{said}": 1,'
        f' "access_token": "{token}", "nextPageToken": "{said}", "pagination_token": "{said}"}}'
    )


def as_token(said: str, case: Case) -> str:
    return f'{{"error": "{said}", "error_description": "{said}", "access_token": "{case.value("access_token")}"}}'


def as_html(said: str, _case: Case) -> str:
    return f"<html><title>{said}</title><a href='https://provider.invalid/?key={said}'>not found</a></html>"


def as_junk(said: str, _case: Case) -> bytes:
    return b"\xff\x00 invalid api key " + said.encode() + b" exceeded the daily quota \x9b"


def as_recorded(said: str, case: Case) -> str:
    """A good answer, with the secret in all of its free text."""
    platform = platforms()[case.target.platform]
    if case.target.call == "refresh":
        return renewal(case, said)
    body = asked_for(platform, case.source)[2]
    return json.dumps(_filled(json.loads(body), said)) if body else as_json(said, case)


def _filled(value: Any, said: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, said) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, said) for one in value]
    return said if isinstance(value, str) and " " in value else value


def renewal(case: Case, said: str = "") -> str:
    """A good answer to a refresh, with a canary for each field that it brings."""
    platform = platforms()[case.target.platform]
    body: str = RECORDED[platform.name].RENEWED[case.target.source].decode()
    for name, value in renewed(platform, case.source).items():
        body = body.replace(value, case.value(name))
    return json.dumps(json.loads(body) | {"scope": said})


Place = Callable[[str, Case], bytes]
BODIES = {"JSON": as_json, "token": as_token, "HTML": as_html, "junk": as_junk}
LEFT = 'X-RateLimit-Requests-Remaining: {0}\r\nX-RateLimit-Requests-Reset: {0}\r\nX-App-Usage: {{"call_count": "{0}", "{0}": 9}}'


def _line(said: str) -> str:
    return said.replace("\n", " ")


def _in_body(status: int, body: Callable[[str, Case], str | bytes]) -> Place:
    return lambda said, case: whole(status, body(said, case))


PLACES: dict[str, Place] = {
    "reason": lambda said, case: whole(400, "{}", reason=_line(said)),
    "reason of a good one": lambda said, case: whole(200, as_recorded("fine", case), reason=_line(said)),
    "redirect": lambda said, case: whole(
        302, "", f"Location: https://elsewhere.invalid/{_line(said)}?key={_line(said)}"
    ),
    "link": lambda said, case: whole(
        200, as_recorded("fine", case), f'Link: <https://x.invalid/?limit=1&page_info={_line(said)}>; rel="next"'
    ),
    "retry after": lambda said, case: whole(429, "{}", f"Retry-After: {_line(said)}"),
    "rate limit": lambda said, case: whole(
        429,
        as_json("fine", case),
        *LEFT.format(_line(said)).split("\r\n"),
        f"X-Shopify-Shop-Api-Call-Limit: {_line(said)}/40",
    ),
    "cookie": lambda said, case: whole(200, "[]", f"Set-Cookie: key={_line(said)}; Path=/{_line(said)}"),
    "recorded": lambda said, case: whole(200, as_recorded(said, case)),
    "cut": lambda said, case: whole(200, as_json(said, case)).replace(b"Content-Length: ", b"Content-Length: 9"),
    "chunks": lambda said, case: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + said.encode() + b"\r\n",
    "status line": lambda said, case: f"HTTP/1.1 {_line(said)}\r\n\r\n".encode(),
    "broken header": lambda said, case: f"HTTP/1.1 200 OK\r\n{_line(said)}\r\n\r\n".encode(),
    "packed": lambda said, case: whole(200, said, "Content-Encoding: gzip"),
    "charset": lambda said, case: whole(200, "{}", f'Content-Type: application/json; charset="{_line(said)}"'),
    **{
        f"{status} {kind}": _in_body(status, body)
        for status in (200, 400, 401, 403, 500)
        for kind, body in BODIES.items()
    },
}


class HostileProvider:
    """Knows a case by the number in the secret, and answers as its place says; once it has, the case is in `served`."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.url = ""
        self.served: set[int] = set()
        self._cases = {case.number: case for case in cases}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0)
        asked = head + (await reader.readexactly(length)).decode("latin-1")
        number = NUMBER.search(asked)
        assert number is not None, asked
        writer.write(self._said(self._cases[int(number[1])], head.split(" ")[1]))
        await writer.drain()
        writer.close()

    def _said(self, case: Case, path: str) -> bytes:
        source, call = case.source, "use"
        if source.refresh is not None and source.is_refreshed(case.secret):
            call = "refresh" if path.endswith(source.refresh.build(case.secret).path) else "use"
            if call == "refresh" and case.target.call != "refresh":
                return whole(200, renewal(case))
        self.served.add(case.number)
        return PLACES[case.place](case.spelt, case)


@asynccontextmanager
async def hostile(cases: Sequence[Case]) -> AsyncIterator[HostileProvider]:
    provider = HostileProvider(cases)
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()
        await server.wait_closed()
