"""The whole of Beat as processes, with RabbitMQ away while requests run."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.events import DONE, ENDS
from tests.integration.engine.conftest import System, stack_in
from tests.integration.events.bus import SETTLED, Queues, same_ids
from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.timeout(600)

PILE = """
INSERT INTO event (event_id, type, subject, data)
SELECT gen_random_uuid(), 'beat.batch.ended', 'pile', jsonb_build_object('text', repeat('x', 4000)) FROM generate_series(1, 20000)
"""
"""80 MB of events while the bus is away, three times as many as may be on their way."""
PICTURES = "SELECT count(*) FROM asset_log WHERE status IN ('PENDING', 'PROCESSING', 'WAITING')"
"""Those that are not stored yet."""
GROWN = 64 << 20
"""Bytes by which the publisher may grow meanwhile."""


@pytest.fixture
def queues(rabbitmq: RabbitMQ) -> Queues:
    return Queues(rabbitmq)


@pytest.fixture
def queue(queues: Queues) -> str:
    return asyncio.run(queues.declare())


@pytest.fixture
def system(queues: Queues, queue: str, tmp_path: Path) -> Iterator[System]:
    del queue  # before anything is published
    sinks = json.dumps({"bus": {"url": queues.url, "begin": "start"}})
    with stack_in(tmp_path / "beat", BEAT_EVENT_SINKS=sinks) as system:
        yield system


def memory(system: System) -> int:
    (status,) = [one for one in system.stack.supervisor.status() if one.name == "publisher"]
    assert status.restarts == 0
    return psutil.Process(status.pid).memory_info().rss


def behind(system: System) -> int:
    return int(system.value("SELECT s.seq - b.seq FROM event_sequence s, event_sink b WHERE b.name = 'bus'"))


def trouble(system: System) -> str | None:
    return system.value("SELECT trouble FROM event_sink WHERE name = 'bus'")  # type: ignore[no-any-return]


async def test_s5_4_and_s5_6_and_s5_8_requests_run_while_the_bus_is_away_and_their_lives_arrive(
    rabbitmq: RabbitMQ, queues: Queues, queue: str, system: System
) -> None:
    before = await system.submit(20)
    await system.all_ended(before)
    await system.until(lambda: behind(system) == 0)
    await asyncio.sleep(SETTLED)
    rabbitmq.kill()
    ids = await system.submit(150, start=100)
    await system.all_ended(ids)
    await system.until(lambda: trouble(system) == "unreachable")
    system.assert_nothing_lost_or_doubled(ids)
    assert behind(system) >= 3 * len(ids)
    usual = memory(system)
    with psycopg.connect(system.stack.postgres.url, autocommit=True) as connection:
        connection.execute(PILE)
    await system.until(lambda: behind(system) >= 20_000)
    await asyncio.sleep(3)
    assert memory(system) - usual < GROWN
    await asyncio.to_thread(rabbitmq.start)
    # Pictures of these requests are stored meanwhile, and told of.
    await system.until(lambda: system.value(PICTURES) == 0)
    written = system.value("SELECT count(*) FROM event")
    events = await queues.read(queue, written)
    await system.until(lambda: behind(system) == 0 and trouble(system) is None)
    memory(system)  # it was never restarted
    assert system.value(f"SELECT count(*) FROM event WHERE {ENDS}") == len(before + ids)
    assert len({event.id for event in events}) == system.value("SELECT count(*) FROM event")
    seen: set[str] = set()
    lives: dict[str, list[tuple[int | None, str]]] = {}
    for event in events:
        if event.type.startswith("beat.scrape_request.") and event.id not in seen:
            seen.add(event.id)
            lives.setdefault(event.subject, []).append((event.version, event.type.rpartition(".")[2]))
    assert lives.keys() == {f"scrape_request/{number}" for number in before + ids}
    for life in lives.values():
        assert [version for version, _ in life] == list(range(1, len(life) + 1))
        assert [step for _, step in life if step != "waiting"] == DONE
    assert same_ids([event for event in events if event.version is not None])
