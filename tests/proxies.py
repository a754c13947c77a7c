"""Proxies on the loopback, which pass bytes on and note for whom: one that speaks HTTP and one that speaks SOCKS 5."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

USER, PASSWORD = "beat", "canary-proxy-51c9"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    """`asked`: what clients wanted of it, in order: `CONNECT host:port` or the URL. `refuses`: answer no request well."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    refuses: bool = False


@asynccontextmanager
async def http_proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *headers = head.strip().split("\r\n")
        method, target, _ = line.split(" ")
        proxy.asked.append(f"CONNECT {target}" if method == "CONNECT" else target)
        if proxy.refuses or not any(one.lower().startswith("proxy-auth") and expected in one for one in headers):
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await _join(reader, writer, host, int(port), b"")
        else:
            parts = urlsplit(target)
            kept = [one for one in headers if not one.lower().startswith("proxy-")]
            path = parts._replace(scheme="", netloc="").geturl()
            sent = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode()
            await _join(reader, writer, parts.hostname or "", parts.port or 80, sent)

    async with _listening(proxy, serve):
        yield proxy


@asynccontextmanager
async def socks_proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x02")  # a user and a password
        _, length = await reader.readexactly(2)
        user = (await reader.readexactly(length)).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        is_known = (user, password) == (USER, PASSWORD) and not proxy.refuses
        writer.write(b"\x01\x00" if is_known else b"\x01\x01")
        if not is_known:
            return
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = socket.inet_ntoa(await reader.readexactly(4))
        port = int.from_bytes(await reader.readexactly(2))
        proxy.asked.append(f"CONNECT {host}:{port}")
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await _join(reader, writer, host, port, b"")

    async with _listening(proxy, serve):
        yield proxy


@asynccontextmanager
async def _listening(proxy: Proxy, serve: Handler) -> AsyncIterator[None]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes) -> None:
    # The provider of a test has a name that no resolver knows.
    there, back = await asyncio.open_connection("127.0.0.1" if host.endswith(".invalid") else host, port)
    back.write(first)
    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
