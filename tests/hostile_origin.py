"""Origins on the loopback that look like public ones: names resolve to a public address, and the sockets of a test lead to this server.

A raw server: no library mends its answers. What the guard lets through is connected to as given, so a canary is really reached if it fails.
"""

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from beat_actors.transport.names import Entry, Names

PUBLIC = "93.184.215.14"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


@dataclass
class Place:
    """A server. `asked`: the heads of requests in order; `connections`: how many were made; `open`: how many are."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    def paths(self) -> Counter[str]:
        return Counter(head.split(" ")[1] for head in self.asked)


def head(status: str = "200 OK", *lines: str, length: int | None = None) -> bytes:
    sized = () if length is None else (f"Content-Length: {length}",)
    return "\r\n".join([f"HTTP/1.1 {status}", *sized, *lines, "", ""]).encode()


def whole(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return head(status, *lines, length=len(body)) + body


@asynccontextmanager
async def serving(answer: Answer, **options: Any) -> AsyncIterator[Place]:
    """`answer` gets each request's head and writes; the connection ends when it raises or returns after `writer.close()`."""
    place = Place()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        place.connections += 1
        place.open += 1
        try:
            while not writer.is_closing():
                asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                place.asked.append(asked)
                await answer(reader, writer, asked)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            place.open -= 1
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    place.port = server.sockets[0].getsockname()[1]
    try:
        yield place
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def diverted(place: Place, canary: Place | None = None) -> type[socket.socket]:
    """Sockets that lead to `place` for the public address, and to the canary for every other one."""

    class Diverted(socket.socket):
        def connect(self, address: Any, /) -> None:
            if address[0] == PUBLIC:
                port = place.port
            elif canary is not None:
                port = canary.port
            else:
                raise OSError(errno.ECONNREFUSED, "nobody listens")
            with contextlib.suppress(BlockingIOError):
                super().connect(("127.0.0.1", port))
                return
            raise BlockingIOError

    return Diverted


def entry(address: str) -> Entry:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 0))


def public_names(**others: str) -> Names:
    """Every name leads to the public address; `others` (with `_` for a dot) lead elsewhere."""
    table = {name.replace("_", "."): address for name, address in others.items()}
    return Names(lambda host: [entry(table.get(host, PUBLIC))])
