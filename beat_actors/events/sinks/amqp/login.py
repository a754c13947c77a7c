"""From a socket to a channel in confirm mode on which events can be published: the login, and the one exchange that is declared."""

import asyncio
import ssl
from importlib.metadata import PackageNotFoundError, version

from pamqp import header
from pamqp.commands import Channel, Confirm, Exchange
from pamqp.commands import Connection as Method

from beat_actors.events.sink import Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.amqp.address import Address
from beat_actors.events.sinks.amqp.connection import FRAME_MAX, Connection, Limits
from beat_actors.events.sinks.amqp.refusals import closed, said, unreachable

CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}
"""What Beat understands beyond AMQP 0-9-1. A server tells of a block or a refused login only a client that says so."""
NOT_FOUND = 404
NEEDED = ("publisher_confirms", "basic.nack")
"""What a server has to be able to."""


async def connected(address: Address, limits: Limits) -> Connection:
    """A connection that can publish. Raises `SinkUnavailable`, within `limits.connect` seconds."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(limits.connect):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=address.tls, server_hostname=address.host if address.tls else None
            )
            connection = Connection(reader, writer, address, limits)
            await _log_in(connection)
            await _open_channel(connection)
            await _declare(connection)
            return connection
    except BaseException as error:
        if connection is not None:
            connection.fail(unreachable(address, "was not waited for"))
            await connection.close()
        if isinstance(error, TimeoutError):
            raise SinkUnavailable(*unreachable(address, f"did not answer within {limits.connect:.0f} s")) from None
        if isinstance(error, ssl.SSLError):
            reason = f"cannot be reached over TLS: {said(address, getattr(error, 'verify_message', '') or error.reason or 'no TLS')}"
            raise SinkUnavailable(*unreachable(address, reason)) from None
        if isinstance(error, OSError):
            reason = f"cannot be reached: {said(address, error.strerror or str(error))}"
            raise SinkUnavailable(*unreachable(address, reason)) from None
        raise


async def _log_in(connection: Connection) -> None:
    address = connection.address
    connection.write(header.ProtocolHeader().marshal())
    start = await connection.answer(Method.Start)
    assert isinstance(start, Method.Start)
    offered = start.server_properties.get("capabilities")
    capabilities = offered if isinstance(offered, dict) else {}
    if missing := [name for name in NEEDED if not capabilities.get(name)]:
        raise SinkUnavailable(*unreachable(address, f"is no RabbitMQ that can be used: it lacks {', '.join(missing)}"))
    if "PLAIN" not in start.mechanisms.split():
        raise SinkUnavailable(Trouble.AUTH, f"RabbitMQ at {address.name} takes no login by password (mechanism PLAIN).")
    login = Method.StartOk(
        client_properties={
            "product": "beat",
            "version": _version(),
            "connection_name": "beat events",
            "capabilities": dict(CAPABILITIES),
        },
        mechanism="PLAIN",
        response=f"\0{address.user}\0{address.password}",
    )
    try:
        tune = await connection.ask(login, Method.Tune)
    except SinkUnavailable as error:
        if error.trouble is Trouble.UNREACHABLE and not capabilities.get("authentication_failure_close"):
            # Such a server answers a wrong password with silence.
            raise SinkUnavailable(
                Trouble.AUTH, f"RabbitMQ at {address.name} closed the connection at the login: is it the right one?"
            ) from None
        raise
    assert isinstance(tune, Method.Tune)
    connection.frame_max = min(tune.frame_max or FRAME_MAX, FRAME_MAX)
    connection.heartbeat = min(tune.heartbeat or address.heartbeat, address.heartbeat)
    connection.send(Method.TuneOk(channel_max=1, frame_max=connection.frame_max, heartbeat=connection.heartbeat))
    await connection.ask(Method.Open(address.vhost), Method.OpenOk)


async def _open_channel(connection: Connection) -> None:
    await connection.ask(Channel.Open(), Channel.OpenOk)
    await connection.ask(Confirm.Select(), Confirm.SelectOk)


async def _declare(connection: Connection) -> None:
    """The exchange, if it does not exist. One that exists is taken as it is: somebody may have given it an alternate exchange, and a login that may
    only publish need not be able to declare."""
    address = connection.address
    found = await connection.ask(
        Exchange.Declare(exchange=address.exchange, passive=True), Exchange.DeclareOk, Channel.Close
    )
    if isinstance(found, Exchange.DeclareOk):
        return
    assert isinstance(found, Channel.Close)
    connection.send(Channel.CloseOk())
    if found.reply_code != NOT_FOUND:
        _refuse(connection, closed(address, found))
    await _open_channel(connection)
    found = await connection.ask(
        Exchange.Declare(exchange=address.exchange, exchange_type="topic", durable=True),
        Exchange.DeclareOk,
        Channel.Close,
    )
    if isinstance(found, Channel.Close):
        text = said(address, found.reply_text)
        reason = f"RabbitMQ at {address.name} does not let Beat declare the exchange {address.exchange}: {found.reply_code} {text}"
        _refuse(connection, Refusal(Trouble.AUTH, reason))


def _refuse(connection: Connection, refusal: Refusal) -> None:
    connection.fail(refusal)
    raise SinkUnavailable(*refusal)


def _version() -> str:
    try:
        return version("beat-actors")
    except PackageNotFoundError:
        return "unknown"
