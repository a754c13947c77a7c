"""What RabbitMQ takes without a log in front of it: `python -m bench.events_amqp --url amqp://beat:...@127.0.0.1`.

A plain loop publishes events that are made in memory with the sink's own client: confirms, mandatory, into a quorum queue. What the relay costs beside
it is the difference to a run of Beat. The CPU is that of this process; compare it rather than the rate when other work shares the machine.
"""

import argparse
import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import aio_pika

from beat_actors.events.sink import Event, Place
from beat_actors.events.sinks.amqp import AmqpSink

EXCHANGE = QUEUE = "bench.events"
BATCH, IN_FLIGHT = 1000, 4


class Loop(NamedTuple):
    """Of one run. `cpu_us`: CPU of this process for each event, in microseconds. `refused`: events that were not stored."""

    events: int
    seconds: float
    cpu_us: float
    refused: int

    @property
    def rate(self) -> float:
        """Events per second, confirmed."""
        return self.events / self.seconds


def events(count: int, size: int) -> list[Event]:
    """With data of about `size` bytes, of 500 subjects."""
    filled = "x" * size
    return [
        Event(
            seq,
            str(uuid.uuid4()),
            "beat.scrape_request.complete",
            f"scrape_request/{seq % 500}",
            1,
            "acme",
            "2026-11-29T12:00:00.123456Z",
            json.dumps({"id": seq, "filled": filled}),
        )
        for seq in range(1, count + 1)
    ]


async def plain_loop(url: str, count: int = 100_000, *, size: int = 400) -> Loop:
    """Publish `count` events to a queue of its own, which is deleted afterwards. Raises `SinkUnavailable` when the broker goes away."""
    made = events(count, size)
    sink = AmqpSink(Place("bench", url, options={"exchange": EXCHANGE}))
    await sink.open()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(EXCHANGE, "#")
        await queue.purge()
        try:
            return await _timed(sink, made)
        finally:
            await sink.close()
            await queue.delete(if_unused=False, if_empty=False)
            await channel.exchange_delete(EXCHANGE)


async def _timed(sink: AmqpSink, made: Sequence[Event]) -> Loop:
    batches = iter([made[start : start + BATCH] for start in range(0, len(made), BATCH)])
    refused = 0

    async def publish() -> None:
        nonlocal refused
        for batch in batches:
            refused += len(await sink.publish(batch))

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(publish() for _ in range(IN_FLIGHT)))
    return Loop(len(made), time.perf_counter() - began, (time.process_time() - cpu) / max(len(made), 1) * 1e6, refused)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="of a RabbitMQ, with a login that may declare")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=400, help="bytes of data")
    options = parser.parse_args()
    found = asyncio.run(plain_loop(options.url, options.events, size=options.size))
    print(
        f"{found.events} events: {found.rate:,.0f}/s confirmed, {found.cpu_us:.1f} us CPU of the client per event, {found.refused} refused"
    )


if __name__ == "__main__":
    main()
