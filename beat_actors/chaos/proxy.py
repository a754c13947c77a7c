"""A TCP proxy on the loopback that breaks connections: it resets them, closes one direction, or delays what passes.

It also leads new connections to another server, as a name in DNS or a load balancer does after a fail-over. The proxy has a thread and an
event loop of its own, so that a busy caller does not slow down what passes through it.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Literal, Self

Break = Literal["reset", "half_close", "delay"]
BREAKS: tuple[Break, ...] = ("reset", "half_close", "delay")
CHUNK = 65536
# SO_LINGER with a time of 0: close() sends RST and not FIN.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes bytes between clients and the server on `target`, a port of the loopback. Use it in `with Proxy.running(...) as proxy`.

    All methods may be called from any thread. `broken` counts what was done to connections, by kind of break.
    """

    def __init__(self, target: int, seed: str) -> None:
        self.port = 0
        self.broken: Counter[str] = Counter()
        self._target = target
        self._dice = Random(seed)
        self._rate = 0.0
        self._longest = 0.0
        self._open: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()

    @classmethod
    @contextlib.contextmanager
    def running(cls, target: int, seed: str = "proxy") -> Iterator[Self]:
        """Listen on a free port (`port`) until the block ends; then every connection is reset."""
        proxy = cls(target, seed)
        thread = threading.Thread(target=proxy._loop.run_forever, name=f"proxy-{target}", daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(proxy._listen(), proxy._loop).result()
        try:
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(proxy._close(server), proxy._loop).result()
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            thread.join()
            proxy._loop.close()

    def lead_to(self, target: int) -> None:
        """Lead new connections to this port. Open connections keep their server."""
        self._loop.call_soon_threadsafe(setattr, self, "_target", target)

    def disturb(self, *, rate: float, longest: float) -> None:
        """From now on, break each chunk that passes with the probability `rate`, in a way that is chosen at random.

        `longest`: seconds of a delay, at most.
        """
        self._rate, self._longest = rate, longest

    def calm(self) -> None:
        """Break no more chunks. A direction that was closed stays closed."""
        self._rate = 0.0

    def reset_all(self) -> None:
        """Reset every open connection."""
        asyncio.run_coroutine_threadsafe(self._reset_all(), self._loop).result()

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        await self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reset_all(self) -> None:
        for pair in list(self._open):
            pair.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, onward)
        self._open.add(pair)
        try:
            await asyncio.gather(self._copy(reader, onward, pair), self._copy(there, writer, pair))
        except OSError:
            pair.reset()
        finally:
            self._open.discard(pair)
            pair.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: "_Pair") -> None:
        """Copy one direction until its end, and pass the end on."""
        while data := await reader.read(CHUNK):
            kind = self._choose()
            if kind == "reset":
                pair.reset()
                return
            if kind == "half_close":
                break
            if kind == "delay":
                await asyncio.sleep(self._dice.uniform(0.0, self._longest))
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    def _choose(self) -> Break | None:
        if self._dice.random() >= self._rate:
            return None
        kind = self._dice.choice(BREAKS)
        self.broken[kind] += 1
        return kind


class _Pair:
    """The two connections of one client."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST. Data that are not sent yet are lost."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
