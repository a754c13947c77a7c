"""Answers that attack their reader: without end, swollen, misdirected, or a byte at a time."""

import asyncio
import struct
import zlib
from functools import cache
from socket import SO_LINGER, SOL_SOCKET

from aiohttp import web

from beat_actors.simulator.faults import Fault, FaultKind
from beat_actors.simulator.provider import JSON, Reply

NO_ANSWER = frozenset({FaultKind.TIMEOUT, FaultKind.HANG, FaultKind.RESET})
ON_THE_WIRE = NO_ANSWER | {FaultKind.GIGABYTE, FaultKind.GZIP_BOMB, FaultKind.SLOW_LORIS, FaultKind.REDIRECT}
"""Faults that are no plain reply."""
GIBIBYTE = 1 << 30
BLOCK = b'{"padding":"' + b"x" * 65_511 + b'"},\n'
BOMB_BYTES = 1 << 28


async def on_the_wire(request: web.Request, kind: FaultKind, fault: Fault, reply: Reply) -> web.StreamResponse:
    """The answer to a call that meets one of `ON_THE_WIRE`."""
    if kind is FaultKind.RESET:
        return await reset(request)
    if kind is FaultKind.GIGABYTE:
        return await gigabyte(request)
    if kind is FaultKind.GZIP_BOMB:
        return await gzip_bomb(request)
    if kind is FaultKind.REDIRECT:
        return redirect(request, redirect_status(fault), loop=fault.body == "loop")
    if kind is FaultKind.SLOW_LORIS:
        return await slow_loris(request, reply, fault.delay)
    return await never(request)


def redirect_status(fault: Fault) -> int:
    return fault.status if fault.status is not None and fault.status < 400 else 302


async def cut(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Half of the body, announced as whole, and then a torn connection."""
    response = web.StreamResponse(
        status=reply.status, headers={"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
    )
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    await reset(request)
    return response


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


async def slow_loris(request: web.Request, reply: Reply, delay: float) -> web.StreamResponse:
    """The right answer, a byte every `delay` seconds."""
    body = reply.body
    response = web.StreamResponse(headers={"Content-Type": reply.content_type, "Content-Length": str(len(body))})
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
