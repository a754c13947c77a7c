"""One connection to RabbitMQ with one channel in confirm mode: what is written and read on it, and how it ends.

A task reads: confirmations, returns, notices that the server is blocked. Another watches: it sends heartbeats, and ends a connection on which nothing
comes or is confirmed. Whatever ends a connection is in `failure`, and every call that waits on it raises `SinkUnavailable` with that. A connection is
used once.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pamqp import commands, header

from beat_actors.events.sink import Event, Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.amqp import frames
from beat_actors.events.sinks.amqp.address import Address
from beat_actors.events.sinks.amqp.confirms import Batch, Confirms, by_place
from beat_actors.events.sinks.amqp.frames import BadFrame, Confirm, Frame, Method
from beat_actors.events.sinks.amqp.messages import CHANNEL, Messages
from beat_actors.events.sinks.amqp.refusals import closed, said, unreachable

FRAME_MAX = 131_072
"""Bytes of a frame, as RabbitMQ proposes by default."""
AT_ONCE = 1 << 20
"""Bytes that are written at once, and that may wait to be written: what a batch of a thousand events needs."""
READ = 1 << 16
OF_CONNECTION = (
    commands.Connection.StartOk,
    commands.Connection.TuneOk,
    commands.Connection.Open,
    commands.Connection.Close,
    commands.Connection.CloseOk,
)
"""Methods that are sent on channel 0."""
NACKED = Refusal(
    Trouble.NACKED, "RabbitMQ refused to store the event: a queue that it is routed to is full or has failed."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. `confirm`: until a missing confirmation is reported. `give_up`: until the connection is given up for it, so that its events are sent
    again. RabbitMQ itself resends to the members of a quorum queue, and each event that is sent again is stored twice in the queues that have
    confirmed."""

    connect: float = 10.0
    confirm: float = 10.0
    give_up: float = 100.0
    close: float = 2.0
    tick: float = 1.0


