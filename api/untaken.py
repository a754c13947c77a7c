"""End connections whose callers do not read their answers. The server has no time-out for them, and would keep them for ever."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Collection
from pathlib import Path

UNTAKEN_MS = 20_000
"""The time in which a caller must read a part of what was sent to it."""
DESCRIPTORS = Path("/proc/self/fd")
LOOKED_EVERY, LOOKED_AGAIN = 0.05, 1.0
"""Seconds: until a port is open, and after that, when all connections that came before the time was set are there."""
OPTION: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Linux has it, and its connections have the options of the socket that accepted them."""


async def end_untaken(ports: Collection[int]) -> None:
    """Set the time on the sockets of this process that listen on these ports, as soon as all are open. The server opens its own after the
    application has started, and hands it to nobody."""
    missing = set(ports) if OPTION is not None else set()
    while True:
        missing -= {port for port in missing if bounded(port)}
        if not missing:
            break
        await asyncio.sleep(LOOKED_EVERY)
    await asyncio.sleep(LOOKED_AGAIN)
    for port in ports:
        bounded(port)


def bounded(port: int) -> bool:
    """Set the time on each socket of this process that has this port, connections too. Whether one listens."""
    found = False
    for descriptor in DESCRIPTORS.iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            number = int(descriptor.name)
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as one:
                if _has(one, port) and OPTION is not None:
                    one.setsockopt(socket.IPPROTO_TCP, OPTION, UNTAKEN_MS)
                    found |= bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return found


def _has(one: socket.socket, port: int) -> bool:
    is_tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
    return is_tcp and bool(one.getsockname()[1] == port)
