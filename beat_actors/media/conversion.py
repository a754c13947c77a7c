"""Pictures that have to be decoded: those that cannot be cleaned by structure, and variants. Other processes decode them (`decoding`).

The processes are few. They start with the first picture that needs one, and end after a minute without work. A picture that crashes its process,
or takes more memory or CPU time than allowed, harms nothing but itself: the process is replaced.
"""

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, Self

from beat_actors.errors import BeatError
from beat_actors.media import decoding
from beat_actors.media.appointments import Appointments
from beat_actors.media.content import examined
from beat_actors.media.decoding import ANSWER, KINDS, ORDER, REASONS, State
from beat_actors.media.picture import LIMITS, Kind, Limits, NotStored, Picture, Reason, Unclean
from beat_actors.media.variants import kind_of, width_of

PROCESSES, OF_VARIANTS = 2, 1
"""Processes for pictures that were fetched, and for variants, which readers wait for."""
QUEUE, QUEUED = 16, 32_000_000
"""Pictures that wait for a process, and their bytes: they are held in memory meanwhile."""
WAIT, LONGEST_QUEUE = 30.0, 900.0
"""Seconds that one waits, and seconds within which one that finds no room is to come again."""
MEMORY = 1 << 30
"""Bytes of address space of a process; half of it is free for a picture. 50 million pixels take 150 MB, and twice that while they are turned."""
CPU = 10
"""Seconds for one picture. One of 12 million pixels takes about one second."""
DEADLINE = 60.0
"""Seconds for one picture, the start of a process included. CPU time is what judges a picture; this ends what hangs."""
IDLE = 60.0
ORDERS = 100
"""A process is replaced after so many pictures, so that what a decoder loses of memory does not add up."""
LARGE = 256_000
"""Bytes from which a picture is examined in a thread: it may take milliseconds."""
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
_FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""The kernel kills with SIGKILL where a container's memory is used up, which need not be the picture's fault."""


class ConversionUnavailable(BeatError):
    """Picture not converted

    The picture could not be examined: its process did not start, was ended from outside, or did not answer in time. Try again later.
    """

    code: ClassVar[str] = "conversion_unavailable"


class ConversionBusy(ConversionUnavailable):
    """Too many pictures to convert

    Nothing was tried, because as many pictures wait for their conversion as may wait. Try again after `pause` seconds.
    """

    def __init__(self, pause: float) -> None:
        super().__init__("as many pictures wait for their conversion as may wait")
        self.pause = pause


class DecoderLost(ConversionUnavailable):
    """Decoder of a picture lost

    The process was ended from outside, or did not answer in time, while it had this picture. That need not be the picture's fault, unless it happens again.
    """


class _Queue:
    """Turns at `at_once` processes. It has an end, so that what waits does not take the memory of downloads."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._appointments = Appointments(at_once, LONGEST_QUEUE)
        self._waiting = self._octets = 0

    @contextlib.asynccontextmanager
    async def turn(self, octets: int) -> AsyncIterator[None]:
        """Have a process while the block runs. Raises `ConversionBusy`."""
        if self._waiting >= QUEUE or (self._waiting and self._octets + octets > QUEUED):
            raise ConversionBusy(self._appointments.next())
        self._waiting += 1
        self._octets += octets
        try:
            async with asyncio.timeout(WAIT):
                await self._slots.acquire()
        except TimeoutError:
            raise ConversionBusy(self._appointments.next()) from None
        finally:
            self._waiting -= 1
            self._octets -= octets
        began = time.monotonic()
        try:
            yield
        finally:
            self._appointments.took(time.monotonic() - began)
            self._slots.release()


