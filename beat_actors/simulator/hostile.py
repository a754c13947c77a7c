"""Answers that attack their reader: without end, swollen, misdirected, or a byte at a time."""

import asyncio
import struct
import zlib
from functools import cache
from socket import SO_LINGER, SOL_SOCKET

from aiohttp import web

from beat_actors.simulator.provider import JSON

GIBIBYTE = 1 << 30
BLOCK = b'{"padding":"' + b"x" * 65_511 + b'"},\n'
BOMB_BYTES = 1 << 28


async def never(request: web.Request) -> web.StreamResponse:
    """Holds the connection until the caller gives up."""
    del request
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def reset(request: web.Request) -> web.StreamResponse:
    """Tears the connection down with a RST, in the middle of nothing."""
    transport = request.transport
    if transport is not None:
        # Lingering for zero seconds makes the kernel send a RST and not a FIN.
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)


async def gigabyte(request: web.Request) -> web.StreamResponse:
    """1 GiB of what begins like JSON."""
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(request)
    await response.write(b'{"items":[')
    for _ in range(GIBIBYTE // len(BLOCK)):
        await response.write(BLOCK)
    return response


async def gzip_bomb(request: web.Request) -> web.StreamResponse:
    """A quarter of a megabyte that inflates to 256 MiB."""
    body = await asyncio.to_thread(_bomb)
    response = web.StreamResponse(
        headers={"Content-Type": JSON, "Content-Encoding": "gzip", "Content-Length": str(len(body))}
    )
    await response.prepare(request)
    await response.write(body)
    return response


def redirect(request: web.Request, status: int, *, loop: bool) -> web.Response:
    """To a host that does not exist, or to itself for ever."""
    target = request.raw_path if loop else f"https://elsewhere.invalid{request.raw_path}"
    return web.Response(status=status, headers={"Location": target})


async def slow_loris(request: web.Request, body: bytes, delay: float) -> web.StreamResponse:
    """The right answer, a byte every `delay` seconds."""
    response = web.StreamResponse(headers={"Content-Type": JSON, "Content-Length": str(len(body))})
    await response.prepare(request)
    for at in range(len(body)):
        await response.write(body[at : at + 1])
        await asyncio.sleep(delay)
    return response


@cache
def _bomb() -> bytes:
    squeeze = zlib.compressobj(level=9, wbits=31)
    block = b" " * (1 << 22)
    parts = [squeeze.compress(b'{"items":[')]
    parts += [squeeze.compress(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*parts, squeeze.compress(b"]}"), squeeze.flush()])
