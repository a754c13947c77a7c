"""Events to an exchange of RabbitMQ (3.10 to 4.3): `amqp://…`, `amqps://…`. The URL of a cluster names several nodes, with commas.

Options: `exchange` (default `beat.dx`), `heartbeat` in seconds (default 10), and with `amqps` the files `cafile`, `certfile` and `keyfile`. The exchange
is a durable topic exchange. An event's routing key is its type. Nothing else is declared: a consumer declares its queue and binds it, and an event that
no queue is bound for is refused as unroutable, so that it is not lost.

An event is confirmed when **every** queue that it was routed to has stored it. So one full queue refuses an event for all consumers, and one without a
leader holds the confirmation back for all. Such an event is not sent again while the connection lives: RabbitMQ itself sends it again to the members of
a quorum queue, and each resend would put one more copy into the queues that have it. After 100 s the connection is given up and the event sent again.

The login needs the permission `write` for the exchange, and `configure` if Beat is to declare it.
"""

from collections.abc import Mapping, Sequence

from beat_actors.events.sink import Event, Place, Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.amqp.address import addresses
from beat_actors.events.sinks.amqp.connection import Connection, Limits
from beat_actors.events.sinks.amqp.login import connected
from beat_actors.events.sinks.amqp.messages import Messages
from beat_actors.events.sinks.amqp.refusals import unreachable


class AmqpSink:
    """Publishes to a durable topic exchange (`beat.dx`), each event under its type as the routing key.

    RabbitMQ confirms an event when every queue that it was routed to has stored it, and in any order, so a later event of a batch may be stored while
    an earlier one is refused.
    """

    in_order = False

    def __init__(self, place: Place) -> None:
        """Raises `BadSettings` for a URL or options that cannot be used."""
        self.limits = Limits()
        self._nodes = addresses(place)
        self._address = self._nodes[0]
        self._messages = Messages(place, self._address.exchange)
        self._connection: Connection | None = None

    async def open(self, position: int = 0) -> None:  # noqa: ARG002 - RabbitMQ cannot say how far it has got
        """Connect, log in, and declare the exchange if there is none of its name. Raises `SinkUnavailable`.

        The nodes are tried in turn, from the one after the last that was tried. A node that answers and refuses ends the search: the others of its
        cluster have the same logins and exchanges.
        """
        await self.close()
        start = self._nodes.index(self._address)
        failed: list[str] = []
        for node in (*self._nodes[start:], *self._nodes[:start]):
            # Before it is known how this goes: one that says nothing until the caller gives up must not be the first of the next call as well.
            self._address = self._nodes[(self._nodes.index(node) + 1) % len(self._nodes)]
            try:
                self._connection = await connected(node, self.limits)
            except SinkUnavailable as error:
                if error.trouble is not Trouble.UNREACHABLE:
                    raise
                failed.append(str(error))
            else:
                return
        raise SinkUnavailable(Trouble.UNREACHABLE, " ".join(failed))

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        """As in `Sink`. While the server is blocked nothing is written, and the call waits. Raises `SinkUnavailable`."""
        if self._connection is None:
            raise SinkUnavailable(*unreachable(self._address, "is not connected"))
        return await self._connection.publish(events, self._messages)

    def trouble(self) -> Refusal | None:
        """As in `Sink`."""
        return self._connection.trouble() if self._connection is not None else None

    async def close(self) -> None:
        """As in `Sink`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