class Connection:
    """`blocked`: why the server takes no messages at the moment. `failure`: why the connection has ended."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address, limits: Limits
    ) -> None:
        self.address = address
        self.failure: Refusal | None = None
        self.blocked: str | None = None
        self.frame_max = FRAME_MAX
        self.heartbeat = address.heartbeat
        self._limits = limits
        self._reader, self._writer = reader, writer
        writer.transport.set_write_buffer_limits(high=AT_ONCE)
        self._loop = asyncio.get_running_loop()
        self._frames = frames.Frames(FRAME_MAX)
        self._confirms = Confirms()
        self._turn = asyncio.Lock()
        self._gate = asyncio.Event()
        self._gate.set()
        self._unblocked_at = 0.0
        self._heard = self._wrote = True
        self._answers: asyncio.Queue[Method | None] = asyncio.Queue()
        self._asking = False
        self._return: commands.Basic.Return | None = None
        self._tasks = [
            self._loop.create_task(work, name=f"amqp {address.name}") for work in (self._read(), self._watch())
        ]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def publish(self, events: Sequence[Event], messages: Messages) -> Mapping[int, Refusal]:
        """As `Sink.publish`."""
        batch = Batch(events, self._loop.time())
        try:
            async with self._turn:
                await self._write_all(batch, messages)
        finally:
            # Also when the caller has gone: what was written is confirmed, and later batches wait behind it.
            batch.whole()
        await batch.done
        if batch.left:
            self._check()
        return by_place(batch)

    def trouble(self) -> Refusal | None:
        """As `Sink.trouble`."""
        if self.failure is not None:
            return None
        if self.blocked is not None:
            return Refusal(Trouble.BLOCKED, f"RabbitMQ at {self.address.name} takes no messages: {self.blocked}.")
        seconds = self._unconfirmed_seconds()
        if seconds < self._limits.confirm:
            return None
        return Refusal(
            Trouble.NO_CONFIRM,
            f"RabbitMQ at {self.address.name} has not confirmed {self._confirms.waiting()} events for {seconds:.0f} s: a queue that they are "
            "routed to has no leader or is overloaded.",
        )

    async def ask(self, method: Method, *answers: type[Method]) -> Method:
        """Send a method and return its answer, one of `answers`. Raises `SinkUnavailable`."""
        self.send(method)
        return await self.answer(*answers)

    async def answer(self, *answers: type[Method]) -> Method:
        """The next answer. Raises `SinkUnavailable` for another one, and when the connection ends."""
        self._check()
        self._asking = True
        try:
            found = await self._answers.get()
        finally:
            self._asking = False
        self._check()
        if isinstance(found, answers):
            return found
        if isinstance(found, commands.Channel.Close):
            self.fail(closed(self.address, found))
        else:
            self.fail(unreachable(self.address, "answered what was not asked"))
        self._check()
        raise AssertionError("a connection that failed has a failure")

    def send(self, method: Method, *, channel: int | None = None) -> None:
        """Write a method. Only for those few that are sent beside events."""
        number = channel if channel is not None else (0 if isinstance(method, OF_CONNECTION) else CHANNEL)
        self.write(frames.marshalled(method, number))

    def write(self, data: bytes) -> None:
        self._wrote = True
        self._writer.write(data)

    def fail(self, refusal: Refusal) -> None:
        """End the connection. What is known first stays the reason."""
        if self.failure is not None:
            return
        self.failure = refusal
        self.blocked = None
        self._gate.set()
        self._confirms.end()
        self._answers.put_nowait(None)
        self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection in order if the server still answers. Never raises."""
        try:
            if self.failure is None and self.blocked is None:
                with contextlib.suppress(SinkUnavailable, TimeoutError):
                    async with asyncio.timeout(self._limits.close), self._turn:
                        await self.ask(commands.Connection.Close(200, "", 0, 0), commands.Connection.CloseOk)
        finally:
            self.fail(unreachable(self.address, "is no longer used: the sink was closed"))
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.close):
                await self._writer.wait_closed()

    async def _write_all(self, batch: Batch, messages: Messages) -> None:
        places: list[int] = []
        parts: list[bytes] = []
        size = 0
        for place, event in enumerate(batch.events):
            try:
                packed = messages.packed(event, self.frame_max)
            except ValueError as error:
                batch.refusals[place] = Refusal(Trouble.INVALID, f"The event cannot be sent to RabbitMQ: {error}.")
                continue
            places.append(place)
            parts.append(packed)
            size += len(packed)
            if size >= AT_ONCE:
                await self._write_some(batch, places, parts)
                places, parts, size = [], [], 0
        if places:
            await self._write_some(batch, places, parts)

    async def _write_some(self, batch: Batch, places: Sequence[int], parts: Sequence[bytes]) -> None:
        while not self._gate.is_set():
            await self._gate.wait()
        self._check()
        self._confirms.sent(batch, places, self._loop.time())
        self.write(b"".join(parts))
        try:
            await self._writer.drain()
        except OSError as error:
            self.fail(unreachable(self.address, f"broke the connection: {error.strerror or 'no more can be written'}"))
        self._check()

    def _check(self) -> None:
        if self.failure is not None:
            raise SinkUnavailable(*self.failure)

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(READ):
                self._heard = True
                for found in self._frames.feed(data):
                    self._take(found)
            self.fail(unreachable(self.address, "closed the connection"))
        except BadFrame as error:
            self.fail(Refusal(Trouble.UNREACHABLE, f"{error} ({self.address.name})"))
        except OSError as error:
            self.fail(unreachable(self.address, f"broke the connection: {error.strerror or 'it was reset'}"))

    def _take(self, found: Frame) -> None:
        if isinstance(found, Confirm):
            self._confirms.confirm(found.tag, found.multiple, None if found.ack else NACKED)
        elif isinstance(found, header.ContentHeader):
            self._returned(found)
        elif not isinstance(found, bytes):
            self._take_method(found)

    def _take_method(self, method: Method) -> None:
        match method:
            case commands.Basic.Return():
                self._return = method
            case commands.Connection.Blocked():
                self._block(said(self.address, method.reason or "") or "no reason given")
            case commands.Connection.Unblocked():
                self._unblock()
            case commands.Channel.Flow():
                self.send(commands.Channel.FlowOk(method.active))
                self._unblock() if method.active else self._block("flow control of the channel")
            case commands.Connection.Close():
                self.send(commands.Connection.CloseOk())
                self.fail(closed(self.address, method))
            case commands.Channel.Close() if not self._asking:
                self.fail(closed(self.address, method))
            case _ if self._asking:
                self._answers.put_nowait(method)
            case _:
                raise BadFrame(f"The server sent {method.name}, which nobody asked for.")

    def _returned(self, found: header.ContentHeader) -> None:
        """The head of the message that the server returns. Its confirmation comes later."""
        if self._return is None:
            raise BadFrame("The server sent a message that nobody asked for.")
        key = said(self.address, self._return.routing_key or "")
        reason = f"No queue is bound to the exchange {self.address.exchange} of RabbitMQ for the routing key {key}."
        # An event that came back and is taken for stored would be lost, so there is no guessing.
        if not self._confirms.returned(found.properties.message_id or "", reason):
            raise BadFrame("The server returned a message that it was not sent.")
        self._return = None

    def _block(self, reason: str) -> None:
        self.blocked = reason
        self._gate.clear()

    def _unblock(self) -> None:
        self.blocked = None
        self._unblocked_at = self._loop.time()
        self._gate.set()

    def _unconfirmed_seconds(self) -> float:
        """How long the server has not confirmed what it could have confirmed; 0 where nothing waits."""
        oldest = self._confirms.oldest()
        return 0.0 if oldest is None else self._loop.time() - max(oldest, self._unblocked_at)

    async def _watch(self) -> None:
        """Counts ticks, not seconds: a process that was stopped for a while must read first what has come meanwhile."""
        tick = min(self._limits.tick, self.heartbeat / 4)
        silent = idle = 0
        while True:
            await asyncio.sleep(tick)
            silent = 0 if self._heard else silent + 1
            idle = 0 if self._wrote else idle + 1
            self._heard = self._wrote = False
            if silent * tick >= 2 * self.heartbeat:
                self.fail(
                    unreachable(self.address, f"has sent nothing for {2 * self.heartbeat} s, not even a heartbeat")
                )
            elif self.blocked is None and (seconds := self._unconfirmed_seconds()) >= self._limits.give_up:
                self.fail(self._given_up(seconds))
            elif idle * tick >= self.heartbeat / 2 and not self._writer.transport.get_write_buffer_size():
                self.write(frames.HEARTBEAT)
            if self.failure is not None:
                return

    def _given_up(self, seconds: float) -> Refusal:
        return Refusal(
            Trouble.NO_CONFIRM,
            f"RabbitMQ at {self.address.name} has not confirmed {self._confirms.waiting()} events for {seconds:.0f} s. The connection was given up, "
            "and they are sent again.",
        )

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(unreachable(self.address, f"cannot be read: {type(error).__name__}"))
