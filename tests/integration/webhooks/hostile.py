"""Servers that write what they are told, byte for byte, and answers that do harm."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Raw:
    """A server that writes what it is told, byte for byte. `heads`: requests as they came; `sent`: bytes that were taken of it."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    sent: int = 0

    async def pour(self, writer: asyncio.StreamWriter, piece: bytes, *, pause: float = 0.0) -> None:
        """Write the same for ever."""
        while True:
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
            if pause:
                await asyncio.sleep(pause)


@asynccontextmanager
async def raw(answer: Callable[[Raw, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[Raw]:
    server = Raw()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                server.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(2)
                await answer(server, writer)
        writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


async def endless_interim(server: Raw, writer: asyncio.StreamWriter) -> None:
    await server.pour(writer, b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)


async def endless_headers(server: Raw, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await server.pour(writer, b"x: " + b"y" * 7000 + b"\r\n")


async def endless_header(server: Raw, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    await server.pour(writer, b"y" * 1000)


async def endless_noise(server: Raw, writer: asyncio.StreamWriter) -> None:
    await server.pour(writer, b"\x00" * 1000)


async def trickle(server: Raw, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await server.pour(writer, b"x: y\r\n", pause=0.5)
