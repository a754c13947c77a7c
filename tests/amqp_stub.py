"""A small AMQP 0-9-1 server for what a real one cannot be brought to on demand: confirmations that are held back, notices and then silence, frames
that are no frames, an order of returns and confirmations. It routes nothing and stores nothing."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from pamqp import base, body, exceptions, frame, header, heartbeat
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange

from beat_actors.events.sink import Place

USER, PASSWORD = "publisher", "s3cret/p@ss"


@dataclass
class Message:
    """What was published. `tag`: its delivery tag in the channel, from 1."""

    tag: int
    method: Basic.Publish
    header: header.ContentHeader
    body: bytes = b""

    @property
    def id(self) -> str:
        return self.header.properties.message_id


@dataclass
class Session:
    """One connection of a client. `messages`: what it published on its channel."""

    stub: "Stub"
    writer: asyncio.StreamWriter
    methods: list[base.Frame] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    heartbeats: int = 0
    sizes: list[int] = field(default_factory=list)
    beats: bool = True
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, value: frame.FrameTypes, channel: int = 1) -> None:
        self.raw(frame.marshal(value, channel))

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.send(Basic.Ack(tag, multiple))

    def nack(self, tag: int, *, multiple: bool = False) -> None:
        self.send(Basic.Nack(tag, multiple, False))

    def give_back(self, message: Message, *, message_id: str | None = None) -> None:
        """`basic.return`, as RabbitMQ sends it before the confirmation."""
        method = message.method
        properties = Basic.Properties(message_id=message_id or message.id)
        self.send(Basic.Return(312, "NO_ROUTE", method.exchange, method.routing_key))
        self.send(header.ContentHeader(body_size=len(message.body), properties=properties))
        if message.body:
            self.send(body.ContentBody(message.body))

    def blocked(self, reason: str = "low on memory") -> None:
        self.send(Connection.Blocked(reason), 0)

    def unblocked(self) -> None:
        self.send(Connection.Unblocked(), 0)

    def close_channel(self, code: int, text: str) -> None:
        self.send(Channel.Close(code, text, 60, 40))

    def close(self, code: int, text: str) -> None:
        self.send(Connection.Close(code, text, 0, 0), 0)

    def pause(self) -> None:
        """Read nothing more."""
        self.reading.clear()

    def cut(self) -> None:
        self.writer.transport.abort()


Publish = Callable[[Session, Message], None]


def confirm(session: Session, message: Message) -> None:
    session.ack(message.tag)


def hold(session: Session, message: Message) -> None:
    """No answer."""


@dataclass
class Stub:
    """`on_publish`: what happens to a message. `exchanges`: those that exist. `refuse_login`: how; a server without `failure_close` just hangs up."""

    on_publish: Publish = confirm
    exchanges: set[str] = field(default_factory=set)
    capabilities: dict[str, bool] = field(
        default_factory=lambda: {"publisher_confirms": True, "basic.nack": True, "authentication_failure_close": True}
    )
    frame_max: int = 131_072
    heartbeat: int = 60
    mechanisms: str = "PLAIN AMQPLAIN"
    refuse_vhost: str | None = None
    refuse_declare: tuple[int, str] | None = None
    greeting: bytes | None = None
    """Sent instead of `connection.start`."""
    answers: bool = True
    """False: connections are taken, and nothing is said."""
    certificate: Path | None = None
    """For TLS."""
    port: int = 0
    sessions: list[Session] = field(default_factory=list)

    def place(self, options: str = "", *, password: str = "s3cret%2Fp%40ss") -> Place:
        """`options`: the query of the URL, with its question mark."""
        scheme = "amqp" if self.certificate is None else "amqps"
        url = f"{scheme}://{USER}:{password}@127.0.0.1:{self.port}/{options}"
        return Place("bus", url, options=dict(parse_qsl(options.removeprefix("?"))))

    @property
    def session(self) -> Session:
        return self.sessions[-1]

    @property
    def declared(self) -> list[base.Frame]:
        """Every method of every session that is not of the login, a publication or a close."""
        free = ("Connection.", "Channel.", "Basic.Publish")
        return [method for session in self.sessions for method in session.methods if not method.name.startswith(free)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, writer)
        session.reading.set()
        self.sessions.append(session)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readexactly(8)
            if not self.answers:
                await reader.read()
            if self.greeting is not None:
                session.raw(self.greeting)
                await reader.read()
            session.send(
                Connection.Start(0, 9, {"product": "stub", "capabilities": self.capabilities}, self.mechanisms), 0
            )
            beating = asyncio.get_running_loop().create_task(self._beat(session))
            try:
                await self._frames(session, reader)
            finally:
                beating.cancel()
        writer.close()

    async def _beat(self, session: Session) -> None:
        while True:
            await asyncio.sleep(0.2)
            if session.beats:
                session.send(heartbeat.Heartbeat(), 0)

    async def _frames(self, session: Session, reader: asyncio.StreamReader) -> None:
        data = b""
        publishing: list[base.Frame | header.ContentHeader] = []
        while await session.reading.wait() and (received := await reader.read(65536)):
            data += received
            while len(data) >= 8:
                try:
                    count, _, found = frame.unmarshal(data)
                except exceptions.UnmarshalingException:
                    break
                data = data[count:]
                session.sizes.append(count)
                if isinstance(found, heartbeat.Heartbeat):
                    session.heartbeats += 1
                elif isinstance(found, header.ContentHeader):
                    publishing.append(found)
                    message = Message(len(session.messages) + 1, publishing[0], found)
                    session.messages.append(message)
                    if found.body_size == 0:
                        self.on_publish(session, message)
                elif isinstance(found, body.ContentBody):
                    message = session.messages[-1]
                    message.body += found.value
                    if len(message.body) == message.header.body_size:
                        self.on_publish(session, message)
                else:
                    session.methods.append(found)
                    publishing = [found]
                    if not self._method(session, found):
                        return

    def _method(self, session: Session, method: base.Frame) -> bool:
        """False: the connection ends."""
        match method:
            case Connection.StartOk():
                if method.response != f"\0{USER}\0{PASSWORD}":
                    if self.capabilities.get("authentication_failure_close"):
                        session.close(403, f"ACCESS_REFUSED - {method.response} was refused")
                    return False
                session.send(Connection.Tune(2047, self.frame_max, self.heartbeat), 0)
            case Connection.Open():
                if self.refuse_vhost:
                    session.close(530, self.refuse_vhost)
                else:
                    session.send(Connection.OpenOk(), 0)
            case Channel.Open():
                session.messages.clear()
                session.send(Channel.OpenOk())
            case Confirm.Select():
                session.send(Confirm.SelectOk())
            case Exchange.Declare() if method.passive and method.exchange not in self.exchanges:
                session.send(Channel.Close(404, f"NOT_FOUND - no exchange '{method.exchange}' in vhost '/'", 40, 10))
            case Exchange.Declare() if not method.passive and self.refuse_declare:
                session.send(Channel.Close(*self.refuse_declare, 40, 10))
            case Exchange.Declare():
                self.exchanges.add(method.exchange)
                session.send(Exchange.DeclareOk())
            case Connection.Close():
                session.send(Connection.CloseOk(), 0)
                return False
        return True


@contextlib.asynccontextmanager
async def serving(stub: Stub) -> AsyncIterator[Stub]:
    """The server on a free port; its connections are cut at the end."""
    tls = None
    if stub.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(stub.certificate)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", stub.port, ssl=tls)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()
        for session in stub.sessions:
            session.cut()
        await server.wait_closed()