class Converters:
    """At most `processes` processes for pictures, and `OF_VARIANTS` for variants. Belongs to one event loop; `close` ends them."""

    def __init__(
        self,
        limits: Limits = LIMITS,
        *,
        processes: int = PROCESSES,
        memory: int = MEMORY,
        cpu: int = CPU,
        deadline: float = DEADLINE,
        idle: float = IDLE,
    ) -> None:
        self._limits = limits
        self._memory = memory
        self._cpu = cpu
        self._deadline = deadline
        self._idle_for = idle
        self._pictures, self._variants = _Queue(processes), _Queue(OF_VARIANTS)
        self._idle: list[_Process] = []
        self._ending = set[asyncio.Task[None]]()

    async def picture(self, data: bytes) -> Picture:
        """What may be stored of a fetched file: cleaned by structure where that is possible, else re-encoded.

        A picture that is re-encoded becomes a JPEG, or a WebP if it has transparency; of an animation the first frame remains.
        Raises `NotStored` and `ConversionUnavailable`, of which `ConversionBusy` and `DecoderLost` say more.
        """
        found = await self._examined(data)
        if isinstance(found, Picture):
            return found
        return await self._made(self._pictures, found.data, found.kind, Kind.JPEG, 0)

    async def variant(self, data: bytes, width: int, accept: str | None) -> Picture:
        """A stored picture for a reader that shows it `width` pixels wide: no wider than `width_of(width)`, in the format of `kind_of(accept)`.

        The picture itself where it is an animation, or is no wider and each reader shows its format or this one names it.
        Raises `NotStored` and `ConversionUnavailable`.
        """
        found = await self._examined(data)
        if isinstance(found, Unclean):
            return await self._made(self._variants, found.data, found.kind, kind_of(accept), width_of(width))
        shown = found.media_type in {Kind.JPEG.media_type, Kind.PNG.media_type, kind_of(accept).media_type}
        if found.frames > 1 or (shown and found.width <= width_of(width)):
            return found
        source = next(kind for kind in Kind if kind.media_type == found.media_type)
        return await self._made(self._variants, found.data, source, kind_of(accept), width_of(width))

    async def close(self) -> None:
        """Ends the processes that are idle. Those with a picture end with their task."""
        for process in self._idle:
            self._end(process)
        self._idle.clear()
        await asyncio.gather(*self._ending)

    async def _examined(self, data: bytes) -> Picture | Unclean:
        if len(data) < LARGE:
            return examined(data, self._limits)
        return await asyncio.to_thread(examined, data, self._limits)

    async def _made(self, queue: _Queue, data: bytes, source: Kind, target: Kind, width: int) -> Picture:
        limits = self._limits
        numbers = KINDS.index(source), KINDS.index(target), width, limits.pixels, limits.side, limits.octets, len(data)
        order = ORDER.pack(*numbers)
        async with queue.turn(len(data)):
            lost: type[ConversionUnavailable] = ConversionUnavailable
            try:
                async with asyncio.timeout(self._deadline), self._process() as process:
                    lost = DecoderLost
                    state, what, body = await process.ask(order, data, self._limits.octets)
            except TimeoutError:
                raise lost(f"no answer within {self._deadline:.0f} s") from None
        if state is State.REFUSED:
            raise NotStored(REASONS[what], body.decode(errors="replace"))
        # The decoder may have been taken over by the picture: what it made is held to what is asked of any fetched file.
        made = await self._examined(body)
        if isinstance(made, Unclean):
            raise NotStored(Reason.UNDECODABLE, f"the picture became one that has {made.why}")
        return made

    @contextlib.asynccontextmanager
    async def _process(self) -> AsyncIterator["_Process"]:
        """A process that is idle, or a new one. It ends if the body raises anything."""
        process = self._idle.pop() if self._idle else await _Process.started(self._memory, self._cpu)
        process.keep()
        try:
            yield process
        except BaseException:
            self._end(process)
            raise
        if process.orders >= ORDERS:
            self._end(process)
        else:
            self._idle.append(process)
            process.end_in(self._idle_for, self._retire)

    def _retire(self, process: "_Process") -> None:
        if process in self._idle:
            self._idle.remove(process)
            self._end(process)

    def _end(self, process: "_Process") -> None:
        task = asyncio.create_task(process.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Process:
    """One process, and the pipes to and from it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ends: asyncio.TimerHandle | None = None
        self.orders = 0

    @classmethod
    async def started(cls, memory: int, cpu: int) -> Self:
        """Raises `ConversionUnavailable`."""
        command = (sys.executable, "-I", "-m", decoding.__name__, str(memory), str(cpu))
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_ENVIRONMENT, cwd="/"
            )
        except OSError as error:
            raise ConversionUnavailable(f"the process that decodes pictures does not start: {error}") from error
        made = cls(process)
        try:
            state, _, words = await made._answer(1 << 16)
        except asyncio.IncompleteReadError:
            ended = await process.wait()
            raise ConversionUnavailable(f"the process that decodes pictures ended at its start with {ended}") from None
        except BaseException:
            await made.end()
            raise
        if state is not State.READY:
            await made.end()
            raise ConversionUnavailable(
                f"the process that decodes pictures cannot work: {words.decode(errors='replace')}"
            )
        return made

    async def ask(self, order: bytes, data: bytes, most: int) -> tuple[State, int, bytes]:
        """`most`: the octets that the answer may have. Raises `NotStored` and `ConversionUnavailable`; then the process is of no more use."""
        assert self._process.stdin
        self.orders += 1
        try:
            self._process.stdin.writelines((order, data))
            await self._process.stdin.drain()
            return await self._answer(most)
        except (ConnectionError, asyncio.IncompleteReadError):
            raise _death(await self._process.wait()) from None

    async def _answer(self, most: int) -> tuple[State, int, bytes]:
        assert self._process.stdout
        state, what, octets = ANSWER.unpack(await self._process.stdout.readexactly(ANSWER.size))
        if state not in iter(State) or what >= len(REASONS):
            raise NotStored(Reason.UNDECODABLE, "the decoder of the picture gave an answer that it never gives")
        if octets > most:
            raise NotStored(Reason.TOO_LARGE, f"the picture has {octets} bytes when re-encoded; {most} are allowed")
        return State(state), what, await self._process.stdout.readexactly(octets)

    def end_in(self, seconds: float, retire: Callable[["_Process"], None]) -> None:
        self._ends = asyncio.get_running_loop().call_later(seconds, retire, self)

    def keep(self) -> None:
        if self._ends is not None:
            self._ends.cancel()

    async def end(self) -> None:
        self.keep()
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def _death(code: int) -> BeatError:
    """What the end of a process says of its picture."""
    if code == -signal.SIGXCPU:
        return NotStored(Reason.TOO_COSTLY, "decoding the picture takes more CPU time than allowed")
    if code in _FROM_OUTSIDE:
        return DecoderLost(f"the process that decodes pictures was ended from outside, by {signal.Signals(-code).name}")
    return NotStored(Reason.UNDECODABLE, f"the picture crashed its decoder, which ended with {code}")
