"""The publisher over a cluster of three nodes of RabbitMQ whose nodes are killed: nothing is lost, and publishing goes on with two of them."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beat_actors.database import Database
from beat_actors.events.relay import WINDOW
from beat_actors.local.home import temporary_home
from beat_actors.settings import Settings
from tests.conftest import fastest
from tests.integration.events.bus import ENOUGH, SETTLED, Queues, all_of, publishing, same_ids, url_of, write_many
from tests.integration.events.world import first_occurrences, sink_row, until
from tests.rabbitmq import RabbitMQ, cluster

pytestmark = pytest.mark.timeout(600)

SUBJECTS, PART = 200, 10


@pytest.fixture
def nodes() -> Iterator[list[RabbitMQ]]:
    binary = os.environ.get("BEAT_TEST_RABBITMQ")
    if not binary:
        pytest.skip("BEAT_TEST_RABBITMQ names no rabbitmq-server")
    with temporary_home(fastest()) as home, cluster(home, Path(binary)) as nodes:
        yield nodes


async def all_sent(database: Database, count: int) -> bool:
    row = await sink_row(database)
    return row.trouble is None and row.seq >= count


async def told(node: RabbitMQ, queue: str, what: str) -> str:
    """What `node` says of a quorum queue: its `leader`, or the members that are `online`."""
    listed = await asyncio.to_thread(node.ctl, "--formatter", "json", "list_queues", "name", what)
    return next(str(one[what]) for one in json.loads(listed) if one["name"] == queue)


async def whole(nodes: list[RabbitMQ], queue: str) -> bool:
    """Whether each node has its member of the queue at work. A node takes connections before."""
    online = await told(nodes[-1], queue, "online")
    return all(node.node in online for node in nodes)


async def test_s5_8_and_s5_11_and_s5_12_a_cluster_that_loses_nodes_loses_no_event(
    nodes: list[RabbitMQ], settings: Settings, database: Database
) -> None:
    """First the node is killed that the publisher is connected to, and then the one that leads the queue and that the publisher is connected to."""
    first, second, third = nodes
    queues = Queues(second)
    queue = await queues.declare(**{"x-quorum-initial-group-size": 3})
    assert await told(third, queue, "leader") == second.node
    await asyncio.sleep(SETTLED)
    queues.node = third
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    url = url_of(first.url().replace(f"127.0.0.1:{first.port}", hosts), queues.exchange)
    async with publishing(settings, bus=url):
        await write_many(database, SUBJECTS, range(1, PART + 1))
        await until(lambda: all_sent(database, SUBJECTS * PART), ENOUGH)
        for number, node in enumerate((first, second), 1):
            begin = number * PART + 1
            await write_many(database, SUBJECTS, range(begin, begin + PART // 2))
            await asyncio.sleep(0.05)  # some of them are on their way
            node.kill()
            await write_many(database, SUBJECTS, range(begin + PART // 2, begin + PART))
            total = SUBJECTS * PART * (number + 1)
            await until(lambda total=total: all_sent(database, total), ENOUGH)  # type: ignore[misc]
            assert await told(third, queue, "leader") != node.node
            await asyncio.to_thread(node.start)
            await until(lambda: whole(nodes, queue), ENOUGH)
            await asyncio.sleep(SETTLED)
        events = await queues.read(queue, SUBJECTS * PART * 3)
    assert first_occurrences(events) == all_of(SUBJECTS, PART * 3), "none lost, and in order"
    assert same_ids(events)
    assert len(events) - SUBJECTS * PART * 3 <= 2 * WINDOW, "repeated is only what was on its way"
