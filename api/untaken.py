"""Ends connections whose callers take nothing of their answers, which the server has no time-out for and would keep for ever."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Collection
from pathlib import Path

UNTAKEN_MS = 20_000
"""For the caller to take something of what was sent to it."""
DESCRIPTORS = Path("/proc/self/fd")
LOOKED_EVERY = 0.05
"""Seconds."""
OPTION: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Linux has it, and its connections have the options of the socket that accepted them."""


async def end_untaken(ports: Collection[int]) -> None:
    """Set the time on the sockets of this process that listen on these ports, as soon as all are open. The server opens its own after the
    application has started, and hands it to nobody."""
    missing = set(ports) if OPTION is not None else set()
    while True:
        missing -= {port for port in missing if bounded(port)}
        if not missing:
            return
        await asyncio.sleep(LOOKED_EVERY)


def bounded(port: int) -> bool:
    """Set the time on each socket of this process that listens on this port. Whether there is one."""
    found = False
    for descriptor in DESCRIPTORS.iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            number = int(descriptor.name)
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as one:
                if _listens(one, port) and OPTION is not None:
                    one.setsockopt(socket.IPPROTO_TCP, OPTION, UNTAKEN_MS)
                    found = True
    return found


def _listens(one: socket.socket, port: int) -> bool:
    return (
        one.family in (socket.AF_INET, socket.AF_INET6)
        and one.type == socket.SOCK_STREAM
        and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        and one.getsockname()[1] == port
    )
