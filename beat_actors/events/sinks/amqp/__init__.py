"""Events to an exchange of RabbitMQ, over AMQP 0-9-1 with publisher confirms. `sink` is the way in; docs/events.md has the consumers' side."""

from beat_actors.events.sinks.amqp.sink import AmqpSink

__all__ = ["AmqpSink"]
