"""Addresses of host names, for hosts that other people name: each name is looked up in a thread of its own, and is kept for a while.

A loop's own resolver has a few threads for all. A few names whose servers do not answer would hold up all others.
"""

import asyncio
import contextlib
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE = 64
"""Names that are looked up at the same time; more wait. A look-up ends when the system's resolver gives up."""
WITHIN = 5.0
"""Seconds that a caller waits for an address."""
KEPT, KEPT_FAILURE = 60.0, 5.0
"""Seconds for which addresses, and failures, are kept."""
OF_DOMAIN = 8
"""The same for names of one domain, so that a domain whose servers do not answer leaves room for others."""
MOST = 4096
"""Names that are kept."""

Entry = tuple[int, int, int, str, Any]
Lookup = Callable[[str], Sequence[Entry]]


def system_lookup(host: str) -> Sequence[Entry]:
    """Ask the system. Raises `OSError`."""
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Names(AbstractResolver):
    """For the tasks of one event loop. Callers that ask for the same name wait for the same look-up."""

    def __init__(self, lookup: Lookup = system_lookup, *, within: float = WITHIN) -> None:
        self._lookup = lookup
        self._within = within
        self._room = asyncio.Semaphore(AT_ONCE)
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._kept: OrderedDict[str, tuple[float, Sequence[Entry] | None]] = OrderedDict()
        self._flying: dict[str, asyncio.Task[Sequence[Entry] | None]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `OSError` where the name has no address, or none within `WITHIN` seconds."""
        entries = self._of(host)
        if entries is None:
            flying = self._flying.get(host)
            if flying is None:
                flying = self._flying[host] = asyncio.create_task(self._look_up(host))
            try:
                async with asyncio.timeout(self._within):
                    entries = await asyncio.shield(flying)
            except TimeoutError:
                raise OSError("no address in time") from None
        if not entries:
            raise OSError("the name has no address")
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in entries
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        for flying in self._flying.values():
            flying.cancel()

    def _of(self, host: str) -> Sequence[Entry] | None:
        until, entries = self._kept.get(host, (0.0, None))
        if until <= asyncio.get_running_loop().time():
            return None
        return entries if entries is not None else ()

    async def _look_up(self, host: str) -> Sequence[Entry] | None:
        try:
            async with self._room_of(_domain(host)), self._room:
                entries = await self._in_thread(host)
            lasts = KEPT_FAILURE if entries is None else KEPT
            self._kept[host] = (asyncio.get_running_loop().time() + lasts, entries)
            self._kept.move_to_end(host)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
            return entries
        finally:
            del self._flying[host]

    def _room_of(self, domain: str) -> asyncio.Semaphore:
        """It lasts as long as somebody holds it or waits for it."""
        room = self._rooms.get(domain)
        if room is None:
            room = self._rooms[domain] = asyncio.Semaphore(OF_DOMAIN)
        return room

    async def _in_thread(self, host: str) -> Sequence[Entry] | None:
        """`None` where there is no address."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Entry] | None] = loop.create_future()

        def tell(entries: Sequence[Entry] | None) -> None:
            if not answer.done():
                answer.set_result(entries)

        def ask() -> None:
            entries: Sequence[Entry] | None = None
            try:
                # A `ValueError` comes of a label that is too long, and of a name that is none.
                with contextlib.suppress(OSError, ValueError):
                    entries = self._lookup(host)
            finally:  # the caller waits for this call, so it is made after any error
                with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
                    loop.call_soon_threadsafe(tell, entries)

        # A daemon, so that a look-up that hangs does not hold up the end of the process.
        threading.Thread(target=ask, name="lookup", daemon=True).start()
        return await answer


def _domain(host: str) -> str:
    """The last two labels of a name, or three where the second last is short, as in `co.uk`: about what one owner has."""
    labels = host.rstrip(".").lower().split(".")
    short = len(labels) > 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if short else -2 :])
