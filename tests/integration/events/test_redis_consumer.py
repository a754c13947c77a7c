"""The consumer of the documentation, as a process that is killed again and again, with a Redis that is killed too: each event has one effect."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beat_actors.events.sink import Event
from beat_actors.events.sinks.conformance import Relay, event, opened
from tests.conformance.stands.redis import RedisStand, stands
from tests.integration.events.consumers import Consumer
from tests.integration.events.world import until

EXAMPLE = Path(__file__).parents[3] / "docs/examples/redis_consumer.py"
STREAM = "beat:events"
ENOUGH = 90.0

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[RedisStand]:
    """A server of the test's own, since the example has the name of Beat's default stream."""
    with stands(tmp_path) as make:
        made = make()
        assert isinstance(made, RedisStand)
        yield replace(made, place=replace(made.place, options={"stream": STREAM}))


@pytest.fixture
def consumer(stand: RedisStand, tmp_path: Path) -> Iterator[Consumer]:
    one = Consumer(EXAMPLE, stand.server.url, tmp_path / "events.sqlite", "1")
    yield one
    one.kill()


def events(count: int, *, first: int = 1) -> list[Event]:
    return [
        event(seq, subject=f"request/{seq % 50}", data='{"status": "complete"}') for seq in range(first, first + count)
    ]


async def test_each_event_has_one_effect_whatever_is_killed(stand: RedisStand, consumer: Consumer) -> None:
    sent = events(3_000)
    random.seed(1)
    consumer.start()
    async with opened(stand) as sink:
        relay = Relay(stand, sink)

        async def keep_publishing() -> None:
            for start in range(0, len(sent), 50):
                await relay.send(sent[start : start + 50])
                await asyncio.sleep(0.1)

        publishing = asyncio.create_task(keep_publishing())
        for number in range(5):
            wanted = 400 * (number + 1)
            await until(lambda wanted=wanted: len(consumer.applied()) >= wanted, ENOUGH)  # type: ignore[misc]
            consumer.kill()
            if number % 2:
                stand.stop()
                await asyncio.sleep(random.uniform(0, 0.5))
                stand.start()
            consumer.start()
        await publishing
        await relay.send(last := events(1, first=3_001))
    sent += last
    await until(lambda: len(consumer.applied()) >= len(sent), ENOUGH)
    assert consumer.applied() == {one.id for one in sent}
    assert consumer.rows("SELECT event FROM effect GROUP BY event HAVING count(*) > 1") == []
    assert dict(consumer.rows("SELECT subject, sequence FROM subject")) == {
        one.subject: f"{one.seq:020d}" for one in sent
    }
    assert consumer.rows("SELECT * FROM dead") == []


async def test_what_was_trimmed_unread_is_noticed_and_a_replay_brings_it(stand: RedisStand, consumer: Consumer) -> None:
    sent = events(12_000)
    small = replace(stand.place, options={"stream": STREAM, "max_bytes": "1MB"})
    async with opened(stand, small) as sink:
        await Relay(stand, sink).send(sent[:100])
        consumer.start()
        await until(lambda: len(consumer.applied()) == 100, ENOUGH)
        consumer.kill()
        await Relay(stand, sink).send(sent[100:], batch=1_000)
        consumer.start()
        await until(lambda: sent[-1].id in consumer.applied(), ENOUGH)
        ((first, last),) = consumer.rows("SELECT first, last FROM missed")
        assert int(first) == 101
        assert consumer.applied() == {one.id for one in [*sent[:100], *sent[int(last) :]]}
        missed = [one._replace(replay=True) for one in sent[100:600]]
        assert await sink.publish(missed) == {}
        await until(lambda: sent[599].id in consumer.applied(), ENOUGH)
    assert consumer.applied() >= {one.id for one in missed}


async def test_what_cannot_be_applied_is_put_aside_after_its_attempts(stand: RedisStand, consumer: Consumer) -> None:
    bad = event(2, subject="request/1", data='{"no": "status"}')
    with stand.client() as client:
        async with opened(stand) as sink:
            await sink.publish([event(1, data='{"status": "x"}'), bad, event(3, data='{"status": "x"}')])
        client.xadd(STREAM, {"no": "event"}, id="4-0")
        consumer.start()
        await until(lambda: len(consumer.rows("SELECT * FROM dead")) == 2, ENOUGH)
        assert {entry: reason for _, entry, reason in consumer.rows("SELECT * FROM dead")} == {
            "2-0": "KeyError: 'status'",
            "4-0": "KeyError: 'data'",
        }
        await until(lambda: not client.xpending(STREAM, "example")["pending"], ENOUGH)
    assert len(consumer.applied()) == 2


async def test_a_consumer_that_never_comes_back_leaves_nothing_behind(stand: RedisStand, tmp_path: Path) -> None:
    sent = events(20)
    with stand.client() as client:
        client.xgroup_create(STREAM, "example", id="0", mkstream=True)
        async with opened(stand) as sink:
            await sink.publish(sent)
        client.xreadgroup("example", "gone", {STREAM: ">"}, count=10)
        client.xclaim(STREAM, "example", "gone", 0, [f"{seq}-0" for seq in range(1, 11)], idle=120_000)
    other = Consumer(EXAMPLE, stand.server.url, tmp_path / "other.sqlite", "other")
    other.start()
    try:
        await until(lambda: len(other.applied()) == 20, ENOUGH)
    finally:
        other.kill()
